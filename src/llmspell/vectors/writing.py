"""Statements that change documents: each runs in the transaction of the caller and notes in a `Change` what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from llmspell.vectors import lexical, rows
from llmspell.vectors.attributes import Row
from llmspell.vectors.indexes import Change

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from llmspell.vectors.records import Stored

_AMONG = "id IN (SELECT value FROM json_each(?))"
_NO_KEY = -1
_KEPT_CHANGES = 50_000  # of a scope; an index that is older is made anew


def as_json(value: Any) -> str:
    """Return a value as it is stored."""
    return msgspec.json.encode(value).decode()


def begin(connection: sqlite3.Connection, scope: str, *, make: bool, settings: str | None = None) -> Change | None:
    """Return an empty change of a scope, which is made if wanted; None where there is none."""
    place = rows.place(connection, scope)
    if place is None:
        if not make:
            return None
        statement = "INSERT INTO scopes(name, settings) VALUES (?, ?)"
        number = int(connection.execute(statement, (scope, settings)).lastrowid or 0)
        lexical.create(connection, number)
        place = rows.place(connection, number)
        assert place is not None
    return Change(place)


def finish(connection: sqlite3.Connection, change: Change) -> None:
    """Write down what changed, so that indexes anywhere can follow."""
    number = change.before.number
    touched = [_NO_KEY] if change.emptied else [*change.gone, *change.changed]
    if touched:
        connection.executemany("INSERT INTO touched(scope, key) VALUES (?, ?)", [(number, key) for key in touched])
        newest = connection.execute("SELECT max(seq) FROM touched WHERE scope = ?", (number,))
        change.seq = int(newest.fetchone()[0])
    change.top = max([change.before.top, *change.keys])
    if (change.top, change.seq) != (change.before.top, change.before.seq):
        connection.execute("UPDATE scopes SET top = ?, seq = ? WHERE id = ?", (change.top, change.seq, number))
    if change.emptied:
        _forget(connection, number, change.seq)
        return
    oldest = "SELECT seq FROM touched WHERE scope = ? ORDER BY seq LIMIT 1"
    if touched and change.seq - connection.execute(oldest, (number,)).fetchone()[0] > _KEPT_CHANGES:
        _forget(connection, number, change.seq - _KEPT_CHANGES // 2)


def _forget(connection: sqlite3.Connection, number: int, floor: int) -> None:
    """Forget changes; indexes that have not seen them are made anew."""
    connection.execute("DELETE FROM touched WHERE scope = ? AND seq <= ?", (number, floor))
    connection.execute("UPDATE scopes SET floor = ? WHERE id = ?", (floor, number))


def put(connection: sqlite3.Connection, change: Change, entries: Sequence[Stored]) -> None:
    """Store documents; those with the same ids leave, and their times of creation stay. The last of an id counts."""
    last = {entry.id: entry for entry in entries}
    scope, ids = change.before.number, as_json(list(last))
    known = dict(connection.execute(f"SELECT id, created FROM documents WHERE scope = ? AND {_AMONG}", (scope, ids)))  # noqa: S608 - a constant
    if known:
        take_out(connection, change, _AMONG, [ids])
    document, key = _last_key(connection, "documents"), _last_key(connection, "chunks")
    documents: list[tuple[Any, ...]] = []
    chunks: list[tuple[Any, ...]] = []
    vectors: list[tuple[int, int, bytes]] = []
    for entry in last.values():
        document += 1
        created = entry.ingested if entry.created is None else entry.created
        documents.append((document, scope, *_columns(entry), known.get(entry.id, created)))
        rows_of = np.ascontiguousarray(entry.vectors, np.float32)
        for position, (part, row) in enumerate(zip(entry.parts, rows_of, strict=True)):
            key += 1
            own = None if part.metadata is None else as_json(part.metadata)
            chunks.append((key, document, position, part.start, part.text, own))
            vectors.append((key, scope, row.tobytes()))
            change.keys.append(key)
            metadata = {**entry.metadata, **part.metadata} if part.metadata else entry.metadata
            change.rows.append(Row(metadata, entry.event_time, entry.ingested, entry.expires))
        change.vectors += list(rows_of)
    connection.executemany(
        "INSERT INTO documents(key, scope, id, digest, metadata, source, event_time, ingested, expires, chunks, tokens,"
        " bytes, own, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        documents,
    )
    connection.executemany(
        "INSERT INTO chunks(key, document, position, start, text, metadata) VALUES (?, ?, ?, ?, ?, ?)", chunks
    )
    connection.executemany("INSERT INTO vectors VALUES (?, ?, ?)", vectors)
    lexical.add(connection, scope, [(row[0], row[4]) for row in chunks])


def _last_key(connection: sqlite3.Connection, table: str) -> int:
    """Return the highest key that a table ever had."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])


