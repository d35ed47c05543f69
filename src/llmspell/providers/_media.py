"""Media of messages on their way out: base64, data addresses, and refusing kinds a model cannot read."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from llmspell.base.types import Media, Message
from llmspell.errors import ValidationError


def check(messages: Iterable[Message], kinds: Iterable[str], where: str) -> None:
    """Raise ValidationError `unsupported_media` for a kind not in `kinds`; text always passes."""
    allowed = {"text", *kinds}
    for message in messages:
        for item in message.media:
            if item.type not in allowed:
                raise ValidationError(
                    f"{where} cannot read {item.type}: supported are {', '.join(sorted(allowed))}",
                    code="unsupported_media",
                    details={"field": "media", "got": item.type, "expected": sorted(allowed)},
                )
            if item.data is None and item.url is None:
                raise ValidationError(f"a media item of type {item.type} has neither data nor url", code="bad_media")


def base64(item: Media) -> str:
    """Return the item's bytes as base64 text. Raises ValidationError for an item given by address only."""
    if item.data is None:
        raise ValidationError(f"this service takes {item.type} as data, not by address", code="unsupported_media")
    return b64encode(item.data).decode("ascii")


def address(item: Media) -> str:
    """Return the item's URL, or a data URL of its bytes."""
    return item.url if item.url is not None else f"data:{item.mime_type};base64,{base64(item)}"


def text(item: Media) -> str:
    """Return a text item's text."""
    return (item.data or b"").decode("utf-8", "replace")
