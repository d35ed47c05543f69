"""Documents as they are given: text, or a table with `content` or `text`; their times, their metadata, their digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import msgspec

from llmspell.base.ids import uuid4
from llmspell.errors import InvalidArgument, UnsupportedType, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DOCUMENTS = 100_000
MAX_ID_BYTES = 256
MAX_METADATA_BYTES = 65_536
MAX_DEPTH = 16
_EVENT_KEYS = ("event_time", "timestamp", "created_at")
_LIFE_KEYS = ("ttl_seconds", "ttl", "expires_in")
_TIMES = frozenset((*_EVENT_KEYS, *_LIFE_KEYS))


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One document. event_time: seconds since 1970. life: seconds from ingestion, None for ever."""

    id: str
    text: str
    metadata: dict[str, Any]
    source: str | None = None
    event_time: float | None = None
    life: float | None = None

    def digest(self, *recipe: Any) -> bytes:
        """Return 16 bytes that tell this document, made by this recipe, from every other."""
        from blake3 import blake3

        whole = [self.text, self.metadata, self.source, self.event_time, self.life, *recipe]
        return blake3(msgspec.json.encode(whole, order="sorted")).digest(16)


def normalised(given: Any) -> list[Any]:
    """Return the list of what was given: one document, a text, or a list of them."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, Mapping):
        return [given] if given else []
    if isinstance(given, Sequence) and not isinstance(given, bytes | bytearray):
        if len(given) > MAX_DOCUMENTS:
            raise InvalidArgument(
                f"at most {MAX_DOCUMENTS} documents at once, got {len(given)}", details={"name": "docs"}
            )
        return list(given)
    raise ValidationError(f"documents are a text, a table or a list of them, not {type(given).__name__}")


def read(given: Any, position: int) -> Document:
    """Return the document of a text or table. Raises ValidationError naming its place in the list."""
    if isinstance(given, str):
        check_text(given, f"document {position}: its text")
        return Document(id=uuid4(), text=given, metadata={})
    if not isinstance(given, Mapping):
        raise ValidationError(f"document {position}: expected a text or a table, got {type(given).__name__}")
    text = given.get("content") if given.get("content") is not None else given.get("text")
    if not isinstance(text, str):
        raise ValidationError(
            f"document {position} has no text: expected a string in 'content' or 'text'", details={"document": position}
        )
    check_text(text, f"document {position}: its text")
    metadata = checked_metadata(given.get("metadata"), f"document {position}")
    source = given.get("source")
    if source is None and isinstance(metadata.get("source"), str):
        source = metadata["source"]
    event, lasts = None, None
    if not (_TIMES.isdisjoint(given) and _TIMES.isdisjoint(metadata)):
        times = {**metadata, **given}
        event, lasts = event_time(times), _stated_life(given, position) or life(times)
    return Document(
        id=_identity(given.get("id"), position),
        text=text,
        metadata=metadata,
        source=None if source is None else str(source),
        event_time=event,
        life=lasts,
    )


def check_text(text: str, what: str) -> None:
    """Raise ValidationError for a text that UTF-8 cannot write."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(
            f"{what} is no valid Unicode at character {error.start}", details={"offset": error.start}
        ) from error


def _identity(given: Any, position: int) -> str:
    if given is None or given == "":
        return uuid4()
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise ValidationError(f"document {position}: its id is a text, not {type(given).__name__}")
    return checked_id(str(given), f"document {position}")


def checked_id(given: str, where: str) -> str:
    """Return an id in the form it is stored in. Raises InvalidArgument for one that is too long or not printable."""
    text = known_as(given)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES or not text.isprintable():
        raise InvalidArgument(
            f"{where}: an id has at most {MAX_ID_BYTES} bytes and only printable characters",
            details={"name": "id", "value": text[:100]},
        )
    return text


def known_as(ident: str) -> str:
    """Return an id in the one form it is stored in: two spellings of the same letters are one id."""
    return ident if ident.isascii() else normalize("NFC", ident)


def checked_metadata(given: Any, where: str) -> dict[str, Any]:
    """Return metadata that JSON can hold. Raises ValidationError with the path of what it cannot."""
    if given is None or given == []:
        return {}
    if not isinstance(given, Mapping):
        raise ValidationError(f"{where}: metadata is a table, not {type(given).__name__}")
    for path, value in _walk(given, "metadata", 0):
        if not (value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value))):
            raise UnsupportedType(
                f"{where}: {path} is {type(value).__name__}, which metadata cannot hold",
                details={"path": path, "type": type(value).__name__},
            )
    found = dict(given)
    try:
        size = len(msgspec.json.encode(found))
    except (UnicodeEncodeError, OverflowError) as error:
        raise ValidationError(f"{where}: metadata holds what JSON cannot: {error}") from error
    if size > MAX_METADATA_BYTES:
        raise InvalidArgument(
            f"{where}: metadata of {size} bytes, at most {MAX_METADATA_BYTES}",
            details={"name": "metadata", "value": size},
        )
    return found


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > MAX_DEPTH:
        raise ValidationError(f"metadata is nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value, 1):
            yield from _walk(item, f"{path}[{index}]", depth + 1)
    else:
        yield path, value


def moment(value: Any) -> float | None:
    """Return seconds since 1970 of an epoch number, an RFC 3339 text or an aware datetime, None for any other form."""
    if isinstance(value, bool):
        return None
    if isinstance(value, datetime):
        return value.timestamp() if value.tzinfo is not None else None
    if isinstance(value, int | float):
        return float(value) if -1e12 < value < 1e12 else None
    if isinstance(value, str):
        from llmspell.base.times import parse_time

        try:
            return parse_time(value)
        except InvalidArgument:
            return None
    return None


def event_time(fields: Mapping[str, Any]) -> float | None:
    """Return the event time that fields state, None if none does."""
    return next((found for name in _EVENT_KEYS if (found := moment(fields.get(name))) is not None), None)


def life(fields: Mapping[str, Any]) -> float | None:
    """Return the seconds of life that fields state, None if none does."""
    for name in _LIFE_KEYS:
        value = fields.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0:
            return float(value)
    return None


def _stated_life(given: Mapping[str, Any], position: int) -> float | None:
    """Return the life a document itself states; one that is no number would silently last for ever."""
    for name in _LIFE_KEYS:
        value = given.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
            raise InvalidArgument(
                f"document {position}: {name} is a number of seconds above 0, got {value!r}",
                details={"name": name, "value": str(value)[:100]},
            )
        return float(value)
    return None


def window(given: Any, name: str) -> tuple[float | None, float | None] | None:
    """Return a time range given as `{from, to}` or a pair. Raises InvalidArgument."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        ends = [given.get("from", given.get("start")), given.get("to", given.get("end"))]
    elif isinstance(given, list | tuple) and len(given) <= 2:
        ends = [*given, *[None] * (2 - len(given))]
    else:
        raise InvalidArgument(f"{name} is a table {{from, to}} or a pair of times", details={"name": name})
    moments = [moment(end) for end in ends]
    for end, found in zip(ends, moments, strict=True):
        if end is not None and found is None:
            raise InvalidArgument(
                f"{name}: {end!r} is no time: expected seconds since 1970 or RFC 3339",
                details={"name": name, "value": end},
            )
    return moments[0], moments[1]
