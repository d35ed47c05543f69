"""Running one checked call: threads, deadlines, errors. Nothing here knows names, schemas or policies.

The road of a tool that does not wait never suspends and never asks for a loop: the caller may drive the coroutine by
hand. A call that waits first hands control back once (`hop`), so that what follows runs inside the caller's task.
"""

from __future__ import annotations

import types
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

from llmspell.base.clock import monotonic
from llmspell.base.context import Context
from llmspell.base.offload import offload
from llmspell.errors import CancelledError, SecurityError
from llmspell.tools._base import Result, Services, ToolContext, ToolFailure, violation
from llmspell.tools._check import base64_bytes, typed
from llmspell.tools._spec import MISSING, Op, Param, Spec

SMALL = 65_536
running: ContextVar[Context | None] = ContextVar("running", default=None)
"""The context of the script's function that runs in this task: what it calls is nested in that."""
_INTENTS = {"path-r": "read", "path-w": "write", "path-d": "read"}
_SCALARS = frozenset({int, float, bool, type(None)})


class Job:
    """One checked call on its way. deadline: monotonic seconds. notes: for the envelope's metadata.

    quick: what it does takes no time worth a thread, so `now` runs it.
    """

    __slots__ = ("context", "ctx", "cwd", "deadline", "notes", "op", "quick", "services", "settings", "spec", "values")

    def __init__(
        self,
        spec: Spec,
        op: Op,
        values: dict[str, Any],
        context: Context,
        deadline: float,
        services: Services,
        settings: Mapping[str, Any],
        cwd: Path,
    ) -> None:
        self.spec = spec
        self.op = op
        self.values = values
        self.context = context
        self.deadline = deadline
        self.services = services
        self.settings = settings
        self.cwd = cwd
        self.ctx: ToolContext | None = None
        self.notes: dict[str, Any] | None = None
        self.quick = op.mode == "inline" and is_small(values)

    def now(self) -> Any:
        """Return what the function of a quick job returns. Raises as `run` does."""
        op = self.op
        kwargs = self._arguments() if op.convert or op.renamed else self.values
        if op.wants_ctx:
            self._open_context()
        if monotonic() > self.deadline:
            raise TimeoutError
        return op.fn(**kwargs) if self.ctx is None else op.fn(**kwargs, ctx=self.ctx)

    async def run(self) -> Any:
        """Return what the function returns. Raises what it raises, and the builtin TimeoutError at the deadline."""
        if self.quick:
            return self.now()
        op = self.op
        kwargs = self._arguments() if op.convert or op.renamed else self.values
        if op.wants_ctx:
            self._open_context()
        await hop()
        import asyncio

        scope = asyncio.timeout(max(0.0, self.deadline - monotonic()))
        try:
            async with scope:
                return await self._started(kwargs)
        except CancelledError as error:
            # A script's function that is cut off by the deadline reports its own cancellation.
            if scope.expired():
                raise TimeoutError from error
            raise

    async def _started(self, kwargs: dict[str, Any]) -> Any:
        op = self.op
        if op.script:
            return await self._scripted()
        if self.ctx is not None:
            kwargs = {**kwargs, "ctx": self.ctx}
        if op.mode == "async":
            return await op.fn(**kwargs)
        return await offload(_call, op.fn, kwargs)

    async def _scripted(self) -> Any:
        context = self.ctx.context if self.ctx is not None else self.context
        token = running.set(msgspec.structs.replace(context, model_issued=False))
        try:
            answer = await self.op.fn(self._with_defaults(), self._script_context(context))
        finally:
            running.reset(token)
        return script_result(self.spec, answer)

    def _arguments(self) -> dict[str, Any]:
        """Return the keyword arguments: paths resolved, binary decoded, records built, names as Python has them."""
        kwargs = dict(self.values)
        for param in self.op.convert:
            value = kwargs.get(param.name)
            if value is not None:
                kwargs[param.name] = self._converted(param, value)
        for param in self.op.renamed:
            if param.name in kwargs:
                kwargs[param.arg] = kwargs.pop(param.name)
        return kwargs

    def _converted(self, param: Param, value: Any) -> Any:
        convert = param.convert
        if convert is None or convert.mark == "url":
            return value
        if convert.mark == "typed":
            return typed(param, value)
        if convert.mark == "raw":
            if not isinstance(value, str | bytes):
                raise violation(param.name, "text expected", keyword="type")
            return value
        items = value if convert.many else [value]
        if convert.mark == "bytes":
            done: list[Any] = [base64_bytes(param.name, item) for item in items]
        else:
            done = [self._resolved(item, convert.mark) for item in items]
        return done if convert.many else done[0]

    def _resolved(self, text: str, mark: str) -> Path:
        security = self.services.get("security")
        if security is None:
            raise SecurityError("files are not available here", code="path_denied")
        resolved: Path = security.resolve(text, _INTENTS[mark])
        return resolved

    def _open_context(self) -> None:
        child = self.context.child(deadline=self.deadline)
        self.ctx = ToolContext(
            self.services,
            context=child,
            cwd=self.cwd,
            tool=self.spec.name,
            operation=self.op.name,
            deadline=self.deadline,
            settings=self.settings,
        )

    def _with_defaults(self) -> dict[str, Any]:
        values = dict(self.values)
        for param in self.op.params.values():
            if param.default not in (MISSING, None):
                values.setdefault(param.name, param.default)
        return values

    def _script_context(self, context: Context) -> dict[str, Any]:
        fields = {
            "tool": self.spec.name,
            "agent": context.agent,
            "session_id": context.session_id,
            "workflow": context.workflow,
            "correlation_id": context.correlation_id,
        }
        return {key: value for key, value in fields.items() if value is not None}


