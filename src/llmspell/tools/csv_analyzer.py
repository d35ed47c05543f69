"""Analyze, convert, filter, transform, sort, aggregate, validate and sample CSV data."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from llmspell.base import csvout, csvquery, csvrules
from llmspell.base.csvstats import Column
from llmspell.base.csvtable import Table, Writer, decoded, unique_names, written
from llmspell.base.patterns import until
from llmspell.errors import ConfigurationError, MalformedData, ValidationError
from llmspell.tools._base import (
    Case,
    P,
    ReadPath,
    Result,
    ToolContext,
    ToolFailure,
    ToolHeader,
    WritePath,
    operation,
    violation,
)

MAX_FILE = 500 * 1024 * 1024
MAX_OUTPUT = 9_000_000
MAX_ROWS = 2_000_000
CONVERT = ("json", "jsonl", "jsonlines", "tsv", "csv", "parquet", "excel", "xlsx", "markdown", "html")
COMMON = ("delimiter", "has_headers", "encoding", "quote", "escape_formulas")
_PEOPLE = "name,age,city\nAnn,31,Rome\nBob,25,Oslo\n"

Input = Annotated[str | None, P("CSV text", aliases=("data", "csv"))]
File = Annotated[ReadPath | None, P("CSV file, in place of input")]
Options = Annotated[dict[str, Any], P("Options of the operation; also accepted beside it")]
Delimiter = Annotated[Literal["auto", ",", ";", "\t", "|"] | None, P("Between fields; found by itself")]
Headers = Annotated[bool | Literal["auto"] | None, P("Whether the first row names the columns")]
Encoding = Annotated[str | None, P("Encoding of the file; found by itself", max_length=40)]
Quote = Annotated[str | None, P("Quote character", min_length=1, max_length=1)]
Escape = Annotated[bool | None, P("Put ' before cells that a spreadsheet would take for formulas")]
Names = list[str] | None

TOOL = ToolHeader(
    category="data",
    level="safe",
    default="analyze",
    aliases=("csv", "csv_analyzer_tool"),
    needs=("files",),
    extra="data",
    tests=(
        Case(
            "analyze",
            {"input": _PEOPLE},
            {"result": {"row_count": 2, "column_count": 3, "delimiter": ",", "has_headers": True}},
        ),
        Case(
            "convert",
            {"operation": "convert", "input": "a,b\n1,x\n", "format": "json"},
            {"text": '[{"a":1,"b":"x"}]', "data": [{"a": 1, "b": "x"}]},
        ),
        Case(
            "filter",
            {"operation": "filter", "input": _PEOPLE, "options": {"filter": 'age >= 30 and city == "Rome"'}},
            {"result": {"output": "name,age,city\nAnn,31,Rome\n", "rows_in": 2, "rows_out": 1}},
        ),
        Case(
            "transform",
            {"operation": "transform", "input": "a\n2\n", "add_columns": {"b": "a * 2"}, "rename_columns": {"a": "x"}},
            {"result": {"output": "x,b\n2,4\n", "columns": ["x", "b"]}},
        ),
        Case(
            "sort",
            {"operation": "sort", "input": "n\n10\n9\n", "by": ["n"]},
            {"text": "n\n9\n10\n"},
        ),
        Case(
            "aggregate",
            {"operation": "aggregate", "input": "k,v\na,1\nb,2\na,3\n", "group_by": ["k"], "metrics": {"s": "sum(v)"}},
            {"result": {"rows": [{"k": "a", "s": 4}, {"k": "b", "s": 2}]}},
        ),
        Case(
            "validate",
            {"operation": "validate", "input": "e\nx\n", "rules": {"e": "email"}},
            {"result": {"valid": False, "error_count": 1, "errors": [{"row": 1, "column": "e", "value": "x"}]}},
        ),
        Case("sample", {"operation": "sample", "input": _PEOPLE, "size": 1}, {"result": {"rows": 1}}),
    ),
)


@operation("analyze")
def analyze(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    options: Options = {},  # noqa: B006 - never changed
    delimiter: Delimiter = None,
    has_headers: Headers = None,
    encoding: Encoding = None,
    quote: Quote = None,
    max_rows: Annotated[int | None, P("Rows to read, 0 for all", ge=0)] = None,
    sample: Annotated[int | None, P("Sample values per column", ge=0, le=100)] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Describe the columns."""
    given = _Given(locals(), "max_rows", "sample")
    most, samples = given.integer("max_rows", 0), given.integer("sample", 5)
    with given.table() as table:
        columns = [Column(name, samples) for name in table.columns]
        count = 0
        for row in given.watched(table):
            for column, cell in zip(columns, row, strict=True):
                column.add(cell)
            count += 1
            if count == most:
                break
        value = {
            "row_count": count,
            "column_count": len(columns),
            "encoding": table.encoding,
            "delimiter": table.delimiter,
            "has_headers": table.has_headers,
            "columns": [column.report() for column in columns],
            "file_size_bytes": given.size,
            "parse_errors": table.errors,
        }
    text = f"{count} rows, {len(columns)} columns: " + ", ".join(
        f"{column.name} ({column.data_type()})" for column in columns
    )
    return Result(value, text=text, metadata={"count": count})


