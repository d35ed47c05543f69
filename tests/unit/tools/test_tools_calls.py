"""What every call of a tool does, whatever the tool: names, arguments, policy, limits, envelope."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import msgspec
import pytest

from llmspell.base.clock import monotonic
from llmspell.base.context import Context
from llmspell.base.effects import Direct
from llmspell.config.model import Config, ToolSecurity
from llmspell.config.model import Tools as ToolsConfig
from llmspell.errors import (
    CancelledError,
    ConfigurationError,
    InvalidArgument,
    NetworkError,
    RateLimitError,
    ResourceLimitError,
    SecurityError,
    ToolError,
    ValidationError,
)
from llmspell.metrics import Metrics
from llmspell.security import Security
from llmspell.tools import Tools
from llmspell.tools._base import (
    Bytes,
    P,
    ReadPath,
    Result,
    ToolContext,
    ToolFailure,
    ToolHeader,
    operation,
    tool,
    violation,
)
from llmspell.tools._spec import compile_module


class Point(msgspec.Struct):
    x: int
    y: int = 0


@tool(category="utility", level="safe", aliases=("hi",), inline=True, text="greeting")
def greeter(
    name: Annotated[str, P("Who", min_length=1, aliases=("who",))],
    style: Annotated[Literal["plain", "loud"], P("How")] = "plain",
    times: Annotated[int, P("How often", ge=1, le=5)] = 1,
    tags: Annotated[list[str] | None, P("Words")] = None,
    where: Annotated[Point | None, P("Place")] = None,
    raw: Annotated[Bytes | None, P("Bytes")] = None,
    from_: Annotated[str, P("Sender")] = "me",
) -> dict[str, Any]:
    """Greet somebody."""
    text = f"Hello, {name}" * times
    return {
        "greeting": text.upper() if style == "loud" else text,
        "from": from_,
        "x": where.x if where else None,
        "raw": raw,
        "tags": tags,
    }


TOOL = ToolHeader(category="data", level="safe", description="Acts.", default="act")


@operation("act")
def act(what: Annotated[str, P("What to do")], secret: Annotated[str, P("Key", secret=True)] = "") -> Any:
    """Do what the test asks."""
    failures = {
        "fail": ToolFailure("broken", f"it broke with {secret}", {"part": 3}, result={"half": 1}, text="half"),
        "network": NetworkError("no route", code="unreachable"),
        "security": SecurityError("no", code="path_denied"),
        "cancel": CancelledError("stop"),
        "violation": violation("what", "is odd", position=2),
        "bug": KeyError("x"),
        "missing": FileNotFoundError(2, "No such file", "a.txt"),
        "deep": RecursionError(),
        "memory": MemoryError(),
        "decode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    }
    if what in failures:
        raise failures[what]
    if what == "big":
        return {"a": "x" * 5000, "b": "\u00e9" * 5000, "c": "short"}
    if what == "many":
        return ["y"] * 5000
    if what == "odd":
        return {"path": Path("a"), "tuple": (1, 2), "point": Point(1, 2)}
    return Result([what], message="done it", text='{"a": 1}', metadata={"file_path": "f"}, operation="acted")


@operation("wait", aliases=("sleep",), level="restricted", timeout_ms=30)
async def wait(ms: Annotated[float, P("How long")] = 5) -> str:
    """Wait."""
    await asyncio.sleep(ms / 1000)
    return "waited"


@operation("work", level="restricted")
def work(path: Annotated[ReadPath | None, P("File")] = None, *, ctx: ToolContext) -> dict[str, Any]:
    """Work on a thread."""
    ctx.warn("careful")
    return {"path": str(path), "depth": ctx.context.depth, "left": ctx.remaining_s() > 0, "op": ctx.operation}


@operation("wipe", level="privileged", destructive=True)
def wipe(really: Annotated[bool, P("Yes")] = False) -> str:
    """Wipe."""
    return "wiped"


def module_of(name: str, **members: Any) -> ModuleType:
    module = ModuleType(f"made.{name}")
    for key, value in members.items():
        setattr(module, key, value)
        if callable(value) and hasattr(value, "__operation__"):
            value.__module__ = module.__name__
    sys.modules[module.__name__] = module
    return module


def make(folder: Path, *, config: ToolsConfig | None = None, **options: Any) -> Tools:
    tree = Config()
    security = Security(tree, home=folder, cwd=folder)
    given = {"effects": Direct(), "cwd": folder, **options}
    tools = Tools(config or ToolsConfig(), security=security, http=None, state=None, **given)
    for module in (
        module_of("greeter", greeter=greeter),
        module_of("actor", TOOL=TOOL, act=act, wait=wait, work=work, wipe=wipe),
    ):
        for spec in compile_module(module, source="file"):
            tools.catalog.add(spec)
    return tools


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return make(tmp_path)


def drive(coroutine: Any) -> Any:
    """Run a coroutine that must not suspend."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return stop.value.value


