"""Reading the rows that indexes are made of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from llmspell.vectors.attributes import Row
from llmspell.vectors.records import Place

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

BATCH = 2000
_PLAIN = "SELECT key, data FROM vectors WHERE scope = ? AND key > ? AND key <= ? ORDER BY key LIMIT ?"
_FILTERED = """SELECT vectors.key, data, documents.metadata, chunks.metadata, event_time, ingested, expires
FROM vectors CROSS JOIN chunks ON chunks.key = vectors.key CROSS JOIN documents ON documents.key = chunks.document
WHERE vectors.scope = ? AND vectors.key > ? AND vectors.key <= ? ORDER BY vectors.key LIMIT ?"""
_ROWS = """SELECT chunks.key, documents.metadata, chunks.metadata, event_time, ingested, expires
FROM chunks JOIN documents ON documents.key = chunks.document WHERE chunks.key IN (SELECT value FROM json_each(?))"""


def place(connection: sqlite3.Connection, scope: str | int) -> Place | None:
    """Return a scope, by name or number."""
    column = "name" if isinstance(scope, str) else "id"
    row = connection.execute(
        f"SELECT name, id, top, seq, floor, settings FROM scopes WHERE {column} = ?",  # noqa: S608 - one of two
        (scope,),
    ).fetchone()
    return None if row is None else Place(*row)


def count(connection: sqlite3.Connection, number: int) -> int:
    """Return how many vectors a scope has."""
    return int(connection.execute("SELECT count(*) FROM vectors WHERE scope = ?", (number,)).fetchone()[0])


def counts(connection: sqlite3.Connection, number: int | None) -> dict[str, Any]:
    """Return documents, chunks, vectors, bytes, scopes, last_ingest_at and others of a scope, None for all."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(chunks), 0), coalesce(sum(bytes), 0), count(DISTINCT scope), max(ingested),"
        " coalesce(sum(tokens), 0), coalesce(sum(expires <= ?2), 0) FROM documents WHERE ?1 IS NULL OR scope = ?1",
        (number, time.time()),
    ).fetchone()
    changes = connection.execute(
        "SELECT coalesce(sum(top + seq), 0) FROM scopes WHERE ?1 IS NULL OR id = ?1", (number,)
    ).fetchone()
    return {
        "documents": row[0],
        "chunks": row[1],
        "vectors": row[1],
        "bytes": row[2],
        "scopes": row[3],
        "last_ingest_at": row[4],
        "tokens": row[5],
        "expired": row[6],
        "generation": changes[0],
    }


def size(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])


def vectors(
    connection: sqlite3.Connection, number: int, after: int, to: int, dim: int, *, rows: bool
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], list[Row] | None]]:
    """Yield keys, vectors (n, dim) and, if wanted, what can be filtered, in batches by key."""
    while True:
        found = connection.execute(_FILTERED if rows else _PLAIN, (number, after, to, BATCH)).fetchall()
        if not found:
            return
        keys = np.fromiter((row[0] for row in found), np.int64, len(found))
        data = np.frombuffer(b"".join([row[1] for row in found]), np.float32).reshape(len(found), dim)
        yield keys, data, [_row(row[2:]) for row in found] if rows else None
        after = found[-1][0]


def touched(connection: sqlite3.Connection, number: int, after: int, to: int) -> list[int]:
    """Return the keys whose rows went or changed."""
    found = connection.execute(
        "SELECT DISTINCT key FROM touched WHERE scope = ? AND seq > ? AND seq <= ?", (number, after, to)
    )
    return [row[0] for row in found]


def filterable(connection: sqlite3.Connection, keys: list[int]) -> dict[int, Row]:
    """Return what can be filtered of the chunks that are there."""
    found = connection.execute(_ROWS, (msgspec.json.encode(keys).decode(),))
    return {row[0]: _row(row[1:]) for row in found}


def present(connection: sqlite3.Connection, keys: list[int]) -> set[int]:
    """Return those of the keys that have a row."""
    statement = "SELECT key FROM vectors WHERE key IN (SELECT value FROM json_each(?))"
    return {row[0] for row in connection.execute(statement, (msgspec.json.encode(keys).decode(),))}


def stored(connection: sqlite3.Connection, keys: list[int]) -> dict[int, NDArray[np.float32]]:
    """Return vectors by key as they were stored."""
    statement = "SELECT key, data FROM vectors WHERE key IN (SELECT value FROM json_each(?))"
    found = connection.execute(statement, (msgspec.json.encode(keys).decode(),))
    return {key: np.frombuffer(data, np.float32) for key, data in found}


def _row(row: tuple[Any, ...]) -> Row:
    return Row(metadata(row[0], row[1]), row[2], row[3], row[4])


def metadata(document: str, chunk: str | None) -> dict[str, Any]:
    """Return the metadata of a chunk: the document's, and its own over them."""
    merged: dict[str, Any] = msgspec.json.decode(document)
    if chunk is not None:
        merged.update(msgspec.json.decode(chunk))
    return merged