def script_result(spec: Spec, value: Any) -> Any:
    """Return what a script's handler meant: text, an envelope, a wrapped result, or the result itself."""
    if isinstance(value, str):
        return Result(value, text=value)
    if not isinstance(value, dict):
        return value
    if "success" in value or "operation" in value:
        return _script_envelope(spec, value)
    return value["result"] if len(value) == 1 and "result" in value else value


def _script_envelope(spec: Spec, value: Mapping[str, Any]) -> Any:
    operation = value.get("operation")
    message = value.get("message")
    meta = value.get("metadata")
    if value.get("success", True) is False:
        error = value.get("error")
        record = error if isinstance(error, Mapping) else {"message": error}
        text = record.get("message") or message or f"tool '{spec.name}' failed"
        raise ToolFailure(
            str(record.get("code") or "failed"),
            str(text),
            record.get("details") if isinstance(record.get("details"), Mapping) else None,
            error_kind=str(record.get("kind") or "tool"),
            result=value.get("result"),
            text=value["text"] if isinstance(value.get("text"), str) else None,
        )
    return Result(
        value.get("result"),
        message=message if isinstance(message, str) else None,
        text=value["text"] if isinstance(value.get("text"), str) else None,
        metadata=meta if isinstance(meta, Mapping) else None,
        operation=operation if isinstance(operation, str) else None,
    )


def is_small(values: Mapping[str, Any]) -> bool:
    """Tell whether the values hold at most 64 KiB of text and few members, so that computing on them is quick."""
    left = SMALL
    stack: list[Any] = list(values.values())
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind in _SCALARS:
            continue
        if kind is str or kind is bytes:
            left -= len(value)
        elif kind is dict:
            left -= 16 * len(value)
            if left < 0:
                return False
            stack.extend(value.values())
        elif kind is list:
            left -= 16 * len(value)
            if left < 0:
                return False
            stack.extend(value)
        if left < 0:
            return False
    return True


def _call(fn: Any, kwargs: dict[str, Any]) -> Any:
    return fn(**kwargs)


@types.coroutine
def hop() -> Generator[None, None, None]:
    """Hand control back once, without asking for a loop."""
    yield