def test_an_inline_tool_completes_without_a_loop(tools):
    envelope = drive(tools.call("greeter", {"name": "Ann"}))
    assert envelope["result"]["greeting"] == "Hello, Ann"


def test_the_envelope_has_all_its_fields(tools):
    envelope = drive(tools.call("greeter", {"name": "Ann"}))
    assert envelope["operation"] == "greeter"
    assert envelope["success"] is True
    assert envelope["message"] == "Operation 'greeter' completed successfully"
    assert envelope["text"] == "Hello, Ann"
    assert envelope["data"] == envelope["result"]
    meta = envelope["metadata"]
    assert meta["tool"] == "greeter"
    assert meta["timestamp"].endswith("Z")
    assert isinstance(meta["duration_ms"], int)
    assert len(meta["execution_id"]) == 36


async def test_a_result_sets_envelope_parts_and_json_text_becomes_data(tools):
    envelope = await tools.call("actor", {"what": "x"})
    assert envelope["operation"] == "acted"
    assert envelope["message"] == "done it"
    assert envelope["data"] == {"a": 1}
    assert envelope["result"] == ["x"]
    assert envelope["metadata"]["file_path"] == "f"


@pytest.mark.parametrize("name", ["greeter", "hi", "greeter-tool", "greeter_tool"])
def test_a_tool_answers_to_all_its_names(tools, name):
    assert tools.get(name).name == "greeter"


def test_names_are_case_sensitive(tools):
    assert tools.get("Greeter") is None


async def test_an_unknown_tool_is_raised_with_suggestions(tools):
    with pytest.raises(ToolError, match="Tool 'greter' not found") as caught:
        await tools.call("greter", {})
    assert caught.value.code == "not_found"
    assert caught.value.details["suggestions"] == ["greeter"]


@pytest.mark.parametrize(
    ("params", "path", "keyword"),
    [
        ({}, "name", "required"),
        ({"name": 1}, "name", "type"),
        ({"name": ""}, "name", "minLength"),
        ({"name": "a", "style": "odd"}, "style", "enum"),
        ({"name": "a", "times": 9}, "times", "maximum"),
        ({"name": "a", "times": 1.5}, "times", "type"),
        ({"name": "a", "nmae": "b"}, "nmae", "additionalProperties"),
        ({"name": b"\xff"}, "name", "type"),
        ({"name": "a", "where": {"x": "no"}}, "where", "anyOf"),
        ({"name": "a", "raw": "not base64!"}, "raw", "contentEncoding"),
        ({"name": "a", "who": "b"}, "who", "alias"),
    ],
)
async def test_a_bad_argument_is_raised_with_its_path(tools, params, path, keyword):
    with pytest.raises(ValidationError) as caught:
        await tools.call("greeter", params)
    assert caught.value.code == "schema_violation"
    assert caught.value.component == "tool:greeter"
    assert {"path": path, "keyword": keyword} in [
        {"path": error["path"], "keyword": error["keyword"]} for error in caught.value.details["errors"]
    ]


