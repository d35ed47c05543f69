"""The document of `run` and `exec`."""

from __future__ import annotations

from llmspell.base.ids import uuid4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.streams import Sink
    from llmspell.errors import LLMSpellError
    from llmspell.lua.engine import Interpreter, Outcome


def document(
    call: Call,
    outcome: Outcome,
    used: dict[str, Any],
    values: list[Any],
    streams: tuple[Sink, Sink],
    script: str | None,
) -> dict[str, Any]:
    """Return the payload; values that have no JSON form are refused before anything is written. used: of `usage`."""
    from llmspell.cli.output import to_json

    values = [ordered(value) for value in values]
    to_json(values)
    payload: dict[str, Any] = {"engine": "lua"}
    if script is not None:
        payload["script"] = script
    payload |= {
        "args_count": len(call.args) - 1 + len(call.rest or ()),
        "streaming": bool(call.get("stream")),
        "result": values[0] if values else None,
    }
    if len(values) > 1:
        payload["results"] = values
    return payload | {
        "stdout": streams[0].text,
        "stderr": streams[1].text,
        "execution_id": uuid4(),
        "execution_time_ms": outcome.duration_ms,
        "exit_code": outcome.exit_code,
        "usage": used,
        "limits": outcome.used,
    }


def ordered(value: Any) -> Any:
    """Return plain data with the keys of all tables sorted: Lua gives them in no order of its own."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(item) for item in value] if isinstance(value, (list, tuple)) else value


def usage(app: App, interp: Interpreter) -> dict[str, Any]:
    """Return what model and tool calls of the run used; zero for services it never touched. Ask before closing them."""
    totals: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0, "tool_calls": 0, "model_calls": 0}
    providers = app.__dict__.get("providers")
    if providers is not None:
        used = providers.usage()
        totals |= {name: used[name] for name in ("input_tokens", "output_tokens", "cost_usd") if name in used}
        totals["model_calls"] = used.get("requests", 0)
    tools = interp.lane.__dict__.get("tools")
    if tools is not None:
        totals["tool_calls"] = sum(one["calls"] for one in tools.stats().values())
    return totals


def payload_error(error: LLMSpellError) -> dict[str, Any]:
    """Return an error for the document."""
    wire = error.to_wire()
    hint = error.details.get("hint")
    return {**wire, "hint": hint} if hint else wire
