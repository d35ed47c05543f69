"""The tool calls of one turn: ids, limits, permission, running them side by side, and what the model is told.

Whatever goes wrong in a call becomes text for the model, `Error: <message>`; only cancellation and defects end a run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.agents.approval import approved, refuse
from llmspell.agents.run import CURRENT, call_wire
from llmspell.agents.structured import dump
from llmspell.agents.waiting import side_by_side
from llmspell.base.budget import exhausted
from llmspell.base.clock import monotonic, rfc3339
from llmspell.base.types import Message, ToolCall
from llmspell.errors import CancelledError, InternalError, LLMSpellError, ResourceLimitError

if TYPE_CHECKING:
    from llmspell.agents.run import Run

NOTICE_AT, STOP_AT = 3, 5
CHARACTERS_PER_TOKEN = 4

Invoke = Callable[[str, dict[str, Any], Any], Awaitable[dict[str, Any]]]


def name_ids(calls: list[ToolCall], run: Run) -> None:
    """Give each call an id of its own; the provider's is kept when it is one."""
    seen = {call.id for call in run.calls}
    for number, call in enumerate(calls, len(run.calls) + 1):
        if not call.id or call.id in seen:
            call.id = f"call_{run.execution_id[:8]}_{number}"
        seen.add(call.id)


async def run_calls(run: Run, calls: list[ToolCall], invoke: Invoke) -> bool:
    """Run the calls of one turn and append one tool message each, in call order.

    Returns whether `max_tool_calls` was reached, so that a final answer is due. invoke: `(name, params, context)` to
    the tool's envelope. Raises ResourceLimitError for endless repetition, and past the limit with `on_limit=raise`.
    """
    config = run.config
    room = max(0, config.max_tool_calls - len(run.calls))
    if len(calls) > room and config.on_limit == "raise":
        raise exhausted("max_tool_calls", config.max_tool_calls, len(run.calls))
    doing, refused = calls[:room], calls[room:]
    notices = [_repetition(run, call) for call in doing]
    run.calls.extend(doing)
    run.stopper.phase = "tool"
    groups = _groups(run, doing)
    if len(groups) > 1:
        outer = CURRENT.get()
        try:
            await side_by_side([_in_turn(run, group, invoke) for group in groups], config.max_parallel_tools)
        finally:
            CURRENT.set(outer)
    elif groups:
        await _in_turn(run, groups[0], invoke)
    run.stopper.phase = "model"
    for call, notice in zip(doing, notices, strict=True):
        await _report(run, call, notice)
    if refused:
        await refuse_calls(run, refused, f"the limit of {config.max_tool_calls} tool calls is reached")
    return bool(refused)


async def refuse_calls(run: Run, calls: list[ToolCall], reason: str) -> None:
    """Answer calls that are not run because a limit of the run is reached."""
    for call in calls:
        refuse(call, "resource_limit", "limit_reached", reason)
        await _report(run, call, "")


async def _report(run: Run, call: ToolCall, notice: str) -> None:
    """Append the tool message of a call, and tell the listener."""
    text = _text_for_model(call, run.config.max_result_tokens)
    run.messages.append(
        Message(
            role="tool",
            content=text + notice,
            tool_call_id=call.id,
            name=call.name,
            is_error=not call.success,
            timestamp=rfc3339(),
        )
    )
    await run.tell("tool_result", tool_result=_result_chunk(call, text))


def _result_chunk(call: ToolCall, text: str) -> dict[str, Any]:
    wire = {"id": call.id, "name": call.name, "success": bool(call.success), "text": text}
    return wire if call.error is None else {**wire, "error": call.error}


def _repetition(run: Run, call: ToolCall) -> str:
    key = (call.name, msgspec.json.encode(call.arguments, order="sorted").decode())
    run.repeated = run.repeated + 1 if key == run.last_call else 1
    run.last_call = key
    if run.repeated >= STOP_AT:
        raise ResourceLimitError(
            f"Resource limit exceeded: the model called '{call.name}' {run.repeated} times with the same arguments",
            details={"resource": "repeated_tool_call", "limit": STOP_AT, "used": run.repeated, "tool": call.name},
        )
    if run.repeated < NOTICE_AT:
        return ""
    return f"\n[Notice: this is call {run.repeated} with the same arguments; the result will not change.]"