def _columns(entry: Stored) -> tuple[Any, ...]:
    size = sum(len(part.text.encode()) for part in entry.parts) + entry.vectors.nbytes
    return (
        entry.id,
        entry.digest,
        as_json(entry.metadata),
        entry.source,
        entry.event_time,
        entry.ingested,
        entry.expires,
        len(entry.parts),
        sum(part.tokens for part in entry.parts),
        size,
        any(part.metadata for part in entry.parts),
    )


def take_out(connection: sqlite3.Connection, change: Change, condition: str, given: Sequence[Any]) -> float | None:
    """Remove the documents of the scope that meet a condition; return when the first of them was created."""
    scope = change.before.number
    found = connection.execute(
        f"SELECT key, created FROM documents WHERE scope = ? AND {condition}",  # noqa: S608 - conditions are constants
        [scope, *given],
    ).fetchall()
    if not found:
        return None
    documents = as_json([row[0] for row in found])
    parts = connection.execute(
        "SELECT key, text FROM chunks WHERE document IN (SELECT value FROM json_each(?))", (documents,)
    ).fetchall()
    keys = [row[0] for row in parts]
    lexical.remove(connection, scope, parts)
    connection.execute("DELETE FROM vectors WHERE key IN (SELECT value FROM json_each(?))", (as_json(keys),))
    connection.execute("DELETE FROM chunks WHERE document IN (SELECT value FROM json_each(?))", (documents,))
    connection.execute("DELETE FROM documents WHERE key IN (SELECT value FROM json_each(?))", (documents,))
    change.gone += keys
    return float(min(row[1] for row in found))


def changed(connection: sqlite3.Connection, change: Change, document: int) -> None:
    """Note that the metadata or times of a document are other ones now."""
    keys = [row[0] for row in connection.execute("SELECT key FROM chunks WHERE document = ?", (document,))]
    change.changed.update(rows.filterable(connection, keys))


def drop(connection: sqlite3.Connection, number: int) -> None:
    """Remove a scope with all in it."""
    _remove_rows(connection, number)
    connection.execute("DELETE FROM touched WHERE scope = ?", (number,))
    connection.execute("DELETE FROM scopes WHERE id = ?", (number,))


def empty(connection: sqlite3.Connection, change: Change) -> None:
    """Remove all documents of a scope at once, without a look at each."""
    _remove_rows(connection, change.before.number)
    lexical.create(connection, change.before.number)
    change.emptied = True


def _remove_rows(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("DELETE FROM chunks WHERE document IN (SELECT key FROM documents WHERE scope = ?)", (number,))
    connection.execute("DELETE FROM vectors WHERE scope = ?", (number,))
    connection.execute("DELETE FROM documents WHERE scope = ?", (number,))
    lexical.drop(connection, number)


def renumber(connection: sqlite3.Connection, scope: str) -> int | None:
    """Give a scope a new number with a new word table, made of its rows; return the old number.

    A damaged virtual table cannot even be dropped.
    """
    place = rows.place(connection, scope)
    if place is None:
        return None
    connection.execute("DELETE FROM scopes WHERE id = ?", (place.number,))
    statement = "INSERT INTO scopes(name, top, seq, floor, settings) VALUES (?, ?, ?, ?, ?)"
    values = (scope, place.top, place.seq, place.floor, place.settings)
    number = int(connection.execute(statement, values).lastrowid or 0)
    lexical.create(connection, number)
    for table in ("documents", "vectors", "touched"):
        connection.execute(f"UPDATE {table} SET scope = ? WHERE scope = ?", (number, place.number))  # noqa: S608 - as above
    statement = "SELECT key, text FROM chunks WHERE key IN (SELECT key FROM vectors WHERE scope = ?)"
    lexical.add(connection, number, connection.execute(statement, (number,)).fetchall())
    return place.number