@operation("convert")
def convert(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    options: Options = {},  # noqa: B006 - never changed
    delimiter: Delimiter = None,
    has_headers: Headers = None,
    encoding: Encoding = None,
    quote: Quote = None,
    escape_formulas: Escape = None,
    format: Annotated[str | None, P(f"One of {' '.join(CONVERT)}")] = None,  # noqa: A002 - published name
    target_path: Annotated[WritePath | None, P("File that takes the result")] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Write the rows in another form."""
    given = _Given(locals(), "format")
    kind = given.required("format")
    if kind not in CONVERT:
        raise violation("format", f"must be one of {', '.join(CONVERT)}", keyword="enum")
    with given.table() as table:
        rows = given.watched(table)
        if kind in csvout.BINARY_FORMATS:
            data, count = csvout.as_bytes(kind, table.columns, rows, safe=given.safe)
            return _binary(kind, data, count, target_path, ctx)
        limit = MAX_FILE if target_path else MAX_OUTPUT
        if kind in ("csv", "tsv"):
            writer = given.writer(table, table.columns, limit=limit, delimiter="\t" if kind == "tsv" else ",")
            for row in rows:
                writer.add(row)
                if writer.full:
                    break
            text, count, cut = writer.text(), writer.rows, writer.full
        else:
            text, count = csvout.as_text(kind, table.columns, rows, safe=given.safe, full=lambda size: size > limit)
            cut = len(text) > limit
    if target_path is not None:
        return _saved(kind, text.encode(), count, target_path, ctx)
    return Result(text, text=text, metadata={"count": count, **({"truncated": True} if cut else {})})


@operation("filter", text="output")
def filter_rows(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    options: Options = {},  # noqa: B006 - never changed
    delimiter: Delimiter = None,
    has_headers: Headers = None,
    encoding: Encoding = None,
    quote: Quote = None,
    escape_formulas: Escape = None,
    filter: Annotated[str | None, P("Expression over the columns", max_length=2000)] = None,  # noqa: A002 - published name
    *,
    ctx: ToolContext,
) -> Result:
    """Keep the rows for which an expression is true."""
    given = _Given(locals(), "filter")
    with given.table() as table:
        test = csvquery.formula(given.required("filter"), table.columns, "filter")
        writer = given.writer(table, table.columns)
        for row in given.watched(table):
            if not writer.full and test(row) not in (None, False):
                writer.add(row)
        return _output(writer, {"rows_in": table.number, "rows_out": writer.rows})


@operation("transform", text="output")
def transform(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    options: Options = {},  # noqa: B006 - never changed
    delimiter: Delimiter = None,
    has_headers: Headers = None,
    encoding: Encoding = None,
    quote: Quote = None,
    escape_formulas: Escape = None,
    add_columns: Annotated[dict[str, str] | None, P("New column to expression")] = None,
    rename_columns: Annotated[dict[str, str] | None, P("Old name to new name")] = None,
    select: Annotated[Names, P("Columns to keep, in this order")] = None,
    drop: Annotated[Names, P("Columns to leave out")] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Add, rename, select and drop columns; new ones are computed before any is renamed."""
    given = _Given(locals(), "add_columns", "rename_columns", "select", "drop")
    with given.table() as table:
        added = given.mapping("add_columns")
        formulas = [csvquery.formula(text, table.columns, "add_columns") for text in added.values()]
        renamed = given.mapping("rename_columns")
        names = [*table.columns, *added]
        csvquery.require_columns(renamed, names, "rename_columns")
        names = [renamed.get(name, name) for name in names]
        chosen, dropped = given.names("select") or names, given.names("drop")
        old_names = {old: new for old, new in renamed.items() if old not in names}
        chosen, dropped = ([old_names.get(name, name) for name in listed] for listed in (chosen, dropped))
        csvquery.require_columns(chosen, names, "select")
        csvquery.require_columns(dropped, names, "drop")
        places = [names.index(name) for name in chosen if name not in dropped]
        columns = unique_names([names[place] for place in places])
        writer = given.writer(table, columns)
        for row in given.watched(table):
            if not writer.full:
                cells = [*row, *(written(formula(row)) for formula in formulas)]
                writer.add([cells[place] for place in places])
        return _output(writer, {"columns": columns})


@operation("sort", text="output")
def sort(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    options: Options = {},  # noqa: B006 - never changed
    delimiter: Delimiter = None,
    has_headers: Headers = None,
    encoding: Encoding = None,
    quote: Quote = None,
    escape_formulas: Escape = None,
    by: Annotated[list[str] | str | None, P("Columns, the most important first")] = None,
    descending: Annotated[bool | None, P("Largest first")] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Sort the rows: numbers before text, empty cells last."""
    given = _Given(locals(), "by", "descending")
    with given.table() as table:
        by = given.names("by") or [str(given.required("by"))]
        csvquery.require_columns(by, table.columns, "by")
        rows = given.everything(table)
        reverse = bool(given.get("descending"))
        for name in reversed(by):
            place = table.columns.index(name)
            filled = [row for row in rows if row[place].strip()]
            filled.sort(key=lambda row, at=place: csvquery.order(row[at]), reverse=reverse)  # type: ignore[misc]  # bound now
            rows = filled + [row for row in rows if not row[place].strip()]
        writer = given.writer(table, table.columns)
        for row in rows:
            if not writer.full:
                writer.add(row)
        return _output(writer, {})


@operation("aggregate")
def aggregate(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    options: Options = {},  # noqa: B006 - never changed
    delimiter: Delimiter = None,
    has_headers: Headers = None,
    encoding: Encoding = None,
    quote: Quote = None,
    group_by: Annotated[list[str] | str | None, P("Columns that form groups")] = None,
    metrics: Annotated[dict[str, str] | None, P("Name to sum(col), avg, min, max, count or median")] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Compute metrics for each group of rows."""
    from llmspell.base.jsontext import dumps

    given = _Given(locals(), "group_by", "metrics")
    with given.table() as table:
        by = given.names("group_by")
        csvquery.require_columns(by, table.columns, "group_by")
        try:
            groups = csvrules.Groups(table.columns, by, given.mapping("metrics"))
        except ValidationError as error:
            raise violation("metrics", error.message) from error
        for row in given.watched(table):
            groups.add(row)
        rows = groups.rows()
    return Result({"rows": rows}, text=dumps(rows, nan="null"), metadata={"count": len(rows)})


@operation("validate")
def validate(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    options: Options = {},  # noqa: B006 - never changed
    delimiter: Delimiter = None,
    has_headers: Headers = None,
    encoding: Encoding = None,
    quote: Quote = None,
    rules: Annotated[dict[str, Any] | None, P("Column to rule or list of rules; short forms such as range:1-9")] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Check every cell by the rules of its column."""
    given = _Given(locals(), "rules")
    with given.table() as table:
        wanted = given.required("rules")
        csvquery.require_columns(wanted, table.columns, "rules")
        try:
            checks = [(name, table.columns.index(name), csvrules.cell_check(rule)) for name, rule in wanted.items()]
        except ValidationError as error:
            raise violation("rules", error.message, keyword="rule") from error
        errors: list[dict[str, Any]] = []
        count = 0
        for row in given.watched(table):
            for name, place, check in checks:
                for message in check(row[place]):
                    count += 1
                    if len(errors) < 1000:
                        errors.append({"row": table.number, "column": name, "value": row[place], "error": message})
        value = {"valid": not count, "errors": errors, "total_rows": table.number, "error_count": count}
    return Result(value, text="valid" if not count else f"{count} errors in {table.number} rows")


@operation("sample", text="output")
def sample(
    input: Input = None,  # noqa: A002 - the parameter's published name
    path: File = None,
    options: Options = {},  # noqa: B006 - never changed
    delimiter: Delimiter = None,
    has_headers: Headers = None,
    encoding: Encoding = None,
    quote: Quote = None,
    escape_formulas: Escape = None,
    size: Annotated[int | None, P("Rows to take", ge=1, le=100_000)] = None,
    method: Annotated[Literal["first", "last", "random"] | None, P("Which rows")] = None,
    seed: Annotated[int | None, P("Same seed, same random rows")] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Take some of the rows."""
    given = _Given(locals(), "size", "method", "seed")
    method = given.get("method") or "first"
    if method not in ("first", "last", "random"):
        raise violation("method", "must be one of first, last, random", keyword="enum")
    with given.table() as table:
        rows = csvrules.sampled(given.watched(table), max(1, given.integer("size", 10)), method, given.get("seed"))
        writer = given.writer(table, table.columns)
        for row in rows:
            if not writer.full:
                writer.add(row)
        return _output(writer, {"rows": writer.rows})


class _Given:
    """The parameters of one call, whether beside the operation or in `options`."""

    def __init__(self, values: dict[str, Any], *names: str) -> None:
        self.ctx: ToolContext = values["ctx"]
        self._values = values
        self._options: dict[str, Any] = values["options"]
        self.size = 0
        for name in self._options.keys() - {*names, *COMMON}:
            raise violation(f"options.{name}", f"unknown option '{name}'", keyword="additionalProperties")
        self.safe = bool(self.get("escape_formulas"))

    def get(self, name: str) -> Any:
        value = self._values.get(name)
        return self._options.get(name) if value is None else value

    def required(self, name: str) -> Any:
        value = self.get(name)
        if value is None or value == "" or value == {}:
            operation_name = self.ctx.operation.replace("_", " ").capitalize()
            message = f"Missing required parameter '{name}': {operation_name} operation requires it"
            raise violation(name, message, keyword="required")
        return value

    def integer(self, name: str, default: int) -> int:
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 0:
            raise violation(name, "must be an integer, 0 or more", keyword="type")
        return int(value)

    def names(self, name: str) -> list[str]:
        value = self.get(name) or []
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise violation(name, "must be a list of column names", keyword="type")
        return value

    def mapping(self, name: str) -> dict[str, str]:
        value = self.get(name) or {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise violation(name, "must be an object of texts", keyword="type")
        return value

    @contextmanager
    def table(self) -> Iterator[Table]:
        """Open the CSV; errors of its bytes become failures of the call."""
        import io

        path, text = self._values["path"], self._values["input"]
        if (path is None) == (text is None):
            raise violation("input", "give either 'input' or 'path'", keyword="oneOf")
        auto = {"auto": None, None: None}
        encoding, headers = self.get("encoding"), self.get("has_headers")
        settings = {
            "delimiter": auto.get(self.get("delimiter"), self.get("delimiter")),
            "headers": headers if isinstance(headers, bool) else None,
            "quote": self.get("quote") or '"',
        }
        try:
            with until(self.ctx.deadline):
                if text is not None:
                    self.size = len(text.encode("utf-8", "surrogatepass"))
                    yield Table(io.StringIO(text.removeprefix("\ufeff"), newline=""), encoding="utf-8", **settings)
                    return
                with self.ctx.security.open(path, "rb") as stream:
                    self.size = stream.seek(0, 2)
                    stream.seek(0)
                    if self.size > MAX_FILE:
                        raise ToolFailure("too_large", f"{path.name} is larger than 500 MB", {"limit": MAX_FILE})
                    lines, encoding = decoded(stream, auto.get(encoding, encoding))
                    yield Table(lines, encoding=encoding, **settings)
        except UnicodeDecodeError as error:
            raise ToolFailure("decode_error", f"the file is not {error.encoding}: name its encoding") from error
        except LookupError as error:
            raise violation("encoding", f"unknown encoding {encoding!r}", keyword="enum") from error
        except MalformedData as error:
            raise ToolFailure("parse_error", error.message) from error
        except ConfigurationError as error:
            raise ToolFailure("unsupported", error.message) from error

    def watched(self, table: Table) -> Iterator[list[str]]:
        """Yield the rows; ask for the time now and then."""
        for row in table.rows():
            if table.number % 256 == 0:
                self.ctx.check()
            yield row

    def everything(self, table: Table) -> list[list[str]]:
        """Return all rows, which must fit into memory."""
        rows = []
        for row in self.watched(table):
            rows.append(row)
            if len(rows) > MAX_ROWS:
                raise ToolFailure("too_large", f"sorting is limited to {MAX_ROWS} rows", {"limit": MAX_ROWS})
        return rows

    def writer(
        self, table: Table, columns: list[str], *, limit: int = MAX_OUTPUT, delimiter: str | None = None
    ) -> Writer:
        """Return where CSV output goes."""
        mark = delimiter or table.delimiter
        return Writer(columns, delimiter=mark, quote=table.quote, safe=self.safe, limit=limit)


def _output(writer: Writer, more: dict[str, Any]) -> Result:
    text = writer.text()
    metadata: dict[str, Any] = {"count": writer.rows, **({"truncated": True} if writer.full else {})}
    return Result({"output": text, **more}, text=text, metadata=metadata)


def _binary(kind: str, data: bytes, count: int, target: Path | None, ctx: ToolContext) -> Result:
    if target is not None:
        return _saved(kind, data, count, target, ctx)
    if len(data) > MAX_OUTPUT * 3 // 4:
        raise ToolFailure("too_large", "the result is too large for an answer: give target_path", {"size": len(data)})
    value = {"format": kind, "encoding": "base64", "data": base64.b64encode(data).decode(), "size_bytes": len(data)}
    return Result(value, text=f"{count} rows as {kind}, {len(data)} bytes", metadata={"count": count})


def _saved(kind: str, data: bytes, count: int, target: Path, ctx: ToolContext) -> Result:
    with ctx.security.open(target, "wb") as stream:
        stream.write(data)
    value = {"format": kind, "path": str(target), "rows": count, "size_bytes": len(data)}
    metadata = {"file_path": str(target), "file_size": len(data), "count": count}
    return Result(value, text=f"Wrote {count} rows to {target}", metadata=metadata)