async def test_all_errors_are_told_at_once_and_values_are_not_repeated(tools):
    with pytest.raises(ValidationError) as caught:
        await tools.call("greeter", {"name": 7_654_321, "style": "sesame", "times": 0})
    assert len(caught.value.details["errors"]) == 3
    assert "7654321" not in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    "params",
    [
        {"who": "Ann"},
        {"parameters": {"name": "Ann"}},
        {"name": "Ann", "times": 1.0},
        {"name": "Ann", "tags": None},
        {"name": "Ann", "operation": "greeter"},
        {"name": "Ann", "timeout_ms": 500},
    ],
)
async def test_harmless_differences_are_normalised(tools, params):
    assert (await tools.call("greeter", params))["text"] == "Hello, Ann"


async def test_values_become_what_the_function_takes(tools):
    given = {"name": "a", "where": {"x": 3}, "raw": "aGk=", "from": "you"}
    result = (await tools.call("greeter", given))["result"]
    assert (result["x"], result["raw"], result["from"]) == (3, b"hi", "you")
    assert (await tools.call("greeter", {"name": "a", "raw": b"\xff"}))["result"]["raw"] == b"\xff"


async def test_only_a_model_is_helped_with_types(tools):
    given = {"name": "a", "times": "2", "tags": "x", "where": '{"x": 1}'}
    with pytest.raises(ValidationError):
        await tools.call("greeter", given)
    envelope = await tools.call("greeter", given, Context(model_issued=True))
    assert envelope["result"]["greeting"] == "Hello, aHello, a"
    assert sorted(envelope["metadata"]["coerced"]) == ["tags", "times", "where"]


async def test_an_unknown_operation_names_the_near_one(tools):
    with pytest.raises(ValidationError, match="did you mean 'wipe'"):
        await tools.call("actor", {"operation": "wype"})


async def test_a_parameter_of_another_operation_is_left_out_with_a_warning(tools):
    envelope = await tools.call("actor", {"what": "x", "ms": 1})
    assert envelope["metadata"]["warnings"] == ["parameter 'ms' is not used by operation 'act'"]


@pytest.mark.parametrize(
    ("what", "kind", "code"),
    [
        ("fail", "tool", "broken"),
        ("network", "network", "unreachable"),
        ("bug", "internal", "internal"),
        ("missing", "storage", "not_found"),
        ("deep", "resource_limit", "limit"),
        ("memory", "resource_limit", "too_large"),
        ("decode", "tool", "decode_error"),
    ],
)
async def test_a_job_that_fails_returns_an_envelope(tools, what, kind, code):
    envelope = await tools.call("actor", {"what": what})
    assert envelope["success"] is False
    assert (envelope["error"]["kind"], envelope["error"]["code"]) == (kind, code)
    assert envelope["message"] == f"Operation 'act' failed: {envelope['error']['message']}"


async def test_a_failure_keeps_partial_results_and_hides_secrets(tools):
    envelope = await tools.call("actor", {"what": "fail", "secret": "hunter22"})
    assert envelope["result"] == {"half": 1}
    assert envelope["text"] == "half"
    assert envelope["error"]["details"] == {"part": 3}
    assert "hunter22" not in str(envelope)


@pytest.mark.parametrize(
    ("what", "error"), [("security", SecurityError), ("cancel", CancelledError), ("violation", ValidationError)]
)
async def test_refusals_and_cancellation_are_raised_and_try_returns_them(tools, what, error):
    with pytest.raises(error):
        await tools.call("actor", {"what": what})
    envelope = await tools.try_call("actor", {"what": what})
    assert envelope["success"] is False
    assert envelope["error"]["kind"] == error.kind


async def test_what_is_not_plain_becomes_plain(tools):
    result = (await tools.call("actor", {"what": "odd"}))["result"]
    assert result == {"path": "a", "tuple": [1, 2], "point": {"x": 1, "y": 2}}


async def test_a_large_result_has_its_strings_cut(tmp_path):
    tools = make(tmp_path, config=ToolsConfig(max_output_bytes=2000))
    envelope = await tools.call("actor", {"what": "big"})
    assert envelope["metadata"]["truncated"] is True
    assert envelope["result"]["c"] == "short"
    assert len(str(envelope["result"]).encode()) < 2200
    failed = await tools.call("actor", {"what": "many"})
    assert failed["error"]["kind"] == "resource_limit"


