"""Claims: which reservation the rows of a file belong to, written in the transaction of the rows.

Whoever adds what is reserved to what is stored reads both here and counts nothing twice, also after a process was
killed between storing and giving its reservation back. A claim is a note `claim:<reservation>`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from llmspell.vectors.records import Stored

_PREFIX = "claim:"
_SIZES = "count(*), coalesce(sum(chunks), 0), coalesce(sum(bytes), 0)"
Tally = tuple[dict[str, int], dict[str, dict[str, int]]]


class Holder(Protocol):
    """A collection, which itself writes claims."""

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a connection inside a transaction that reads."""
        ...

    def changing_notes(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a connection inside a transaction that writes notes."""
        ...


def size_of(texts: Iterable[str], vectors: int, dimensions: int) -> int:
    """Return the bytes that a document counts for: its text and its float32 vectors."""
    return sum(len(text.encode()) for text in texts) + vectors * dimensions * 4


def size(entry: Stored) -> dict[str, int]:
    """Return documents, vectors and storage_bytes of a document."""
    taken = size_of((part.text for part in entry.parts), *entry.vectors.shape)
    return {"documents": 1, "vectors": len(entry.parts), "storage_bytes": taken}


def add(connection: sqlite3.Connection, claim: str, entries: Sequence[Stored]) -> None:
    """Note that documents were stored for a reservation, besides those noted before."""
    name = _PREFIX + claim
    row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    before: dict[str, int] = {} if row is None else msgspec.json.decode(row[0])
    total = Counter(before)
    for entry in entries:
        total.update(size(entry))
    connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, msgspec.json.encode(total).decode()))


def is_prepared(connection: sqlite3.Connection) -> bool:
    """Tell whether the file keeps totals."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'totals'").fetchone() is not None


def prepare(connection: sqlite3.Connection) -> None:
    """Keep totals of every scope from now on, inside the caller's transaction: counting all rows takes too long."""
    if is_prepared(connection):
        return
    connection.execute(
        "CREATE TABLE totals(scope INTEGER PRIMARY KEY, documents INTEGER NOT NULL, vectors INTEGER NOT NULL,"
        " storage_bytes INTEGER NOT NULL)"
    )
    connection.execute(f"INSERT INTO totals SELECT scope, {_SIZES} FROM documents GROUP BY scope")  # noqa: S608 - constants
    for event, changes in _TRIGGERS.items():
        steps = "".join(_step(row, sign) for row, sign in changes)
        connection.execute(
            f"CREATE TRIGGER totals_{event.split()[0].lower()} AFTER {event} ON documents BEGIN {steps} END"
        )


_TRIGGERS = {
    "INSERT": (("new", "+"),),
    "DELETE": (("old", "-"),),
    "UPDATE OF scope, chunks, bytes": (("old", "-"), ("new", "+")),
}


def _step(row: str, sign: str) -> str:
    return (
        f"INSERT INTO totals VALUES ({row}.scope, {sign}1, {sign}{row}.chunks, {sign}{row}.bytes)"  # noqa: S608 - constants
        " ON CONFLICT DO UPDATE"
        " SET documents = documents + excluded.documents, vectors = vectors + excluded.vectors,"
        " storage_bytes = storage_bytes + excluded.storage_bytes;"
    )


def tally(connection: sqlite3.Connection, scope: str) -> Tally:
    """Return documents, vectors and storage_bytes of a scope, and the claims of the file, which is prepared."""
    row = connection.execute(
        "SELECT documents, vectors, storage_bytes FROM totals WHERE scope = (SELECT id FROM scopes WHERE name = ?)",
        (scope,),
    ).fetchone()
    rows = connection.execute(
        "SELECT name, value FROM notes WHERE name >= ? AND name < ?", (_PREFIX, _PREFIX[:-1] + ";")
    ).fetchall()
    return _sizes(row or (0, 0, 0)), {name.removeprefix(_PREFIX): msgspec.json.decode(value) for name, value in rows}


def tally_of(collection: Holder, scope: str) -> Tally:
    """Return the tally of a scope of a collection, whose file is prepared for it at the first time."""
    with collection.reading() as connection:
        if is_prepared(connection):
            return tally(connection, scope)
    with collection.changing_notes() as connection:
        prepare(connection)
        return tally(connection, scope)


def weigh(collection: Holder, scope: str, ids: Sequence[str]) -> dict[str, int]:
    """Return documents, vectors and storage_bytes of those of the ids that are there."""
    with collection.reading() as connection:
        row = connection.execute(
            f"SELECT {_SIZES} FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?)"  # noqa: S608 - constants
            " AND id IN (SELECT value FROM json_each(?))",
            (scope, msgspec.json.encode(list(ids)).decode()),
        ).fetchone()
    return _sizes(row)


def _sizes(row: tuple[Any, ...]) -> dict[str, int]:
    return dict(zip(("documents", "vectors", "storage_bytes"), (int(value) for value in row), strict=True))


def forget(collection: Holder, claim: str) -> None:
    """Remove a claim whose reservation was given back."""
    with collection.changing_notes() as connection:
        connection.execute("DELETE FROM notes WHERE name = ?", (_PREFIX + claim,))
