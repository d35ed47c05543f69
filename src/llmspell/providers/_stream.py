"""Puts one answer together, piece by piece, and tells the pieces as events in the order of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmspell.base.types import FinishReason, Message, ToolCall, Usage
from llmspell.providers._base import ModelResponse, StreamEvent


def parse_arguments(text: str) -> tuple[dict[str, Any], str | None]:
    """Return the arguments of a call, and the text itself when it is not a JSON object. No text means no arguments."""
    if not text.strip():
        return {}, None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}, text
    return (value, None) if isinstance(value, dict) else ({}, text)


def is_cut(text: str) -> bool:
    """Tell whether JSON text ends before its value does."""
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    return False


class _Call:
    __slots__ = ("id", "name", "pieces")

    def __init__(self, ident: str, name: str) -> None:
        self.id = ident
        self.name = name
        self.pieces: list[str] = []


class Assembly:
    """One answer in the making. Methods take a piece and return its event; `finish` gives the closing events.

    names: wire name of a tool to its own name.
    """

    def __init__(self, provider: str, model: str, names: Mapping[str, str] | None = None) -> None:
        self.provider = provider
        self.model = model
        self.names = names or {}
        self.request_id: str | None = None
        self.usage: Usage | None = None
        self.reason: FinishReason | None = None
        self.native_reason: str | None = None
        self.opaque: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _Call] = {}

    def start(self) -> StreamEvent:
        """Return the first event."""
        return StreamEvent(type="start", id=self.request_id, model=self.model)

    def text(self, delta: str) -> StreamEvent:
        """Add visible text."""
        self._text.append(delta)
        return StreamEvent(type="text_delta", text=delta)

    def reasoning(self, delta: str) -> StreamEvent:
        """Add reasoning text."""
        self._reasoning.append(delta)
        return StreamEvent(type="reasoning_delta", text=delta)

    def call(self, index: int, ident: str | None, name: str) -> StreamEvent:
        """Open the tool call at `index`."""
        own = self.names.get(name, name)
        self._calls[index] = _Call(ident or "", own)
        return StreamEvent(type="tool_call_start", index=index, id=ident, name=own)

    def has_call(self, index: int) -> bool:
        """Tell whether the call at `index` is open."""
        return index in self._calls

    def arguments(self, index: int, piece: str) -> StreamEvent:
        """Add argument text to the call at `index`."""
        call = self._calls[index]
        call.pieces.append(piece)
        return StreamEvent(type="tool_call_delta", index=index, id=call.id or None, name=call.name, text=piece)

    def finish(self, dropped: list[str] | None = None) -> list[StreamEvent]:
        """Return the ends of all calls, the usage, and finish with the whole response.

        A call whose arguments are cut off gets no end and is left out; the reason is then `length`.
        """
        events: list[StreamEvent] = []
        calls: list[ToolCall] = []
        cut = False
        for index, call in sorted(self._calls.items()):
            text = "".join(call.pieces)
            arguments, malformed = parse_arguments(text)
            if malformed is not None and (self.reason == "length" or is_cut(text)):
                cut = True
                continue
            calls.append(ToolCall(id=call.id, name=call.name, arguments=arguments, malformed=malformed))
            events.append(
                StreamEvent(type="tool_call_end", index=index, id=call.id or None, name=call.name, arguments=arguments)
            )
        reason = self._reason(calls, cut=cut)
        usage = self.usage or Usage()
        response = ModelResponse(
            message=Message(role="assistant", content="".join(self._text), tool_calls=calls, opaque=self.opaque),
            usage=usage,
            finish_reason=reason,
            native_finish_reason=self.native_reason,
            model=self.model,
            provider=self.provider,
            request_id=self.request_id,
            reasoning="".join(self._reasoning),
            warnings=self.warnings,
            dropped_parameters=dropped or [],
        )
        events.append(StreamEvent(type="usage", usage=usage))
        events.append(StreamEvent(type="finish", reason=reason, response=response))
        return events

    def _reason(self, calls: list[ToolCall], *, cut: bool) -> FinishReason:
        if cut:
            return "length"
        if calls and self.reason in (None, "stop"):
            return "tool_calls"
        return self.reason or "stop"
