"""Many calls at once, answers in the order of the questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmspell.base.ids import uuid4
from llmspell.errors import InvalidArgument, LLMSpellError
from llmspell.tools._run import hop

if TYPE_CHECKING:
    from llmspell.base.context import Context

Envelope = dict[str, Any]
ToolCaller = Callable[..., Awaitable[Envelope]]
"""`Tools.call`: name, params, context, and options by name."""

MAX_OPS = 10_000
MAX_CONCURRENCY = 64
Call = tuple[str, Mapping[str, Any], Mapping[str, Any]]


async def run_batch(
    call: ToolCaller, ops: Sequence[Any], context: Context, *, max_concurrency: int = 8, fail_fast: bool = False
) -> list[Envelope]:
    """Return one envelope per op; an op that would raise becomes one with success=false.

    fail_fast: after the first failure the others are cancelled, and their envelopes say so.
    """
    import asyncio

    if type(max_concurrency) is not int or not 1 <= max_concurrency <= MAX_CONCURRENCY:
        raise InvalidArgument(f"max_concurrency must be between 1 and {MAX_CONCURRENCY}, got {max_concurrency!r}")
    if len(ops) > MAX_OPS:
        raise InvalidArgument(f"a batch may have {MAX_OPS} ops, this has {len(ops)}")
    calls = [_call_of(op, index) for index, op in enumerate(ops, 1)]
    answers: list[Envelope | None] = [None] * len(calls)
    if not calls:
        return []
    await hop()
    waiting = iter(enumerate(calls))
    failed = asyncio.Event()

    async def worker() -> None:
        for index, (name, params, options) in waiting:
            if failed.is_set():
                return
            answers[index] = answer = await try_call(call, name, params, context, options)
            if fail_fast and not answer["success"]:
                failed.set()

    async def stop_others(workers: list[asyncio.Task[None]]) -> None:
        await failed.wait()
        for task in workers:
            task.cancel()

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(worker()) for _ in range(min(max_concurrency, len(calls)))]
        stopper = group.create_task(stop_others(workers))
        await asyncio.wait(workers)
        stopper.cancel()
    return [answer if answer is not None else _not_run(calls[index][0]) for index, answer in enumerate(answers)]


async def try_call(
    call: ToolCaller, name: str, params: Mapping[str, Any] | None, context: Context, options: Mapping[str, Any] | None
) -> Envelope:
    """Return the envelope of a call; what `call` would raise becomes success=false."""
    try:
        return await call(name, params, context, options=options)
    except LLMSpellError as error:
        return refused(name, error)


def refused(name: str, error: LLMSpellError) -> Envelope:
    """Return the envelope of a call that could not start."""
    from llmspell.base.clock import rfc3339

    rest = {key: value for key, value in error.details.items() if key != "code"}
    problem: dict[str, Any] = {"kind": error.kind, "message": error.message, "code": error.code or error.kind}
    if rest:
        problem["details"] = rest
    operation = str(error.details.get("operation", "unknown"))
    return {
        "operation": operation,
        "success": False,
        "message": f"Operation '{operation}' failed: {error.message}",
        "error": problem,
        "metadata": {
            "tool": str(name)[:100],
            "version": "",
            "execution_id": uuid4(),
            "timestamp": rfc3339(),
            "duration_ms": 0,
        },
    }


def _not_run(name: str) -> Envelope:
    from llmspell.errors import CancelledError

    return refused(name, CancelledError("another call of the batch failed first", code="fail_fast"))


def _call_of(op: Any, index: int) -> Call:
    if isinstance(op, Mapping):
        name = op.get("tool", op.get("name"))
        params = op.get("params", op.get("parameters"))
        options = op.get("options")
        known = {"tool", "name", "params", "parameters", "options"}
        strange = next((key for key in op if key not in known), None)
        if strange is not None:
            raise InvalidArgument(f"op {index} of the batch has the unknown field '{strange}'")
        if isinstance(name, str) and isinstance(params, Mapping | None) and isinstance(options, Mapping | None):
            return name, params or {}, options or {}
    raise InvalidArgument(f"op {index} of the batch must be a table {{tool = name, params = table, options = table}}")
