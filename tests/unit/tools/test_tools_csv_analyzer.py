"""csv-analyzer: dialects, types, every operation, and hostile cells."""

import json

import pytest
from pure_tools import make, run_cases

from llmspell.errors import SecurityError, ValidationError

DATA = "id,price,day,ok,note\n1,1.5,2025-01-01,true,a\n2,2,2025-01-02,false,\n3,4.5,2025-01-03,true,b\n"


async def ask(folder, operation, **params):
    envelope = await make(folder).call("csv-analyzer", {"operation": operation, **params})
    assert envelope["success"], envelope
    return envelope["result"]


async def test_the_self_tests_pass(tmp_path):
    assert await run_cases(tmp_path, "csv-analyzer") == []


async def test_analysis_gives_types_and_statistics(tmp_path):
    found = await ask(tmp_path, "analyze", input=DATA)
    assert (found["row_count"], found["column_count"], found["file_size_bytes"]) == (3, 5, len(DATA))
    columns = {column["name"]: column for column in found["columns"]}
    assert [column["data_type"] for column in found["columns"]] == ["integer", "float", "date", "boolean", "string"]
    price = columns["price"]
    assert (price["min_value"], price["max_value"], price["median"]) == (1.5, 4.5, 2.0)
    assert price["mean"] == pytest.approx(8 / 3)
    assert price["std_dev"] == pytest.approx(1.6072751)
    assert price["quartiles"] == [1.75, 2.0, 3.25]
    assert (columns["id"]["min_value"], type(columns["id"]["min_value"])) == (1, int)
    assert (columns["note"]["null_count"], columns["note"]["unique_count"]) == (1, 2)
    assert (columns["day"]["min_value"], columns["day"]["max_value"]) == ("2025-01-01", "2025-01-03")


@pytest.mark.parametrize(
    ("text", "delimiter", "headers", "rows", "columns"),
    [
        ("a;b\n1;2\n", ";", True, 1, 2), ("a\tb\n1\t2\n", "\t", True, 1, 2), ("a|b\n1|2\n", "|", True, 1, 2),
        ("a\n1\n2\n", ",", True, 2, 1), ("1,2\n3,4\n", ",", False, 2, 2), ('"x, y",z\n"a;b;c",1\n', ",", True, 1, 2),
        ("", ",", False, 0, 0), ("a,b\r\n1,2\r\n", ",", True, 1, 2), ("a,b\n1,2", ",", True, 1, 2),
        ('a,b\n"x\ny",2\n', ",", True, 1, 2), ("\ufeffa,b\n1,2\n", ",", True, 1, 2),
    ],
)  # fmt: skip
async def test_the_dialect_is_found(tmp_path, text, delimiter, headers, rows, columns):
    found = await ask(tmp_path, "analyze", input=text)
    assert (found["delimiter"], found["has_headers"]) == (delimiter, headers)
    assert (found["row_count"], found["column_count"]) == (rows, columns)


async def test_files_are_streamed_decoded_and_confined(tmp_path):
    lines = "n,s\n" + "".join(f"{n},é{n}\n" for n in range(20_000))
    for name, encoding in (("a.csv", "utf-8"), ("b.csv", "utf-16"), ("c.csv", "latin-1")):
        (tmp_path / name).write_bytes(lines.encode(encoding))
        found = await ask(tmp_path, "analyze", path=name)
        assert found["row_count"] == 20_000
        column = found["columns"][1]
        assert column["sample_values"][0] == "é0"
        assert column["unique_estimated"] is True
        assert abs(column["unique_count"] - 20_000) < 2500
    with pytest.raises(SecurityError):
        await ask(tmp_path, "analyze", path="/etc/passwd")
    bad = await make(tmp_path).call("csv", {"path": "c.csv", "encoding": "utf-8"})
    assert bad["error"]["code"] == "decode_error"


async def test_rows_of_another_width_are_reported(tmp_path):
    found = await ask(tmp_path, "analyze", input="a,b\n1\n1,2,3\n" + "1\n" * 20)
    assert len(found["parse_errors"]) == 10
    assert found["parse_errors"][0] == {"row": 1, "message": "expected 2 fields, found 1"}


async def test_conversions_keep_types_and_escape(tmp_path):
    text = 'a,b\n1,"x|<y>"\n2.0,\n'
    assert json.loads(await ask(tmp_path, "convert", input=text, format="json")) == [
        {"a": 1, "b": "x|<y>"}, {"a": 2.0, "b": None},
    ]  # fmt: skip
    assert await ask(tmp_path, "convert", input=text, format="jsonl") == '{"a":1,"b":"x|<y>"}\n{"a":2.0,"b":null}\n'
    assert await ask(tmp_path, "convert", input=text, format="tsv") == "a\tb\n1\tx|<y>\n2.0\t\n"
    assert "| 1 | x\\|<y> |" in await ask(tmp_path, "convert", input=text, format="markdown")
    assert "<td>x|&lt;y&gt;</td>" in await ask(tmp_path, "convert", input=text, options={"format": "html"})
    saved = await ask(tmp_path, "convert", input=text, format="csv", target_path="out.csv")
    assert (tmp_path / "out.csv").read_text() == "a,b\n1,x|<y>\n2.0,\n"
    assert saved["size_bytes"] == (tmp_path / "out.csv").stat().st_size


async def test_formulas_are_escaped_on_request(tmp_path):
    text = "a,b\n=1+1,-5\n@x,+cmd\n"
    assert await ask(tmp_path, "convert", input=text, format="csv") == text
    safe = await ask(tmp_path, "convert", input=text, format="csv", escape_formulas=True)
    assert safe == "a,b\n'=1+1,-5\n'@x,'+cmd\n"