def _groups(run: Run, calls: list[ToolCall]) -> list[list[ToolCall]]:
    """Return what may run side by side; calls within a group run one after the other."""
    if len(calls) < 2 or not run.config.parallel_tool_calls or run.config.max_parallel_tools < 2:
        return [calls] if calls else []
    groups: list[list[ToolCall]] = []
    serial: dict[str, list[ToolCall]] = {}
    for call in calls:
        if run.toolbox.serial(call.name):
            if call.name in serial:
                serial[call.name].append(call)
                continue
            serial[call.name] = group = [call]
            groups.append(group)
        else:
            groups.append([call])
    return groups


async def _in_turn(run: Run, calls: list[ToolCall], invoke: Invoke) -> None:
    for call in calls:
        run.stopper.check()
        await _run_call(run, call, invoke)


async def _run_call(run: Run, call: ToolCall, invoke: Invoke) -> None:
    started = monotonic()
    name = run.toolbox.allowed(call.name)
    if name is None:
        available = ", ".join(run.toolbox.names) or "none"
        refuse(call, "tool", "tool_not_allowed", f"tool '{call.name}' is not allowed, available: {available}")
        return
    if call.malformed is not None and not _repair(call):
        refuse(call, "validation", "bad_arguments", f"the arguments are not a JSON object: {call.malformed[:200]}")
        return
    if not await _asked_first(run, call) or not await approved(run, call, name):
        return
    call.status = "running"
    try:
        if run.ledger is not None:
            run.ledger.tool_call()
        envelope = await run.within(invoke(name, call.arguments, run.context))
    except (CancelledError, InternalError):
        raise
    except LLMSpellError as error:
        if error.details.get("resource") == "budget_tool_calls":
            raise
        refuse(call, error.kind, error.code or error.kind, error.message, error.details)
    else:
        _take(call, envelope)
    call.duration_ms = int((monotonic() - started) * 1000)


def _take(call: ToolCall, envelope: dict[str, Any]) -> None:
    call.success = bool(envelope.get("success"))
    call.status = "done" if call.success else "failed"
    call.result = envelope.get("result")
    if call.success and call.result is None:
        call.result = envelope.get("text")
    if not call.success:
        call.error = envelope.get("error") or {"kind": "tool", "message": str(envelope.get("message", "failed"))}


async def _asked_first(run: Run, call: ToolCall) -> bool:
    """Ask the agent's `on_tool_call`: false or a text denies, a table gives new arguments."""
    if run.config.on_tool_call is None:
        return True
    verdict = await run.config.on_tool_call(
        {"name": call.name, "arguments": call.arguments, "id": call.id, "agent": run.config.name}
    )
    if verdict is False or isinstance(verdict, str):
        reason = verdict if isinstance(verdict, str) else f"the call of tool '{call.name}' was denied"
        refuse(call, "security", "denied", reason)
        return False
    if isinstance(verdict, dict):
        call.arguments = verdict
    return True


def _repair(call: ToolCall) -> bool:
    """Read argument text whose only faults are trailing commas and raw line breaks in strings."""
    import re

    text = re.sub(r",(\s*[}\]])", r"\1", (call.malformed or "").strip()) or "{}"
    text = re.sub(r'"(?:[^"\\]|\\.)*"', lambda found: found.group().replace("\n", "\\n").replace("\r", "\\r"), text)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    if not isinstance(value, dict):
        return False
    call.arguments = value
    call.malformed = None
    return True


def _text_for_model(call: ToolCall, max_tokens: int) -> str:
    if not call.success:
        return f"Error: {(call.error or {}).get('message', 'failed')}"
    result = call.result
    text = result if isinstance(result, str) else "" if result is None else _json(result)
    return shorten(text, max_tokens * CHARACTERS_PER_TOKEN)


def _json(value: Any) -> str:
    try:
        return dump(value)
    except (TypeError, ValueError, msgspec.MsgspecError):
        return str(value)


def shorten(text: str, limit: int) -> str:
    """Return head and tail of a text longer than `limit` characters, with a note of what is missing."""
    if len(text) <= limit or limit <= 0:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[len(text) - half :]}"


def wire(calls: list[ToolCall]) -> list[dict[str, Any]]:
    """Return calls as plain data."""
    return [call_wire(call) for call in calls]
