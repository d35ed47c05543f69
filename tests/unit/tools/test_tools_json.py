"""json-processor: queries in and out of the child process, checks, merging, reshaping."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.base.effects import Direct
from llmspell.config.model import Tools as ToolsConfig
from llmspell.errors import ValidationError
from llmspell.tools import Tools, json_processor


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(ToolsConfig(), security=None, http=None, state=None, effects=Direct(), cwd=tmp_path)


async def run(tools: Tools, **params):
    envelope = await tools.call("json", params)
    assert envelope["success"], envelope
    return envelope["result"]


@pytest.mark.parametrize(
    ("query", "data", "result", "count"),
    [
        (".", {"a": 1}, {"a": 1}, 1),
        (".a.b[1]", {"a": {"b": [1, 2]}}, 2, 1),
        (".[]", [1, 2], [1, 2], 2),
        (".[]", [], None, 0),
        ("empty", None, None, 0),
        ("map(.n) | add", [{"n": 1}, {"n": 2}], 3, 1),
        ("to_entries", {"b": 1}, [{"key": "b", "value": 1}], 1),
        ("[env, $ENV] | map(length)", None, [0, 0], 1),
        ('"debug stderr import"', None, "debug stderr import", 1),
        (".debug", {"debug": 5}, 5, 1),
    ],
)
async def test_a_program_gives_its_outputs(tools, query, data, result, count):
    envelope = await tools.call("json", {"query": query, "input": data})
    assert envelope["result"] == result
    assert envelope["metadata"]["count"] == count


async def test_text_is_read_as_json_and_the_text_is_json(tools):
    envelope = await tools.call("json", {"data": '{"b": [1, 2.0, null]}', "query": ".b"})
    assert envelope["text"] == "[1,2.0,null]"
    assert envelope["data"] == [1, 2.0, None]
    assert await run(tools, input='"just text"') == "just text"


async def test_arguments_become_variables(tools):
    assert await run(tools, input=[1], query=".[0] + $n", args={"n": 2}) == 3
    with pytest.raises(ValidationError):
        await tools.call("json", {"input": 1, "query": "$a", "args": {"a b": 1}})


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"input": "{", "query": "."}, "invalid_json"),
        ({"input": "", "query": "."}, "invalid_json"),
        ({"input": "[" * 1000, "query": "."}, "invalid_json"),
        ({"input": '{"a": NaN}', "query": "."}, "invalid_json"),
        ({"input": 1, "query": "foo("}, "jq_compile"),
        ({"input": 1, "query": "nope"}, "jq_compile"),
        ({"input": 1, "query": ".a"}, "jq_runtime"),
        ({"input": 1, "query": 'error("x")'}, "jq_runtime"),
        ({"input": 1, "query": "input_filename"}, "jq_compile"),
        ({"input": 1, "query": 'import "a" as a; .'}, "jq_compile"),
        ({"input": 1, "query": 'include "a"; .'}, "jq_compile"),
        ({"input": 1, "query": "debug"}, "jq_compile"),
        ({"input": 1, "query": "stderr"}, "jq_compile"),
        ({"input": 1, "query": "get_search_list"}, "jq_compile"),
    ],
)
async def test_a_failing_query_has_its_code(tools, params, code):
    assert (await tools.call("json", params))["error"]["code"] == code


async def test_bad_json_is_told_with_line_and_column(tools):
    error = (await tools.call("json", {"input": '{\n "a": }'}))["error"]
    assert (error["details"]["line"], error["details"]["column"]) == (2, 7)


async def test_an_endless_program_ends_at_the_deadline(tools):
    started = time.perf_counter()
    envelope = await tools.call("json", {"input": 1, "query": "[limit(1e12; repeat(1))] | length", "timeout_ms": 150})
    assert envelope["error"]["kind"] in ("timeout", "resource_limit")
    assert time.perf_counter() - started < 5
    assert await run(tools, input=[1], query="map(. + 1)") == [2]


async def test_json_lines_are_queried_line_by_line(tools):
    lines = '{"a":1}\n\n{"a":2}\n'
    assert await run(tools, operation="stream", input=lines, query=".a # the last comment") == [1, 2]
    assert await run(tools, operation="stream", input="") == []
    envelope = await tools.call("json", {"operation": "stream", "input": "1\n{\n"})
    assert (envelope["error"]["code"], envelope["error"]["details"]["line"]) == ("invalid_json", 2)


async def test_data_is_checked_against_a_schema(tools):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]}
    verdict = await run(tools, operation="validate", input={"a": "x"}, schema=schema)
    assert verdict["is_valid"] is False
    assert sorted(error["keyword"] for error in verdict["errors"]) == ["required", "type"]
    assert (await run(tools, operation="validate", input={"b": 1}, schema=schema)) == {"is_valid": True, "errors": []}
    for bad in ({"type": "strnig"}, {"$ref": "http://127.0.0.1:1/x"}):
        with pytest.raises(ValidationError):
            await tools.call("json", {"operation": "validate", "input": 1, "schema": bad})


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ({}, '{\n  "b": 1,\n  "a": [\n    2\n  ]\n}'),
        ({"compact": True, "sort_keys": True}, '{"a":[2],"b":1}'),
        ({"indent": 1, "sort_keys": True}, '{\n "a": [\n  2\n ],\n "b": 1\n}'),
    ],
)
async def test_json_is_formatted(tools, options, output):
    envelope = await tools.call("json", {"operation": "format", "input": '{"b":1,"a":[2]}', **options})
    assert envelope["result"]["output"] == output
    assert envelope["text"] == output


@pytest.mark.parametrize(
    ("strategy", "result"),
    [
        ("deep", {"a": {"x": 1, "y": None}, "l": [3], "k": 0}),
        ("shallow", {"a": {"y": None}, "l": [3], "k": 0}),
        ("patch", {"a": {"x": 1}, "l": [3], "k": 0}),
    ],
)
async def test_objects_are_merged_by_strategy(tools, strategy, result):
    params = {"input": {"a": {"x": 1}, "l": [1, 2], "k": 0}, "with": {"a": {"y": None}, "l": [3]}, "strategy": strategy}
    assert await run(tools, operation="merge", **params) == result


async def test_only_objects_are_merged(tools):
    with pytest.raises(ValidationError) as caught:
        await tools.call("json", {"operation": "merge", "input": [1], "with": {}})
    assert caught.value.details["field"] == "input"
    assert await run(tools, operation="merge", input=1, **{"with": '{"a":1}'}, strategy="patch") == {"a": 1}


async def test_flatten_and_unflatten_are_each_others_inverse(tools):
    data = {"a": {"b": [1, {"c": None}], "e": {}, "f": []}, "g": "x"}
    flat = await run(tools, operation="flatten", input=data, separator="/")
    assert flat == {"a/b/0": 1, "a/b/1/c": None, "a/e": {}, "a/f": [], "g": "x"}
    assert await run(tools, operation="unflatten", input=flat, separator="/") == data


@pytest.mark.parametrize(
    ("data", "code"),
    [({"a": 1, "a.b": 2}, "conflict"), ({"a.b": 2, "a": 1}, "conflict"), ({".".join("a" * 200): 1}, "too_deep")],
)
async def test_paths_that_contradict_each_other_fail(tools, data, code):
    assert (await tools.call("json", {"operation": "unflatten", "input": data}))["error"]["code"] == code


keys = st.text("abcxyz", min_size=1, max_size=3)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(keys, inner, min_size=1, max_size=3),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(keys, trees, min_size=1, max_size=4))
def test_any_tree_survives_flattening(tree):
    flat = json_processor.flatten(tree).value
    assert json_processor.unflatten(flat).value == tree
