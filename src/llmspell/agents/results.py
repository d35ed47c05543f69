"""The result of a run as plain data, as every caller gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.agents.run import call_wire, media_wire, usage_wire
from llmspell.agents.structured import dump, parse
from llmspell.base.clock import monotonic
from llmspell.base.types import Usage

if TYPE_CHECKING:
    from llmspell.agents.compose import Outcome
    from llmspell.agents.loop import Answer
    from llmspell.agents.run import Run


def answer_result(run: Run, agent: str, started: float, answer: Answer) -> dict[str, Any]:
    """Return the result of a run that a model answered."""
    result = _frame(run, agent, started, answer.text)
    data = answer.data if answer.data is not None else parse(answer.text)
    if data is not None:
        result["data"] = data
    result["finish_reason"] = answer.finish_reason
    result["model"] = result["metadata"]["model"] = run.model
    result["provider"] = run.provider
    if answer.media:
        result["media"] = [media_wire(item) for item in answer.media]
    return result


def plain_result(run: Run, agent: str, started: float, *, text: str | None = None, value: Any = None) -> dict[str, Any]:
    """Return the result of an agent without a model: a text, or what a handler returned."""
    fields: dict[str, Any] = {}
    if text is None:
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            text = value["text"]
            fields = {key: value[key] for key in ("data", "transfer_to") if value.get(key) is not None}
        elif isinstance(value, str):
            text = value
        else:
            text = "" if value is None else dump(value)
    result = _frame(run, agent, started, text)
    data = parse(text)
    if data is not None:
        result["data"] = data
    result.update(fields)
    return result


def team_result(run: Run, agent: str, started: float, outcome: Outcome) -> dict[str, Any]:
    """Return the result of a composite: the usage is the sum over its members."""
    for entry in outcome.outputs:
        if entry.get("usage"):
            run.spent(Usage(**entry["usage"]))
    result = _frame(run, agent, started, outcome.text)
    data = outcome.data if outcome.data is not None else parse(outcome.text)
    if data is not None:
        result["data"] = data
    hidden = ("raised", "result")
    result["outputs"] = [{key: value for key, value in entry.items() if key not in hidden} for entry in outcome.outputs]
    result["metadata"]["extra"].update(outcome.extra)
    return result


def _frame(run: Run, agent: str, started: float, text: str) -> dict[str, Any]:
    context = run.context
    usage = usage_wire(run.usage)
    extra: dict[str, Any] = {
        "agent": agent,
        "model_calls": run.model_calls,
        "tool_calls": len(run.calls),
        "attempts": run.attempts,
        "fallback_used": run.fallback_used,
        "stop_reason": run.stop_reason,
    }
    if context.session_id is not None:
        extra["session_id"] = context.session_id
    if context.conversation_id is not None:
        extra["conversation_id"] = context.conversation_id
    if run.warnings:
        extra["warnings"] = run.warnings
    return {
        "text": text,
        "tool_calls": [call_wire(call) for call in run.calls] if run.calls else [],
        "usage": usage,
        "finish_reason": "stop",
        "media": [],
        "metadata": {
            "execution_time_ms": int((monotonic() - started) * 1000),
            "execution_id": run.execution_id,
            "token_count": usage["total_tokens"],
            "extra": extra,
        },
    }
