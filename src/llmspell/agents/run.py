"""One run of an agent: what it has so far, and how it tells a listener about it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.agents.waiting import Texts, hand_over
from llmspell.base.types import Chunk, Message, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from llmspell.agents._base import AgentConfig, Ask, Emit
    from llmspell.agents.toolbox import Toolbox
    from llmspell.agents.waiting import Stopper
    from llmspell.base.budget import Ledger
    from llmspell.base.context import Context
    from llmspell.providers._base import ModelResponse

CURRENT: ContextVar[Context | None] = ContextVar("llmspell_agent_run", default=None)
"""Context of the run whose tool or handler is at work, so that agents called from there belong to that run."""
NOTHING = Usage()
ENDINGS = ("usage", "control")
"""What a listener gets even after it had enough."""


class Run:
    """State of one execution.

    messages: the working conversation. own: index of the first that this run added. calls: every tool call so far, in
    order. listener_gone: a stream callback returned false.
    """

    __slots__ = (
        "asked",
        "attempts",
        "calls",
        "chunks",
        "config",
        "context",
        "emit",
        "execution_id",
        "fallback_used",
        "last_call",
        "ledger",
        "listener_gone",
        "max_tokens",
        "messages",
        "model",
        "model_calls",
        "own",
        "partial",
        "provider",
        "repeated",
        "stop_reason",
        "stopper",
        "system",
        "toolbox",
        "ttft_ms",
        "usage",
        "warnings",
    )

    def __init__(self, ask: Ask, context: Context, stopper: Stopper, toolbox: Toolbox, emit: Emit) -> None:
        self.asked = ask
        self.config: AgentConfig = ask.config
        self.context = context
        self.execution_id = context.execution_id
        self.stopper = stopper
        self.toolbox = toolbox
        self.emit = emit
        self.ledger: Ledger | None = context.ledger
        self.messages: list[Message] = []
        self.own = 0
        self.system: str | None = None
        self.usage: Usage = NOTHING
        self.calls: list[ToolCall] = []
        self.model_calls = 0
        self.attempts: list[dict[str, Any]] = []
        self.fallback_used = False
        self.stop_reason = "final"
        self.chunks = 0
        self.listener_gone = False
        self.ttft_ms: float | None = None
        self.max_tokens = ask.config.max_tokens
        self.model = ""
        self.provider = ""
        self.partial = ""
        self.last_call: tuple[str, str] | None = None
        self.repeated = 0
        self.warnings: list[str] = []

    async def tell(self, kind: str, **fields: Any) -> None:
        """Give the listener a chunk, if there is one; a callback that answers false ends the run."""
        if self.emit is None or (self.listener_gone and kind not in ENDINGS):
            return
        chunk = Chunk(
            type=kind,  # type: ignore[arg-type] # callers use the words of Chunk
            index=self.chunks,
            model=self.model or None,
            stream_id=self.execution_id,
            **fields,
        )
        self.chunks += 1
        if await self.emit(chunk) is False:
            self.listener_gone = True

    async def tell_texts(self, texts: list[str]) -> None:
        """Give the stream that pulls this run several chunks of text at once."""
        index = self.chunks
        self.chunks += len(texts)
        await hand_over(Texts(texts, index, self.model or None, self.execution_id))

    async def within(self, work: Awaitable[Any]) -> Any:
        """Await a tool or a handler as part of this run. The variable is set back by value, not by token, because
        the work may go on in another task than it began in.
        """
        outer = CURRENT.get()
        CURRENT.set(self.context)
        try:
            return await work
        finally:
            CURRENT.set(outer)

    async def control(self, word: str, *, final: bool = False, **fields: Any) -> None:
        """Give the listener a control chunk."""
        await self.tell("control", control={"type": word, **fields}, is_final=final)

    def spent(self, usage: Usage) -> None:
        """Add the usage of one model call."""
        self.usage = usage if self.usage is NOTHING else self.usage + usage

    def partial_result(self) -> dict[str, Any]:
        """Return what an error carries of an unfinished run."""
        return {
            "text": self.partial,
            "tool_calls": [call_wire(call) for call in self.calls],
            "usage": usage_wire(self.usage),
            "metadata": {"execution_id": self.execution_id, "extra": {"model_calls": self.model_calls}},
        }


def usage_wire(usage: Usage) -> dict[str, Any]:
    """Return usage as plain data, without a cost when it is unpriced."""
    wire = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_tokens": usage.total_tokens or usage.input_tokens + usage.output_tokens,
        "estimated": usage.estimated,
    }
    if usage.cost_usd is not None:
        wire["cost_usd"] = usage.cost_usd  # type: ignore[assignment] # the one float among the counts
    return wire


def call_wire(call: ToolCall) -> dict[str, Any]:
    """Return one tool call as plain data, unset fields left out."""
    wire: dict[str, Any] = {"id": call.id, "name": call.name, "arguments": call.arguments, "status": call.status}
    for field in ("result", "success", "error", "duration_ms"):
        value = getattr(call, field)
        if value is not None:
            wire[field] = value
    return wire


def chunk_wire(chunk: Chunk) -> dict[str, Any]:
    """Return a chunk as the flat table scripts see."""
    wire: dict[str, Any] = {
        "type": chunk.type,
        "text": chunk.text,
        "index": chunk.index,
        "is_final": chunk.is_final,
        "stream_id": chunk.stream_id,
    }
    for field in ("tool_call", "tool_result", "control", "model"):
        value = getattr(chunk, field)
        if value is not None:
            wire[field] = value
    if chunk.usage is not None:
        wire["usage"] = usage_wire(chunk.usage)
    if chunk.media is not None:
        wire["media"] = media_wire(chunk.media)
    return wire


def media_wire(media: Any) -> dict[str, Any]:
    """Return a media item as plain data, bytes as base64 text."""
    wire: dict[str, Any] = {"type": media.type, "mime_type": media.mime_type, **media.metadata}
    if media.data is not None:
        wire["base64"] = msgspec.to_builtins(media.data)
        wire["size_bytes"] = len(media.data)
    for field in ("url", "format", "filename"):
        if getattr(media, field) is not None:
            wire[field] = getattr(media, field)
    return wire


def attempt(response: ModelResponse | None, model: str, error: Any = None) -> dict[str, Any]:
    """Return one entry of `metadata.extra.attempts`."""
    entry: dict[str, Any] = {"model": model}
    if error is not None:
        entry["kind"] = error.kind
        if error.code is not None:
            entry["code"] = error.code
        if isinstance(error.details.get("attempts"), int):
            entry["tries"] = error.details["attempts"]
    elif response is not None:
        entry["latency_ms"] = response.latency_ms
    return entry
