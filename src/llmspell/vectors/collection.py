"""`Collection`: documents by scope in one SQLite file, with their chunks, vectors and words.

The rows are the truth; indexes are made from them. A call is one transaction, so that a killed process leaves whole
documents only. Scopes never see each other: every statement names one. Searches run at once, each in a state of the
file of its own, and wait for no writer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from llmspell.errors import CorruptData, DimensionMismatch, InvalidScope, NonFiniteValue, ZeroVector
from llmspell.vectors import claims, files, graph_files, rows, writing
from llmspell.vectors.connections import Connections
from llmspell.vectors.indexes import Change, Indexes
from llmspell.vectors.records import IndexSettings
from llmspell.vectors.searching import search
from llmspell.vectors.worker import Worker
from llmspell.vectors.writing import as_json

if TYPE_CHECKING:
    import sqlite3

    from llmspell.vectors.records import Found, Query, Recorded, Stored
    from llmspell.vectors.searching import Answer

T = TypeVar("T")
_DOCUMENT = "id, metadata, source, event_time, ingested, created, expires, chunks, tokens, key"
_ATTEMPTS = 3
_SWEPT_AT_ONCE = 500


class Collection:
    """One collection. path: of its file, or `:memory:`. recorded: what a new one is made with; None opens an old one.

    scope: the only one of the file, when it is that of a tenant. max_bytes: of loaded indexes. Any thread may call it.
    Raises CorruptData, StorageFull, StorageFailure, VersionMismatch.
    """

    def __init__(
        self,
        name: str,
        path: str,
        *,
        recorded: Recorded | None = None,
        durability: str = "normal",
        max_bytes: int = 1 << 29,
        scope: str | None = None,
        index: IndexSettings | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self._only = scope
        self.on_wake: Callable[[Collection], object] | None = None  # told that a resting collection is in use again
        self._connections = Connections(
            path, durability=durability, scope=scope, recorded=recorded, on_wake=self._woken
        )
        self._folder = None if path == files.MEMORY else Path(path).parent
        self._indexes = Indexes(
            self.recorded, settings=index or IndexSettings(), folder=self._folder, max_bytes=max_bytes
        )
        self.is_current = self._connections.is_current
        self._worker = Worker(self._indexes, self._connections, durability=durability)

    @property
    def recorded(self) -> Recorded:
        """What the collection was made with."""
        return self._connections.recorded

    @property
    def memory_bytes(self) -> int:
        """Bytes of the loaded indexes."""
        return self._indexes.memory_bytes

    def _woken(self) -> None:
        if self.on_wake is not None:
            self.on_wake(self)

    @contextmanager
    def _changing(self, scope: str, *, make: bool = False) -> Iterator[tuple[sqlite3.Connection, Change | None]]:
        """Give the connection in a transaction, and the change to note; None where the scope is not there."""
        with self._connections.write() as connection:
            change = writing.begin(connection, scope, make=make)
            yield connection, change
            if change is not None:
                writing.finish(connection, change)
                self._indexes.commit(connection, change)
        if change is not None:
            self._worker.consider(change.before.number)

    def stamp(self, scope: str) -> tuple[int, ...] | None:
        """Return what changes with every commit to a scope, of other processes too; None where there is none.

        Equal stamps mean equal content, but for what expired meanwhile.
        """
        with self._connections.read() as connection:
            place = rows.place(connection, scope)
        return None if place is None else (self._connections.opening, place.number, place.top, place.seq)

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a connection that sees one state of the file to the end of the block."""
        return self._connections.read()

    def changing_notes(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a connection in a transaction that may write what is kept beside the documents, and not these."""
        return self._connections.write()

    def next_expiry(self, scope: str) -> float | None:
        """Return when the next document of a scope expires, None if none will."""
        with self._connections.read() as connection:
            found: float | None = connection.execute(
                "SELECT min(expires) FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?)"
                " AND expires > ?",
                (scope, time.time()),
            ).fetchone()[0]
            return found

    def rest(self) -> bool:
        """Close the file until the next use, if nothing is using it now; tell whether it is closed."""
        if self._worker.saves_first() or not self._connections.rest():
            return False
        self._indexes.clear()
        return True

    def digests(self, scope: str, ids: Iterable[str]) -> dict[str, bytes]:
        """Return the digests of the documents that are there, by id; expired ones are not."""
        with self._connections.read() as connection:
            found = connection.execute(
                "SELECT id, digest FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?)"
                " AND id IN (SELECT value FROM json_each(?)) AND (expires IS NULL OR expires > ?)",
                (scope, as_json(list(ids)), time.time()),
            )
            return dict(found.fetchall())

    def _healing(self, scope: str, act: Callable[[], T]) -> T:
        """Run `act`; when the word table of the scope is damaged, make it anew from the rows and run it again."""
        try:
            return act()
        except CorruptData:
            self._rebuild_words(scope)
            return act()

    def _rebuild_words(self, scope: str) -> None:
        from logging import getLogger

        getLogger(__name__).warning("words of a scope are rebuilt", extra={"collection": self.name, "scope": scope})
        with self._connections.write() as connection:
            old = writing.renumber(connection, scope)
            if old is not None:
                self._indexes.drop(old)

    def create_scope(self, scope: str, settings: dict[str, Any] | None = None) -> bool:
        """Make a scope, empty; tell whether it is new. settings: `dimensions`, and fields of IndexSettings."""
        self._check_scope(scope)
        with self._connections.write() as connection:
            known = rows.place(connection, scope)
            if known is None:
                writing.begin(connection, scope, make=True, settings=as_json(settings) if settings else None)
            return known is None

    def dimensions(self, scope: str) -> int:
        """Return the dimensions of a scope, or of a new one."""
        with self._connections.read() as connection:
            place = rows.place(connection, scope)
        return self.recorded.dimensions if place is None else self._indexes.settings_of(place)[0]

    def _check_scope(self, scope: str) -> None:
        if self._only not in (None, scope):
            raise InvalidScope(
                f"this file holds the scope {self._only!r} alone",
                details={"scope": scope, "rule": "the scope of the file"},
            )

    def put(self, scope: str, entries: Sequence[Stored], *, claim: str | None = None) -> None:
        """Store documents, all or none; one with a known id replaces the old one. claim: the reservation they use.

        Raises DimensionMismatch, NonFiniteValue, ZeroVector.
        """
        self._check_scope(scope)
        dimensions = self.dimensions(scope)
        for entry in entries:
            if entry.vectors.shape != (len(entry.parts), dimensions):
                raise DimensionMismatch(
                    f"the collection {self.name!r} has vectors of {dimensions} dimensions",
                    details={"expected": dimensions, "got": int(entry.vectors.shape[-1])},
                )
        if entries:
            self._check_values(entries)
            self._healing(scope, lambda: self._put(scope, entries, claim))

    def _check_values(self, entries: Sequence[Stored]) -> None:
        """Refuse vectors that no index takes: a stored row with one would keep its scope from being searched."""
        every = np.concatenate([entry.vectors for entry in entries])
        finite = np.isfinite(every).all(axis=1)
        directed = every.any(axis=1) if self.recorded.metric == "cosine" else finite
        if finite.all() and directed.all():
            return
        owners = [entry.id for entry in entries for _ in entry.parts]
        if not finite.all():
            raise NonFiniteValue(f"a vector of {owners[int(np.argmin(finite))]!r} holds a value that is not finite")
        raise ZeroVector(f"a vector of {owners[int(np.argmin(directed))]!r} is zero and has no direction to compare")

    def _put(self, scope: str, entries: Sequence[Stored], claim: str | None) -> None:
        with self._changing(scope, make=True) as (connection, change):
            assert change is not None
            writing.put(connection, change, entries)
            if claim is not None:
                claims.add(connection, claim, entries)

    def delete(self, scope: str, ids: Sequence[str]) -> int:
        """Remove documents; return how many were there."""
        return self._healing(scope, lambda: self._delete(scope, ids))

    def _delete(self, scope: str, ids: Sequence[str]) -> int:
        with self._changing(scope) as (connection, change):
            if change is None:
                return 0
            count = "SELECT count(*) FROM documents WHERE scope = ?"
            before = connection.execute(count, (change.before.number,)).fetchone()[0]
            writing.take_out(connection, change, "id IN (SELECT value FROM json_each(?))", [as_json(list(ids))])
            return int(before - connection.execute(count, (change.before.number,)).fetchone()[0])

    def delete_scope(self, scope: str) -> dict[str, int]:
        """Remove a scope with all in it; return counts: documents, vectors, bytes."""
        with self._connections.write() as connection:
            place = rows.place(connection, scope)
            if place is None:
                return {"documents": 0, "vectors": 0, "bytes": 0}
            counts = self._counts(connection, place.number)
            writing.drop(connection, place.number)
            connection.execute("COMMIT")
            self._indexes.drop(place.number)
            if self._folder is not None:
                graph_files.remove(self._folder, scope)
            return {name: int(counts[name]) for name in ("documents", "vectors", "bytes")}

    def sweep(self) -> int:
        """Remove expired documents of all scopes; return how many."""
        now, removed = time.time(), 0
        with self._connections.read() as connection:
            due = connection.execute(
                "SELECT name FROM scopes WHERE EXISTS"
                " (SELECT 1 FROM documents WHERE scope = scopes.id AND expires <= ?)",
                (now,),
            ).fetchall()
        for (scope,) in due:
            while gone := self._healing(scope, partial(self._sweep, scope, now)):
                removed += gone
        return removed

    def _sweep(self, scope: str, now: float) -> int:
        """Remove some of the expired documents of a scope, so that others write in between; all when all expired."""
        with self._changing(scope) as (connection, change):
            if change is None:
                return 0
            number = change.before.number
            alive = "SELECT 1 FROM documents WHERE scope = ? AND (expires IS NULL OR expires > ?) LIMIT 1"
            if connection.execute(alive, (number, now)).fetchone() is None:
                count = connection.execute("SELECT count(*) FROM documents WHERE scope = ?", (number,)).fetchone()[0]
                writing.empty(connection, change)
                return int(count)
            some = "SELECT key FROM documents WHERE scope = ? AND expires <= ? LIMIT ?"
            keys = [row[0] for row in connection.execute(some, (number, now, _SWEPT_AT_ONCE))]
            writing.take_out(connection, change, "key IN (SELECT value FROM json_each(?))", [as_json(keys)])
            return len(keys)

    def get(self, scope: str, ident: str, *, vectors: bool = False) -> dict[str, Any] | None:
        """Return a document with its whole text, and the vectors of its chunks if wanted; or None."""
        with self._connections.read() as connection:
            row = self._row(connection, scope, ident)
            if row is None:
                return None
            parts = connection.execute(
                "SELECT start, text, key FROM chunks WHERE document = ? ORDER BY position", (row[-1],)
            )
            pieces = parts.fetchall()
            found = _described(row)
            if vectors:
                keys = [key for _, _, key in pieces]
                stored = rows.stored(connection, keys)
                found["vectors"] = [stored[key] for key in keys]
        ends = [start for start, _, _ in pieces[1:]]
        text = "".join(text[: end - start] for (start, text, _), end in zip(pieces, ends, strict=False))
        return {**found, "content": text + (pieces[-1][1] if pieces else "")}

    def _row(self, connection: sqlite3.Connection, scope: str, ident: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = connection.execute(
            f"SELECT {_DOCUMENT} FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?) AND id = ?"  # noqa: S608 - constants
            " AND (expires IS NULL OR expires > ?)",
            (scope, ident, time.time()),
        ).fetchone()
        return row

    def documents(self, scope: str, *, limit: int, after: str | None = None) -> list[dict[str, Any]]:
        """Return documents without their text, by id, from the one after `after`."""
        with self._connections.read() as connection:
            found = connection.execute(
                f"SELECT {_DOCUMENT} FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?) AND id > ?"  # noqa: S608 - constants
                " AND (expires IS NULL OR expires > ?) ORDER BY id LIMIT ?",
                (scope, after or "", time.time(), limit),
            ).fetchall()
        return [_described(row) for row in found]

    def set_metadata(
        self, scope: str, ident: str, metadata: dict[str, Any], *, event_time: float | None, expires: float | None
    ) -> bool:
        """Replace the metadata and times of a document; tell whether it is there. Its digest then equals no content."""
        with self._changing(scope) as (connection, change):
            row = self._row(connection, scope, ident)
            if row is None or change is None:
                return False
            connection.execute(
                "UPDATE documents SET metadata = ?, event_time = ?, expires = ?, digest = x'' WHERE key = ?",
                (as_json(metadata), event_time, expires, row[-1]),
            )
            writing.changed(connection, change, row[-1])
            return True

    def change_metadata(self, scope: str, ident: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
        """Put `change(metadata)` in the place of a document's metadata, in one step; tell whether it is there."""
        with self._changing(scope) as (connection, noted):
            row = self._row(connection, scope, ident)
            if row is None or noted is None:
                return False
            metadata = as_json(change(msgspec.json.decode(row[1])))
            connection.execute("UPDATE documents SET metadata = ?, digest = x'' WHERE key = ?", (metadata, row[-1]))
            writing.changed(connection, noted, row[-1])
            return True

    def search(self, scope: str, query: Query) -> tuple[list[Found], bool, dict[int, Any]]:
        """Return what was found, best first, whether that is all, and the vectors of the hits by key."""
        return self.answer(scope, query)[:3]

    def answer(self, scope: str, query: Query) -> Answer:
        """Return what `search` does, and how many vectors were compared."""
        return self._healing(scope, lambda: self._answer(scope, query))

    def _answer(self, scope: str, query: Query) -> Answer:
        for _ in range(_ATTEMPTS):
            removals = self._indexes.removals
            with self._connections.read() as connection:
                found = self._answer_once(connection, scope, query)
            if removals == self._indexes.removals:  # else a row that this state has may have left the index already
                return found
        with self._connections.write() as connection:  # now nobody else writes
            return self._answer_once(connection, scope, query)

    def _answer_once(self, connection: sqlite3.Connection, scope: str, query: Query) -> Answer:
        place = rows.place(connection, scope)
        return ([], True, {}, 0) if place is None else search(connection, self._indexes, place, query)

    def holds(self, scope: str) -> bool:
        """Tell whether a scope was ever written here."""
        with self._connections.read() as connection:
            return rows.place(connection, scope) is not None

    def scopes(self) -> list[str]:
        """Return the scopes that hold something, sorted."""
        with self._connections.read() as connection:
            return [row[0] for row in connection.execute("SELECT name FROM scopes ORDER BY name").fetchall()]

    def stats(self, scope: str | None = None) -> dict[str, Any]:
        """Return documents, chunks, vectors, bytes, scopes, memory_bytes, last_ingest_at of a scope, or of all."""
        with self._connections.read() as connection:
            if scope is None:
                return {**rows.counts(connection, None), **self._index_counts(), "bytes": rows.size(connection)}
            place = rows.place(connection, scope)
            return self._counts(connection, -1 if place is None else place.number)

    def _counts(self, connection: sqlite3.Connection, scope: int) -> dict[str, Any]:
        return {**rows.counts(connection, scope), **self._index_counts()}

    def _index_counts(self) -> dict[str, Any]:
        return {
            "removed": self._indexes.removed,
            "build_ms": self._worker.build_ms,
            "memory_bytes": self._indexes.memory_bytes,
        }

    def notes(self, prefix: str = "") -> dict[str, Any]:
        """Return the notes whose names begin so, by name."""
        with self._connections.read() as connection:
            rows = connection.execute("SELECT name, value FROM notes ORDER BY name").fetchall()
        return {name: msgspec.json.decode(value) for name, value in rows if name.startswith(prefix)}

    def note(self, name: str) -> Any:
        """Return a note, None where there is none."""
        with self._connections.read() as connection:
            row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0])

    def set_note(self, name: str, value: Any) -> None:
        """Write a note; None removes it."""
        with self._connections.write() as connection:
            if value is None:
                connection.execute("DELETE FROM notes WHERE name = ?", (name,))
            else:
                connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, as_json(value)))

    def record_probe(self, probe: bytes, probe_hash: str) -> None:
        """Note the probe of the embedder where none is noted yet."""
        with self._connections.write() as connection:
            statement = "UPDATE meta SET probe = ?, probe_hash = ? WHERE probe IS NULL"
            connection.execute(statement, (probe, probe_hash))
            kept = connection.execute("SELECT probe, probe_hash FROM meta").fetchone()
        self._connections.recorded = msgspec.structs.replace(self.recorded, probe=kept[0], probe_hash=kept[1])

    def compact(self, scope: str | None = None) -> dict[str, int]:
        """Free what removed vectors still hold in the loaded index of a scope, or of all."""
        return self._indexes.compact(scope)

    def build(self) -> int:
        """Build the graphs that are missing and save them; return the bytes written."""
        return self._worker.persist()

    def save(self) -> int:
        """Remove what expired and put everything on the disk, graphs too; return the bytes of the graphs."""
        self.sweep()
        written = self.build()
        if self._folder is not None:
            with self._connections.alone() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return written

    def copy_to(self, path: str) -> None:
        """Write the collection to another file."""
        with self._connections.alone() as connection, files.translated(path):
            target = files.connect(path, "full")
            try:
                connection.backup(target)
            finally:
                target.close()

    def copy_from(self, path: str) -> None:
        """Replace everything by what another file holds."""
        with self._connections.alone() as connection, files.translated(path):
            source = files.connect(path, "full")
            try:
                source.backup(connection)
            finally:
                source.close()
            self._connections.exchanged(files.record(connection, self.path, None))
            self._indexes.reset(self.recorded)

    def close(self, *, save: bool = True) -> None:
        """Save graphs that changed much and close the file, once what is running has ended. Safe to call twice."""
        self._worker.stop(save=save)
        self._indexes.clear()
        self._connections.close()


def _described(row: tuple[Any, ...]) -> dict[str, Any]:
    found = {
        "id": row[0],
        "metadata": msgspec.json.decode(row[1]),
        "source": row[2],
        "event_time": row[3],
        "ingested_at": row[4],
        "created_at": row[5],
        "expires_at": row[6],
        "chunks": row[7],
        "tokens": row[8],
    }
    return {name: value for name, value in found.items() if value is not None}
