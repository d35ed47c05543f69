"""The lesser arms of weighted fusion, over what the main arms found: words in the metadata, and recency.

metadata  share of the query's words that the values of the metadata hold
recency   the event time, else the time of ingestion: 0 for the oldest that was found, 1 for the newest
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import sqlite3

NAMES = ("metadata", "recency")
_WORD = re.compile(r"[^\W_]+")
_ROWS = """SELECT chunks.key, documents.metadata, chunks.metadata, coalesce(event_time, ingested)
FROM chunks JOIN documents ON documents.key = chunks.document WHERE chunks.key IN (SELECT value FROM json_each(?))"""


def side_arms(
    connection: sqlite3.Connection, keys: Collection[int], words: Sequence[str]
) -> dict[str, dict[int, float]]:
    """Return arm -> key -> score. words: of the query, in small letters."""
    rows = connection.execute(_ROWS, (msgspec.json.encode(sorted(keys)).decode(),)).fetchall()
    held = {key: _share(words, document, chunk) for key, document, chunk, _ in rows}
    times = {key: float(moment) for key, _, _, moment in rows}
    first, last = min(times.values(), default=0.0), max(times.values(), default=0.0)
    length = max(last - first, 1e-9)
    return {"metadata": held, "recency": {key: (moment - first) / length for key, moment in times.items()}}


def _share(words: Sequence[str], *metadata: str | None) -> float:
    if not words:
        return 0.0
    held = {word for item in metadata if item for text in _texts(msgspec.json.decode(item)) for word in _words(text)}
    return sum(word in held for word in words) / len(words)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
