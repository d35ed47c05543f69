"""Metadata and times as attributes of a `VectorIndex`, and filters over metadata as its filters.

An attribute stands for a field only while every row's value of it means the same to the index as to
`filters.compile_filter`; what does not is noted, and filters over such a field are not translated:

    scalars            as they are; whole numbers up to 2^53, texts up to 256 bytes
    lists of texts     for `contains` and `exists` alone
    tables             their fields by dotted path
    anything else      (null, other lists, long texts, a 57th field) not translated
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from llmspell.vectors.records import Query, Times

MAX_FIELDS = 56  # an index has at most 64 attributes
EVENT, INGESTED, EXPIRES = "t.event", "t.ingested", "t.expires"
_MAX_NAME, _MAX_TEXT, _EXACT_INT = 120, 256, 1 << 53  # longer texts stay out of memory
_MAX_DEPTH, _MAX_TERMS = 14, 240  # of the index, less what times and expiry add
_ORDERS = ("gt", "gte", "lt", "lte")


class Row(msgspec.Struct, frozen=True):
    """What of a chunk can be filtered."""

    metadata: Mapping[str, Any]
    event_time: float | None
    ingested: float
    expires: float | None


class Columns(msgspec.Struct):
    """Which fields the rows of one index have. fields, lists: those translated; unfit: those that cannot be."""

    fields: set[str] = msgspec.field(default_factory=set)
    lists: set[str] = msgspec.field(default_factory=set)
    unfit: set[str] = msgspec.field(default_factory=set)
    overflow: bool = False

    def attributes(self, row: Row) -> dict[str, Any]:
        """Return the attributes of a row, and note the fields it has."""
        found: dict[str, Any] = {INGESTED: float(row.ingested)}
        if row.event_time is not None:
            found[EVENT] = float(row.event_time)
        if row.expires is not None:
            found[EXPIRES] = float(row.expires)
        for name, value in _flat(row.metadata):
            if name in self.unfit or not self._note(name, value):
                continue
            found[f"m.{name}"] = value
        return found

    def _note(self, name: str, value: Any) -> bool:
        """Note a field; tell whether its value is one that the index understands."""
        texts = isinstance(value, list)
        fit = _is_list(value) if texts else _is_scalar(value)
        if fit and name not in self.fields:
            fit = len(self.fields) < MAX_FIELDS and 0 < len(name.encode()) <= _MAX_NAME
            if fit:
                self.fields.add(name)
        if fit and texts:
            self.lists.add(name)
        if not fit:
            if len(self.unfit) < MAX_FIELDS:
                self.unfit.add(name)
            else:
                self.overflow = True
        return fit

    def conditions(self, query: Query, now: float, *, expiring: bool) -> list[dict[str, Any]] | None:
        """Return the conditions of a query, all of which must hold, or None when the index cannot judge them."""
        found: list[dict[str, Any]] = []
        if query.filters:
            if self.overflow:
                return None
            translated = self._all(query.filters, count(1), 1)
            if translated is None:
                return None
            found.append(translated)
        found += _times(EVENT, query.event_time) + _times(INGESTED, query.ingested)
        if expiring and not query.expired:
            found.append({"$or": [{EXPIRES: {"$exists": False}}, {EXPIRES: {"$gt": now}}]})
        return found

    def _all(self, spec: Any, terms: count[int], depth: int) -> dict[str, Any] | None:
        if not isinstance(spec, Mapping) or depth > _MAX_DEPTH:
            return None
        parts: list[dict[str, Any]] = []
        for field, wanted in spec.items():
            if next(terms) > _MAX_TERMS:
                return None
            part = self._one(field, wanted, terms, depth)
            if part is None:
                return None
            parts.append(part)
        return parts[0] if len(parts) == 1 else {"$and": parts}

    def _one(self, field: str, wanted: Any, terms: count[int], depth: int) -> dict[str, Any] | None:
        word = field.removeprefix("$")
        if word in ("and", "or"):
            items = [] if wanted == {} else wanted
            parts = [self._all(item, terms, depth + 1) for item in items]
            return None if None in parts else {f"${word}": parts}
        if word == "not":
            inner = self._all(wanted, terms, depth + 1)
            return None if inner is None else {"$not": inner}
        operators = _operators(wanted)
        if field in self.unfit or operators is None:
            return None
        if field in self.lists and set(operators) - {"$contains", "$exists"}:
            return None
        return {f"m.{field}": operators}


def _operators(wanted: Any) -> dict[str, Any] | None:
    """Return the operators on one field, None when one of their values means another thing to the index."""
    if not isinstance(wanted, Mapping):
        wanted = {"in" if isinstance(wanted, list | tuple) else "eq": wanted}
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        word = name.removeprefix("$")
        if word in ("in", "nin"):
            options = [] if value == {} else list(value)
            if not options or not all(_is_scalar(option) for option in options):
                return None
            value = options
        elif word == "exists":
            value = bool(value)
        elif word in ("contains", "prefix"):
            if not isinstance(value, str) or not _is_scalar(value):
                return None
        elif not _is_scalar(value) or (word in _ORDERS and isinstance(value, bool)):
            return None
        if f"${word}" in found:  # `gt` and `$gt` both
            return None
        found[f"${word}"] = value
    return found or None


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value.encode(errors="replace")) <= _MAX_TEXT
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -_EXACT_INT <= value <= _EXACT_INT
    return isinstance(value, float) and isfinite(value)


def _is_list(value: Sequence[Any]) -> bool:
    return 0 < len(value) <= 256 and all(isinstance(item, str) and _is_scalar(item) for item in value)


def _flat(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield fields as filters name them: the keys, then dotted paths that no key hides."""
    yield from metadata.items()
    for name, value in metadata.items():
        if isinstance(value, Mapping) and "." not in name:
            for path, inner in _paths(name, value):
                if path not in metadata:
                    yield path, inner


def _paths(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if "." in name:
            continue
        yield f"{prefix}.{name}", value
        if isinstance(value, Mapping):
            yield from _paths(f"{prefix}.{name}", value)


def _times(name: str, times: Times | None) -> list[dict[str, Any]]:
    bounds = zip(("$gte", "$lt"), times or (), strict=False)
    wanted = {sign: float(moment) for sign, moment in bounds if moment is not None}
    return [{name: wanted}] if wanted else []
