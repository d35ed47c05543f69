"""The chat completions dialect as data: what comes back, and how messages go out. Source: OpenAI API reference."""

from __future__ import annotations

from typing import Any

import msgspec

from llmspell.base.types import FinishReason, Media, Message, Usage
from llmspell.providers import _media

REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}


class WireFunction(msgspec.Struct):
    """A called function; some services send the arguments as an object."""

    name: str | None = None
    arguments: Any = None


class WireCall(msgspec.Struct):
    """A tool call, whole or a piece of it."""

    id: str | None = None
    index: int | None = None
    function: WireFunction | None = None


class WireMessage(msgspec.Struct):
    """A message or a delta."""

    content: Any = None
    reasoning_content: str | None = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[WireCall] | None = None


class WireChoice(msgspec.Struct):
    """One answer or one piece of it."""

    message: WireMessage | None = None
    delta: WireMessage | None = None
    finish_reason: str | None = None


class WireUsage(msgspec.Struct):
    """Counted tokens."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None
    prompt_cache_hit_tokens: int | None = None


class WireAnswer(msgspec.Struct):
    """A completion or a chunk."""

    id: str | None = None
    model: str | None = None
    choices: list[WireChoice] | None = None
    usage: WireUsage | None = None
    error: Any = None


class WireVector(msgspec.Struct):
    """One embedding."""

    embedding: list[float]
    index: int = 0


class WireVectors(msgspec.Struct):
    """An answer of /embeddings."""

    data: list[WireVector]
    model: str | None = None
    usage: WireUsage | None = None


class WireModel(msgspec.Struct):
    """One entry of /models."""

    id: str


class WireModels(msgspec.Struct):
    """An answer of /models."""

    data: list[WireModel]


def usage_of(wire: WireUsage) -> Usage:
    """Return neutral usage."""
    sent, made = wire.prompt_tokens or 0, wire.completion_tokens or 0
    before, after = wire.prompt_tokens_details, wire.completion_tokens_details
    cached = (before or {}).get("cached_tokens") or wire.prompt_cache_hit_tokens or 0
    return Usage(
        input_tokens=sent,
        output_tokens=made,
        total_tokens=wire.total_tokens or sent + made,
        cached_tokens=cached,
        reasoning_tokens=(after or {}).get("reasoning_tokens") or 0,
    )


def texts_of(message: WireMessage) -> tuple[str, str]:
    """Return visible text and reasoning; content may be text, or a list of text and thinking parts."""
    reasoning = message.reasoning_content or (message.reasoning if isinstance(message.reasoning, str) else "") or ""
    content = message.content
    if content is None:
        return "", reasoning
    if isinstance(content, str):
        return content, reasoning
    if not isinstance(content, list):
        return str(content), reasoning
    visible, thought = [], [reasoning]
    for part in content:
        if isinstance(part, dict) and part.get("type") == "thinking":
            inner = part.get("thinking")
            thought += [str(i.get("text", "")) for i in inner] if isinstance(inner, list) else [str(inner or "")]
        elif isinstance(part, dict):
            visible.append(str(part.get("text") or ""))
    return "".join(visible), "".join(thought)


def argument_text(value: Any) -> str:
    """Return arguments as text, as most services send them."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def message_out(message: Message, names: dict[str, str]) -> dict[str, Any]:
    """Return a message as the service reads it. names: own tool name to wire name."""
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id or "", "content": message.content}
    if message.role == "assistant":
        out: dict[str, Any] = {"role": "assistant", "content": message.content or None}
        if message.tool_calls:
            out["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": names.get(call.name, call.name),
                        "arguments": call.malformed or msgspec.json.encode(call.arguments).decode(),
                    },
                }
                for call in message.tool_calls
            ]
        elif not message.content:
            out["content"] = ""
        return out
    content: Any = message.content
    if message.media:
        content = [{"type": "text", "text": message.content}] if message.content else []
        content += [_part(item) for item in message.media]
    plain = {"role": message.role, "content": content}
    if message.name:
        plain["name"] = message.name
    return plain


def _part(item: Media) -> dict[str, Any]:
    if item.type == "text":
        return {"type": "text", "text": _media.text(item)}
    if item.type == "image":
        return {"type": "image_url", "image_url": {"url": _media.address(item)}}
    if item.type == "audio":
        kind = item.format or item.mime_type.rpartition("/")[2].replace("mpeg", "mp3")
        return {"type": "input_audio", "input_audio": {"data": _media.base64(item), "format": kind}}
    return {"type": "file", "file": {"filename": item.filename or "file", "file_data": _media.address(item)}}
