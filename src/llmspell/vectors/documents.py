"""Whole documents of a collection: read back as they were stored, and chosen by what they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from llmspell._core import count_tokens
from llmspell.vectors.records import Part, Stored

if TYPE_CHECKING:
    from llmspell.vectors.collection import Collection
    from llmspell.vectors.filters import Predicate

_SCOPE = "(SELECT id FROM scopes WHERE name = ?)"
_ROWS = """SELECT key, id, digest, metadata, source, ingested, created, event_time, expires FROM documents
WHERE scope = (SELECT id FROM scopes WHERE name = ?) AND id > ? AND (expires IS NULL OR expires > ?)
ORDER BY id LIMIT ?"""
_PARTS = """SELECT text, start, metadata, data FROM chunks JOIN vectors ON vectors.key = chunks.key
WHERE document = ? ORDER BY position"""


def stored(collection: Collection, scope: str, *, after: str = "", limit: int = 100) -> list[Stored]:
    """Return documents with chunks and vectors, by id from the one after `after`; expired ones are not there."""
    with collection.reading() as connection:
        found = connection.execute(_ROWS, (scope, after, time.time(), limit)).fetchall()
        parts = [connection.execute(_PARTS, (row[0],)).fetchall() for row in found]
    return [_stored(row, rows) for row, rows in zip(found, parts, strict=True)]


def _stored(row: tuple[Any, ...], rows: list[tuple[Any, ...]]) -> Stored:
    _, ident, digest, metadata, source, ingested, created, event_time, expires = row
    data = np.frombuffer(b"".join([row[3] for row in rows]), np.float32)
    return Stored(
        id=ident,
        parts=[Part(text, start, count_tokens(text), _decoded(own)) for text, start, own, _ in rows],
        vectors=data.reshape(len(rows), len(data) // max(len(rows), 1)),
        digest=digest,
        metadata=msgspec.json.decode(metadata),
        source=source,
        ingested=ingested,
        created=created,
        event_time=event_time,
        expires=expires,
    )


def chosen(
    collection: Collection,
    scope: str,
    *,
    ids: Sequence[str] | None = None,
    source: str | None = None,
    matches: Predicate | None = None,
) -> list[str]:
    """Return the ids of the documents that meet every condition that is given."""
    conditions: list[str] = [f"scope = {_SCOPE}"]
    given: list[Any] = [scope]
    if ids is not None:
        conditions.append("id IN (SELECT value FROM json_each(?))")
        given.append(msgspec.json.encode(list(ids)).decode())
    if source is not None:
        conditions.append("source = ?")
        given.append(source)
    statement = f"SELECT id, metadata FROM documents WHERE {' AND '.join(conditions)}"  # noqa: S608 - conditions are constants
    with collection.reading() as connection:
        rows = connection.execute(statement, given).fetchall()
    return [ident for ident, metadata in rows if matches is None or matches(msgspec.json.decode(metadata))]


def _decoded(text: str | None) -> dict[str, Any] | None:
    return None if text is None else msgspec.json.decode(text)
