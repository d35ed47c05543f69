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
    touched = [*change.gone, *change.changed]
    if touched:
        connection.executemany("INSERT INTO touched(scope, key) VALUES (?, ?)", [(number, key) for key in touched])
        newest = connection.execute("SELECT max(seq) FROM touched WHERE scope = ?", (number,))
        change.seq = int(newest.fetchone()[0])
    change.top = max([change.before.top, *change.keys])
    if (change.top, change.seq) != (change.before.top, change.before.seq):
        connection.execute("UPDATE scopes SET top = ?, seq = ? WHERE id = ?", (change.top, change.seq, number))
    oldest = "SELECT seq FROM touched WHERE scope = ? ORDER BY seq LIMIT 1"
    if touched and change.seq - connection.execute(oldest, (number,)).fetchone()[0] > _KEPT_CHANGES:
        floor = change.seq - _KEPT_CHANGES // 2
        connection.execute("DELETE FROM touched WHERE scope = ? AND seq <= ?", (number, floor))
        connection.execute("UPDATE scopes SET floor = ? WHERE id = ?", (floor, number))


def put(connection: sqlite3.Connection, change: Change, entry: Stored) -> None:
    """Store a document; one with the same id leaves, and its time of creation stays."""
    known = take_out(connection, change, "id = ?", [entry.id])
    created = known if known is not None else entry.ingested if entry.created is None else entry.created
    size = sum(len(part.text.encode()) for part in entry.parts) + entry.vectors.nbytes
    scope = change.before.number
    cursor = connection.execute(
        "INSERT INTO documents(scope, id, digest, metadata, source, event_time, ingested, created, expires, chunks,"
        " tokens, bytes, own) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            scope, entry.id, entry.digest, as_json(entry.metadata), entry.source, entry.event_time, entry.ingested,
            created, entry.expires, len(entry.parts), sum(part.tokens for part in entry.parts), size,
            any(part.metadata for part in entry.parts),
        ),
    )  # fmt: skip
    document = int(cursor.lastrowid or 0)
    keys: list[int] = []
    for position, part in enumerate(entry.parts):
        own = None if part.metadata is None else as_json(part.metadata)
        cursor = connection.execute(
            "INSERT INTO chunks(document, position, start, text, metadata) VALUES (?, ?, ?, ?, ?)",
            (document, position, part.start, part.text, own),
        )
        keys.append(int(cursor.lastrowid or 0))
    vectors = np.ascontiguousarray(entry.vectors, np.float32)
    connection.executemany(
        "INSERT INTO vectors VALUES (?, ?, ?)",
        [(key, scope, row.tobytes()) for key, row in zip(keys, vectors, strict=True)],
    )
    lexical.add(connection, scope, [(key, part.text) for key, part in zip(keys, entry.parts, strict=True)])
    change.keys += keys
    change.vectors += list(vectors)
    change.rows += [
        Row({**entry.metadata, **(part.metadata or {})}, entry.event_time, entry.ingested, entry.expires)
        for part in entry.parts
    ]


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
    connection.execute("DELETE FROM chunks WHERE document IN (SELECT key FROM documents WHERE scope = ?)", (number,))
    for table in ("vectors", "documents", "touched"):
        connection.execute(f"DELETE FROM {table} WHERE scope = ?", (number,))  # noqa: S608 - names of tables
    connection.execute("DELETE FROM scopes WHERE id = ?", (number,))
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