async def test_levels_confine_calls_by_operation(tools):
    safe = Context(level="safe")
    assert (await tools.call("actor", {"what": "x"}, safe))["success"]
    with pytest.raises(SecurityError, match="needs security level 'restricted'") as caught:
        await tools.call("actor", {"operation": "wait"}, safe)
    assert caught.value.code == "level_denied"
    with pytest.raises(SecurityError):
        await tools.call("actor", {"operation": "wipe"})


async def test_allow_lifts_the_ceiling_and_deny_wins(tmp_path):
    rules = ToolSecurity(max_level="safe", allow=("actor.*",), deny=("actor.wait",))
    tools = make(tmp_path, config=ToolsConfig(security=rules))
    assert (await tools.call("actor", {"operation": "wipe"}))["success"]
    with pytest.raises(SecurityError) as caught:
        await tools.call("actor", {"operation": "wait"})
    assert caught.value.code == "tool_denied"


def test_privileged_and_destructive_calls_need_approval(tmp_path):
    rules = ToolSecurity(require_approval=("*.destructive", "greeter"))
    tools = make(tmp_path, config=ToolsConfig(security=rules))
    assert tools.needs_approval("actor", {"operation": "wipe"})
    assert tools.needs_approval("greeter", {"name": "a"})
    assert not tools.needs_approval("actor", {"what": "x"})
    assert make(tmp_path).needs_approval("actor", {"operation": "wipe"})


async def test_a_path_is_resolved_and_judged_before_the_function_runs(tools, tmp_path):
    envelope = await tools.call("actor", {"operation": "work", "file": "a.txt"})
    assert envelope["result"]["path"] == str(tmp_path / "a.txt")
    with pytest.raises(SecurityError) as caught:
        await tools.call("actor", {"operation": "work", "path": "/etc/passwd"})
    assert caught.value.code == "path_denied"


async def test_a_context_tells_depth_operation_and_warnings(tools):
    envelope = await tools.call("actor", {"operation": "work"}, Context(depth=2))
    assert envelope["result"] == {"path": "None", "depth": 3, "left": True, "op": "work"}
    assert envelope["metadata"]["warnings"] == ["careful"]
    deep = await tools.call("actor", {"operation": "work"}, Context(depth=10))
    assert deep["error"]["kind"] == ResourceLimitError.kind


@pytest.mark.parametrize("how", ["tool", "option", "param", "context"])
async def test_the_earliest_deadline_ends_the_call(tools, how):
    params: dict[str, Any] = {"operation": "wait", "ms": 5000}
    context, timeout = Context(), None
    if how == "option":
        timeout = 10
    elif how == "param":
        params["timeout_ms"] = 10
    elif how == "context":
        context = Context(deadline=monotonic() + 0.01)
    envelope = await tools.call("actor", params, context, timeout_ms=timeout)
    assert envelope["error"]["kind"] == "timeout"


async def test_cancelling_the_caller_cancels_the_call(tools):
    task = asyncio.ensure_future(tools.call("actor", {"operation": "wait", "ms": 20}))
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tools.stats("actor")["active"] == 0


async def test_rates_are_counted_by_tool_and_tenant(tmp_path):
    tools = make(tmp_path, config=ToolsConfig(security=ToolSecurity(rate_limits={"greeter": 2})))
    for _ in range(2):
        await tools.call("greeter", {"name": "a"})
    with pytest.raises(RateLimitError) as caught:
        await tools.call("greeter", {"name": "a"})
    assert 0 < caught.value.retry_after_ms <= 60_001
    await tools.call("greeter", {"name": "a"}, Context(tenant_id="other"))


async def test_calls_beyond_the_slots_wait_for_one(tmp_path):
    tools = make(tmp_path, config=ToolsConfig(options={"actor": {"max_concurrent": 1}}))
    envelopes = await asyncio.gather(*(tools.call("actor", {"operation": "wait", "ms": 1}) for _ in range(4)))
    assert all(envelope["success"] for envelope in envelopes)


