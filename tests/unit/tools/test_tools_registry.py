"""Listing, searching and registering tools, and the schemas made from annotations."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from llmspell.base.context import Context
from llmspell.base.effects import Direct
from llmspell.base.schema import P, schema_of
from llmspell.config.model import Tools as ToolsConfig
from llmspell.errors import (
    InternalError,
    InvalidArgument,
    ResourceLimitError,
    SecurityError,
    ToolError,
    ValidationError,
)
from llmspell.tools import Tools
from llmspell.tools._base import ReadPath, Services, Url


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(ToolsConfig(), security=None, http=None, state=None, effects=Direct(), cwd=tmp_path)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct):
    a: int


class Outer(msgspec.Struct):
    inner: Inner
    names: list[str] = []


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (Any, {}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (dict[str, Any], {"type": "object"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (str | bytes, {"type": "string"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal[1, "b"], {"enum": [1, "b"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (ReadPath, {"type": "string", "format": "path"}),
        (Url, {"type": "string", "format": "uri"}),
        (
            Annotated[int, P("N", ge=1, lt=5)],
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 5, "description": "N"},
        ),
        (
            Annotated[str | None, P(max_length=3)],
            {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
        ),
    ],
)
def test_an_annotation_gives_its_schema(annotation, schema):
    assert schema_of(annotation) == schema


def test_a_record_is_described_inline():
    schema = schema_of(Outer)
    assert schema["properties"]["inner"]["properties"]["a"] == {"type": "integer"}
    assert "$ref" not in str(schema)


@pytest.mark.parametrize("annotation", [complex, object()])
def test_a_type_without_a_schema_is_refused(annotation):
    with pytest.raises(InternalError):
        schema_of(annotation)


def test_p_refuses_words_it_does_not_know():
    with pytest.raises(InternalError, match="minimum"):
        P("x", minimum=3)


def test_several_operations_give_one_flat_schema(tools):
    schema = tools.schema("hash-calculator")["input_schema"]
    assert schema["type"] == "object"
    assert schema["properties"]["operation"]["enum"] == ["hash", "verify"]
    assert schema["properties"]["operation"]["default"] == "hash"
    assert schema["properties"]["expected_hash"]["description"].startswith("[verify] ")
    assert schema["required"] == []


def test_lists_are_sorted_and_filtered(tools):
    names = [row["name"] for row in tools.list()]
    assert names == sorted(names)
    assert {"calculator", "json-processor"} <= set(names)
    data = [row["name"] for row in tools.list({"category": "data_processing"})]
    assert "json-processor" in data
    assert "calculator" not in data
    assert tools.list("analysis") == tools.list("data")
    assert [row["name"] for row in tools.list({"query": "uuid"})] == ["uuid-generator"]
    assert tools.list({"category": "nope"}) == []
    assert all(row["security_level"] == "safe" for row in tools.list({"security_level": "safe"}))


def test_search_ranks_a_name_above_a_description(tools):
    assert tools.search("hash")[0]["name"] == "hash-calculator"
    assert tools.search("zebra") == []


def test_info_tells_parameters_operations_limits_and_needs(tools):
    info = tools.info("text")
    assert info["name"] == "text-manipulator"
    assert any(parameter["name"] == "input" for parameter in info["parameters"])
    assert any(op["name"] == "uppercase" and op["aliases"] == ["upper"] for op in info["operations"])
    assert info["limits"]["timeout_ms"] == 30_000
    assert info["requires"] == {"needs": [], "extra": None}
    assert tools.info("nope") is None
    assert tools.schema("nope") is None


def test_availability_follows_the_caller(tools):
    assert tools.available("calculator", Context(level="safe"))
    assert not tools.available("file-operations", Context(level="safe"))
    assert not tools.available("nope")


def test_categories_are_the_nine_and_those_of_scripts(tools):
    assert tools.categories() == sorted(
        ["communication", "data", "document", "filesystem", "media", "state", "system", "utility", "web"]
    )


async def echo(params: dict[str, Any], ctx: dict[str, Any]) -> Any:
    return params.get("give", params)


async def test_a_registered_tool_is_called_like_any_other(tools):
    tools.register("double", echo, {"n": {"type": "integer", "required": True}, "m": {"type": "integer", "default": 2}})
    assert (await tools.call("double", {"n": 3.0}))["result"] == {"n": 3, "m": 2}
    with pytest.raises(ValidationError, match="Missing required parameter 'n'"):
        await tools.call("double", {})
    with pytest.raises(ValidationError, match="Unknown parameter 'x'"):
        await tools.call("double", {"n": 1, "x": 1})
    assert tools.unregister("double") is True
    assert tools.get("double") is None
    assert tools.unregister("double") is False


@pytest.mark.parametrize(
    "declared",
    [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        [{"name": "a", "type": "string", "required": True}],
        {"a": {"type": "string", "required": True}},
    ],
)
async def test_parameters_may_be_written_in_three_forms(tools, declared):
    tools.register("t", echo, declared)
    assert (await tools.call("t", {"a": "x"}))["success"]
    with pytest.raises(ValidationError) as caught:
        await tools.call("t", {"a": 1})
    assert caught.value.details["field"] == "a"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("text", {"success": True, "text": "text", "result": "text"}),
        ({"result": 5}, {"success": True, "result": 5}),
        ({"result": 5, "more": 1}, {"success": True, "result": {"result": 5, "more": 1}}),
        ({"success": True, "result": 1, "text": "one"}, {"success": True, "result": 1, "text": "one"}),
        ({"operation": "op", "result": 1}, {"operation": "op", "result": 1}),
        ([1], {"success": True, "result": [1]}),
    ],
)
async def test_what_a_handler_returns_becomes_the_envelope(tools, answer, expected):
    tools.register("t", echo)
    envelope = await tools.call("t", {"give": answer})
    assert {key: envelope[key] for key in expected} == expected


async def test_a_handler_may_report_its_own_failure(tools):
    tools.register("t", echo)
    envelope = await tools.call("t", {"give": {"success": False, "error": {"kind": "network", "message": "down"}}})
    assert envelope["error"] == {"kind": "network", "message": "down", "code": "failed"}


async def test_every_error_of_a_handler_but_a_cancellation_is_a_failed_job(tools):
    async def denied(params, ctx):
        raise SecurityError("no", code="path_denied")

    tools.register("t", denied)
    envelope = await tools.call("t", {})
    assert envelope["error"]["kind"] == "security"


async def test_a_tool_that_calls_itself_ends_at_the_depth_limit(tools):
    tools.register("t", echo)
    envelope = await tools.call("t", {}, Context(depth=10))
    assert envelope["error"]["kind"] == ResourceLimitError.kind


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "a/b", 5])
def test_a_bad_name_is_refused(tools, name):
    with pytest.raises(InvalidArgument):
        tools.register(name, echo)


@pytest.mark.parametrize("name", ["calculator", "base64", "base64_encoder", "calculator-tool"])
def test_a_taken_name_is_refused(tools, name):
    with pytest.raises(ToolError) as caught:
        tools.register(name, echo)
    assert caught.value.code == "already_exists"


@pytest.mark.parametrize(
    "schema",
    [
        {"a": {"type": "strnig"}},
        {"a": 5},
        [{"type": "string"}],
        {"type": "array"},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}},
    ],
)
def test_a_bad_schema_is_refused(tools, schema):
    with pytest.raises(InvalidArgument):
        tools.register("t", echo, schema)


async def test_a_hostile_pattern_gives_up_in_time(tools):
    tools.register("t", echo, {"a": {"type": "string", "pattern": "^(a|aa)+$(?=b)"}})
    with pytest.raises(ValidationError):
        await tools.call("t", {"a": "a" * 60 + "!"})


def test_a_bundled_tool_cannot_be_removed(tools):
    with pytest.raises(SecurityError):
        tools.unregister("calculator")


def test_a_service_is_made_at_first_use_and_once():
    made = []
    services = Services(state=lambda: made.append(1) or "store")
    assert made == []
    assert (services.get("state"), services.get("state")) == ("store", "store")
    assert made == [1]
    with pytest.raises(InternalError, match="'http'"):
        services.get("http")


def test_the_number_of_tools_made_at_run_time_is_limited(tools):
    for number in range(1000):
        tools.register(f"t{number}", echo)
    with pytest.raises(ResourceLimitError):
        tools.register("one-more", echo)
    tools.unregister("t0")
    assert tools.register("one-more", echo).name == "one-more"


async def test_a_tool_cannot_forge_what_the_pipeline_measured(tools):
    tools.register("t", echo)
    forged = {"success": True, "metadata": {"tool": "calculator", "execution_id": "x", "count": 3}}
    meta = (await tools.call("t", {"give": forged}))["metadata"]
    assert meta["tool"] == "t"
    assert meta["execution_id"] != "x"
    assert meta["count"] == 3