async def test_filters_and_transformations(tmp_path):
    kept = await ask(tmp_path, "filter", input=DATA, filter="price >= 2 and note != ''")
    assert (kept["output"], kept["rows_in"], kept["rows_out"]) == (
        "id,price,day,ok,note\n3,4.5,2025-01-03,true,b\n", 3, 1,
    )  # fmt: skip
    odd = await ask(tmp_path, "filter", input="my col,b\n1,2\n", filter='row["my col"] == 1')
    assert odd["rows_out"] == 1
    made = await ask(
        tmp_path, "transform", input=DATA, add_columns={"twice": "id * 2"}, rename_columns={"id": "key"},
        select=["key", "twice", "note"], drop=["note"],
    )  # fmt: skip
    assert made == {"output": "key,twice\n1,2\n2,4\n3,6\n", "columns": ["key", "twice"]}


async def test_sorting_puts_numbers_in_order_and_empty_cells_last(tmp_path):
    text = "k,v\nb,10\na,9\nb,2\nc,\n"
    assert (await ask(tmp_path, "sort", input=text, by=["v"]))["output"] == "k,v\nb,2\na,9\nb,10\nc,\n"
    down = await ask(tmp_path, "sort", input=text, by=["k", "v"], descending=True)
    assert down["output"] == "k,v\nc,\nb,10\nb,2\na,9\n"


async def test_aggregates(tmp_path):
    text = "k,v\na,1\nb,2\na,4\n"
    metrics = {"n": "count", "s": "sum(v)", "m": "avg(v)", "lo": "min(v)", "hi": "max(v)", "mid": "median(v)"}
    found = await ask(tmp_path, "aggregate", input=text, group_by=["k"], metrics=metrics)
    assert found["rows"][0] == {"k": "a", "n": 2, "s": 5, "m": 2.5, "lo": 1, "hi": 4, "mid": 2.5}
    assert (await ask(tmp_path, "aggregate", input=text, metrics={"s": "sum(v)"}))["rows"] == [{"s": 7}]


async def test_cells_are_validated_by_short_and_long_rules(tmp_path):
    text = "zip,mail,n\n007,a@b.de,5\n,x,50\n12,a@b.de,y\n"
    rules = {"zip": ["required", "regex:^\\d{3}$"], "mail": "email", "n": ["int", {"type": "range", "max": 10}]}
    found = await ask(tmp_path, "validate", input=text, rules=rules)
    assert [(error["row"], error["column"]) for error in found["errors"]] == [
        (2, "zip"), (2, "mail"), (2, "n"), (3, "zip"), (3, "n"), (3, "n"),
    ]  # fmt: skip
    assert (found["valid"], found["total_rows"], found["error_count"]) == (False, 3, 6)


async def test_samples(tmp_path):
    text = "n\n" + "".join(f"{n}\n" for n in range(100))
    assert (await ask(tmp_path, "sample", input=text, size=2))["output"] == "n\n0\n1\n"
    assert (await ask(tmp_path, "sample", input=text, size=2, method="last"))["output"] == "n\n98\n99\n"
    one = await ask(tmp_path, "sample", input=text, size=5, method="random", seed=1)
    assert one == await ask(tmp_path, "sample", input=text, size=5, method="random", seed=1)
    assert one["rows"] == 5


@pytest.mark.parametrize(
    ("operation", "params"),
    [("convert", {}), ("convert", {"format": "doc"}), ("filter", {"filter": "zz > 1"}), ("filter", {"filter": "id >"}),
     ("sort", {"by": ["zz"]}), ("aggregate", {"metrics": {"x": "eval(id)"}}), ("aggregate", {}),
     ("validate", {"rules": {"id": "nope"}}), ("validate", {"rules": {"zz": "int"}}), ("transform", {"select": ["zz"]}),
     ("sample", {"options": {"sizes": 1}}), ("analyze", {"encoding": "zip"})],
)  # fmt: skip
async def test_mistakes_raise_schema_violation(tmp_path, operation, params):
    source = {"path": "x.csv"} if "encoding" in params else {"input": DATA}
    (tmp_path / "x.csv").write_text(DATA)
    with pytest.raises(ValidationError) as caught:
        await make(tmp_path).call("csv-analyzer", {"operation": operation, **source, **params})
    assert caught.value.code == "schema_violation"


async def test_values_that_do_not_fit_fail_the_call(tmp_path):
    failed = await make(tmp_path).call("csv", {"operation": "filter", "input": DATA, "filter": "note > 1"})
    assert failed["error"]["code"] == "expression_error"


async def test_excel_keeps_formulas_as_text(tmp_path):
    openpyxl = pytest.importorskip("openpyxl", reason="the extra `data` is not installed")
    result = await ask(tmp_path, "convert", input="a,b\n=1+1,5\n", format="xlsx", target_path="out.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert [[cell.value for cell in row] for row in sheet] == [["a", "b"], ["=1+1", 5]]
    assert sheet["A2"].data_type == "s"
    assert result["rows"] == 1


async def test_parquet_keeps_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `data` is not installed")
    result = await ask(tmp_path, "convert", input="a,b,c\n1,x,1.5\n,,2\n", format="parquet", target_path="o.parquet")
    table = parquet.read_table(tmp_path / "o.parquet")
    assert table.to_pydict() == {"a": [1, None], "b": ["x", None], "c": [1.5, 2.0]}
    assert result["rows"] == 2


async def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    failed = await make(tmp_path).call("csv", {"operation": "convert", "input": DATA, "format": "xlsx"})
    assert failed["error"]["code"] == "unsupported"
    assert "llmspell[data]" in failed["error"]["message"]