async def test_statistics_are_measured(tmp_path):
    metrics = Metrics()
    tools = make(tmp_path, metrics=metrics)
    await tools.call("actor", {"what": "x"})
    await tools.call("actor", {"what": "fail"})
    with pytest.raises(ValidationError):
        await tools.call("actor", {"bad": 1})
    stats = tools.stats("actor")
    assert (stats["calls"], stats["failures"]) == (3, 2)
    assert stats["failures_by_kind"] == {"tool": 1, "validation": 1}
    assert "bad" in stats["last_error"]
    counted = metrics.counter("llmspell_tool_calls_total")
    assert counted.at({"tool": "actor", "status": "failure"}).value == 2


async def test_a_batch_answers_in_order_and_never_raises(tools):
    ops = [
        {"tool": "actor", "params": {"operation": "wait", "ms": 8}},
        {"name": "greeter", "parameters": {"name": "b"}},
        {"tool": "nope"},
        {"tool": "greeter", "params": {}},
    ]
    envelopes = await tools.batch(ops)
    assert [envelope["success"] for envelope in envelopes] == [True, True, False, False]
    assert envelopes[2]["error"]["code"] == "not_found"
    assert await tools.batch([]) == []


async def test_a_failing_batch_stops_when_asked_to(tools):
    ops = [{"tool": "actor", "params": {"operation": "wait", "ms": 20}}, {"tool": "nope"}, {"tool": "actor"}]
    envelopes = await tools.batch(ops, max_concurrency=2, fail_fast=True)
    assert [envelope["error"]["kind"] for envelope in envelopes] == ["cancelled", "tool", "cancelled"]


@pytest.mark.parametrize("op", [5, {"tool": 5}, {"tool": "greeter", "params": 3}, {"tool": "greeter", "parms": {}}])
async def test_a_malformed_op_of_a_batch_is_refused(tools, op):
    with pytest.raises(InvalidArgument, match="op 1"):
        await tools.batch([op])


async def test_an_answer_is_kept_only_when_asked_for(tools):
    first = await tools.call("greeter", {"name": "a"}, options={"cache_ttl_seconds": 60})
    again = await tools.call("greeter", {"name": "a"}, options={"cache_ttl_seconds": 60})
    assert again["metadata"]["execution_id"] == first["metadata"]["execution_id"]
    assert again["metadata"]["cached"] is True
    other = await tools.call("greeter", {"name": "a"}, Context(tenant_id="b"), options={"cache_ttl_seconds": 60})
    assert "cached" not in other["metadata"]


async def test_a_failing_job_is_tried_again(tools):
    envelope = await tools.call("actor", {"what": "network"}, options={"retry": {"max_attempts": 3, "backoff_ms": 1}})
    assert envelope["metadata"]["attempts"] == 3
    assert tools.stats("actor")["calls"] == 3
    with pytest.raises(ValidationError, match="did you mean 'retry'"):
        await tools.call("greeter", {"name": "a"}, options={"retyr": 1})


def test_hidden_tools_do_not_exist(tmp_path):
    tools = make(tmp_path, config=ToolsConfig(disabled=("calc*",)))
    assert tools.get("calculator") is None
    only = make(tmp_path, config=ToolsConfig(enabled=("uuid_generator",)))
    assert [row["name"] for row in only.list({"category": "utility"}) if row["name"] != "greeter"] == ["uuid-generator"]


async def test_a_file_in_a_tools_folder_is_a_tool(tmp_path):
    (tmp_path / "adder.py").write_text(
        "from typing import Annotated, Literal\n"
        "from llmspell.tools._base import P, tool\n"
        "@tool(category='utility', level='safe', inline=True)\n"
        "def adder(a: Annotated[int, P('A')], mode: Literal['x', 'y'] = 'x') -> int:\n"
        "    'Add one.'\n"
        "    return a + 1\n"
    )
    tools = make(tmp_path, config=ToolsConfig(paths=(str(tmp_path),)))
    assert (await tools.call("adder", {"a": 2}))["result"] == 3
    schema = tools.schema("adder")["input_schema"]
    assert schema["properties"]["mode"] == {"type": "string", "enum": ["x", "y"], "default": "x"}
    assert schema["required"] == ["a"]
    with pytest.raises(ConfigurationError):
        make(tmp_path, config=ToolsConfig(paths=(str(tmp_path / "none"),)))
