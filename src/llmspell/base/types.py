"""Data that agents, tools, providers and scripts exchange. Frozen; the JSON form uses the same names."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "pause", "cancelled", "error"]
Role = Literal["system", "user", "assistant", "tool"]
Level = Literal["safe", "restricted", "privileged"]
LEVELS: tuple[Level, ...] = ("safe", "restricted", "privileged")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and money of model calls. `cost_usd` None means unpriced; `estimated` marks counts that are ours."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        cost = None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cost_usd=cost,
            estimated=self.estimated or other.estimated,
        )


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """One image, audio, video or file: bytes or an address."""

    type: Literal["text", "image", "audio", "video", "file"] = "file"
    data: bytes | None = None
    url: str | None = None
    mime_type: str = "application/octet-stream"
    format: str | None = None
    filename: str | None = None
    metadata: dict[str, Any] = {}


class ToolCall(msgspec.Struct, kw_only=True):
    """One call a model asked for; the result fields are filled when it ran."""

    id: str
    name: str
    arguments: dict[str, Any] = {}
    result: Any = None
    success: bool | None = None
    error: dict[str, Any] | None = None
    duration_ms: int | None = None
    status: Literal["pending", "approved", "denied", "running", "done", "failed"] = "pending"
    malformed: str | None = None
    """The argument text as the model wrote it, when it is not a JSON object."""


class Message(msgspec.Struct, kw_only=True):
    """One message of a conversation.

    tool_calls: of an assistant message. tool_call_id, is_error: of a tool message, which answers that call.
    opaque: reasoning parts returned unchanged to the provider that made them.
    """

    role: Role
    content: str = ""
    media: list[Media] = []
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    name: str | None = None
    is_error: bool = False
    timestamp: str | None = None
    opaque: list[dict[str, Any]] = []


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of an agent's stream; `index` starts at 0 and has no gaps."""

    type: Literal[
        "text", "reasoning", "tool_call_progress", "tool_call_complete", "tool_result", "media", "usage", "control"
    ]
    text: str = ""
    index: int = 0
    is_final: bool = False
    tool_call: dict[str, Any] | None = None
    tool_result: dict[str, Any] | None = None
    media: Media | None = None
    usage: Usage | None = None
    control: dict[str, Any] | None = None
    model: str | None = None
    stream_id: str = ""
