"""Claims: which reservation the rows of a file belong to, written in the transaction of the rows.

Whoever adds what is reserved to what is stored reads both here and counts nothing twice, also after a process was
killed between storing and giving its reservation back. A claim is a note `claim:<reservation>`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from llmspell.vectors.records import Stored

_PREFIX = "claim:"
_SIZES = "count(*), coalesce(sum(chunks), 0), coalesce(sum(bytes), 0)"
Tally = tuple[dict[str, int], dict[str, dict[str, int]]]


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


def tally(connection: sqlite3.Connection, scope: str) -> Tally:
    """Return documents, vectors and storage_bytes of a scope, and the claims of the file."""
    row = connection.execute(
        f"SELECT {_SIZES} FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?)",  # noqa: S608 - constants
        (scope,),
    ).fetchone()
    rows = connection.execute(
        "SELECT name, value FROM notes WHERE name >= ? AND name < ?", (_PREFIX, _PREFIX[:-1] + ";")
    ).fetchall()
    return _sizes(row), {name.removeprefix(_PREFIX): msgspec.json.decode(value) for name, value in rows}


def weigh(connection: sqlite3.Connection, scope: str, ids: Sequence[str]) -> dict[str, int]:
    """Return documents, vectors and storage_bytes of those of the ids that are there."""
    row = connection.execute(
        f"SELECT {_SIZES} FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?)"  # noqa: S608 - constants
        " AND id IN (SELECT value FROM json_each(?))",
        (scope, msgspec.json.encode(list(ids)).decode()),
    ).fetchone()
    return _sizes(row)


def _sizes(row: tuple[Any, ...]) -> dict[str, int]:
    return dict(zip(("documents", "vectors", "storage_bytes"), (int(value) for value in row), strict=True))


def forget(connection: sqlite3.Connection, claim: str) -> None:
    """Remove a claim whose reservation was given back."""
    connection.execute("DELETE FROM notes WHERE name = ?", (_PREFIX + claim,))
