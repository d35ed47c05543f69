"""The messages dialect as data. Source: Anthropic API reference, version 2023-06-01."""

from __future__ import annotations

from typing import Any

import msgspec

from llmspell.base.types import FinishReason, Media, Message, Usage
from llmspell.providers import _media

REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
}


class WireUsage(msgspec.Struct):
    """Counted tokens; `input_tokens` leaves out those read from and written to the cache."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class WireAnswer(msgspec.Struct):
    """A whole message."""

    content: list[dict[str, Any]]
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None


class WireEvent(msgspec.Struct):
    """One event of a stream."""

    type: str = ""
    index: int = 0
    message: dict[str, Any] | None = None
    content_block: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None
    usage: WireUsage | None = None
    error: Any = None


class WireModel(msgspec.Struct):
    """One entry of /v1/models."""

    id: str


class WireModels(msgspec.Struct):
    """An answer of /v1/models."""

    data: list[WireModel]


def usage_of(wire: WireUsage) -> Usage:
    """Return neutral usage, whose input includes the cached tokens."""
    read, written = wire.cache_read_input_tokens or 0, wire.cache_creation_input_tokens or 0
    sent, made = (wire.input_tokens or 0) + read + written, wire.output_tokens or 0
    return Usage(
        input_tokens=sent,
        output_tokens=made,
        total_tokens=sent + made,
        cached_tokens=read,
        cache_write_tokens=written,
    )


def merge(old: WireUsage | None, new: WireUsage) -> WireUsage:
    """Return the counts of `new`, and those of `old` where `new` says nothing; streams tell them in two events."""
    if old is None:
        return new
    fields = {
        name: getattr(new, name) if getattr(new, name) is not None else getattr(old, name)
        for name in WireUsage.__struct_fields__
    }
    return WireUsage(**fields)


def messages_out(messages: list[Message], names: dict[str, str]) -> tuple[str, list[dict[str, Any]]]:
    """Return the system text and the turns; neighbouring messages of one role become one turn, as the service wants."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            system.append(message.content)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message, names)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return "\n\n".join(text for text in system if text), turns


def _blocks(message: Message, names: dict[str, str]) -> list[dict[str, Any]]:
    if message.role == "tool":
        block: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": message.tool_call_id or "",
            "content": message.content,
        }
        if message.is_error:
            block["is_error"] = True
        return [block]
    blocks = [part for part in message.opaque if part.get("type") in ("thinking", "redacted_thinking")]
    blocks += [_medium(item) for item in message.media]
    if message.content.strip():
        blocks.append({"type": "text", "text": message.content})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": names.get(call.name, call.name), "input": call.arguments}
        for call in message.tool_calls
    ]
    return blocks


def _medium(item: Media) -> dict[str, Any]:
    if item.type == "text":
        return {"type": "text", "text": _media.text(item)}
    kind = "image" if item.type == "image" else "document"
    if item.url is not None:
        return {"type": kind, "source": {"type": "url", "url": item.url}}
    return {"type": kind, "source": {"type": "base64", "media_type": item.mime_type, "data": _media.base64(item)}}
