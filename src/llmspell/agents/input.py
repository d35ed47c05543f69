"""From what a script passes to `execute` to one parsed request: text, media, messages, overrides."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from llmspell.agents import settings
from llmspell.agents._base import AgentConfig, Ask
from llmspell.agents.conversation import parse_messages
from llmspell.agents.structured import dump
from llmspell.base.registry import nearest
from llmspell.base.types import Media
from llmspell.errors import ValidationError

TEXT_KEYS = ("text", "prompt", "input")
MEDIA_KEYS = ("media", "images", "image")
OWN_KEYS = frozenset(
    (
        *TEXT_KEYS,
        *MEDIA_KEYS,
        "parameters",
        "context",
        "messages",
        "output_modalities",
        "context_id",
        "metadata",
        "stream",
    )
)
KINDS = ("text", "image", "audio", "video", "file")
MAX_BYTES = {"image": 100 << 20, "audio": 500 << 20, "video": 100 << 20, "file": 1 << 30, "text": 1 << 30}


def parse(config: AgentConfig, value: Any, options: Mapping[str, Any] | None, *, warn: settings.Warn | None) -> Ask:
    """Return the request. Raises ValidationError for an empty input and for fields of the wrong type."""
    if isinstance(value, str) and not options:
        if not value.strip():
            raise ValidationError("Input text cannot be empty", details={"field": "text"})
        return Ask(text=value, config=config)
    table = _input_table(value)
    text = _text(table)
    media = _media(table)
    messages = parse_messages(table["messages"]) if table.get("messages") is not None else []
    if not text.strip() and not media and not messages:
        raise ValidationError("Input text cannot be empty", details={"field": "text"})
    changes = {key: item for key, item in table.items() if key not in OWN_KEYS}
    changes.update((key, item) for key, item in (options or {}).items() if key not in OWN_KEYS)
    _warn_unknown(changes, warn)
    own = {**table, **{key: item for key, item in (options or {}).items() if key in OWN_KEYS}}
    return Ask(
        text=text,
        media=media,
        messages=messages,
        parameters=_object(own.get("parameters"), "parameters"),
        context=_object(own.get("context"), "context"),
        context_id=own.get("context_id"),
        stream=own.get("stream") if callable(own.get("stream")) else None,
        config=settings.override(config, changes) if changes else config,
    )


def _input_table(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, dict):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"text": str(value)}
    raise ValidationError(
        f"agent input must be a string or a table with 'text', got {type(value).__name__}", details={"field": "input"}
    )


def _text(table: dict[str, Any]) -> str:
    for key in TEXT_KEYS:
        value = table.get(key)
        if value is None:
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise ValidationError(f"input field '{key}' must be a string", details={"field": key})
        return value
    return ""


def _object(value: Any, field: str) -> dict[str, Any]:
    if value is None or value == []:
        return {}
    if not isinstance(value, dict):
        raise ValidationError(f"input field '{field}' must be a table with string keys", details={"field": field})
    return value


def _warn_unknown(changes: Mapping[str, Any], warn: settings.Warn | None) -> None:
    if warn is None:
        return
    for key in changes:
        if key not in settings.OVERRIDES and settings.ALIASES.get(key) not in settings.OVERRIDES:
            near = nearest(key, sorted(settings.OVERRIDES | OWN_KEYS), limit=1)
            warn(f"unknown option '{key}' of execute" + (f", did you mean '{near[0]}'?" if near else ""))


def _media(table: dict[str, Any]) -> list[Media]:
    items: list[Any] = []
    for key in MEDIA_KEYS:
        value = table.get(key)
        if value is not None and value != {}:
            items.extend(value if isinstance(value, list) else [value])
    return [_media_item(item, index) for index, item in enumerate(items, 1)]


def _media_item(item: Any, index: int) -> Media:
    where = f"media[{index}]"
    if not isinstance(item, dict):
        raise ValidationError(f"{where} must be a table with data, base64 or url", details={"field": where})
    kind: Any = item.get("type") or item.get("kind") or "image"
    kind = "file" if kind == "binary" else kind
    if kind not in KINDS:
        raise ValidationError(f"{where}.type must be one of: {', '.join(KINDS)}", details={"field": f"{where}.type"})
    data, url = _bytes(item, where), item.get("url")
    if data is None and not isinstance(url, str):
        raise ValidationError(f"{where} needs data, base64 or url", details={"field": where})
    if data is not None and len(data) > MAX_BYTES[kind]:
        raise ValidationError(f"{where} is larger than {MAX_BYTES[kind]} bytes", details={"field": where})
    form = item.get("format")
    mime = item.get("mime_type") or (f"{kind}/{form}" if form else f"{kind}/png" if kind == "image" else None)
    return Media(
        type=kind,
        data=data,
        url=url if data is None else None,
        mime_type=mime or "application/octet-stream",
        format=form,
        filename=item.get("filename"),
        metadata={key: item[key] for key in ("width", "height", "color_space") if key in item},
    )


def _bytes(item: dict[str, Any], where: str) -> bytes | None:
    encoded = item.get("base64")
    if isinstance(encoded, str):
        try:
            return b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValidationError(f"{where}.base64 is not base64 text", details={"field": f"{where}.base64"}) from error
    data = item.get("data")
    if isinstance(data, str):
        return data.encode()
    if data is None or isinstance(data, bytes):
        return data
    raise ValidationError(f"{where}.data must be a string", details={"field": f"{where}.data"})


def user_text(ask: Ask, shared: Mapping[str, Any] | None = None) -> str:
    """Return the user message: the text, then parameters and context as a JSON block."""
    block: dict[str, Any] = {}
    if ask.parameters:
        block["parameters"] = ask.parameters
    context = {**(shared or {}), **ask.context}
    if context:
        block["context"] = context
    if not block:
        return ask.text
    return f"{ask.text}\n\n```json\n{dump(block)}\n```" if ask.text else dump(block)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Replace `{{name}}` in a prompt by the value of that name; an unknown name stays as it is."""
    parts = template.split("{{")
    if len(parts) == 1:
        return template
    done = [parts[0]]
    for part in parts[1:]:
        inner, closed, rest = part.partition("}}")
        name = inner.strip()
        if closed and name in values:
            value = values[name]
            done.append((value if isinstance(value, str) else dump(value)) + rest)
        else:
            done.append("{{" + part)
    return "".join(done)
