"""`Collection`: documents by scope in one SQLite file, with their chunks, vectors and words.

The rows are the truth; indexes are made from them. A call is one transaction, so that a killed process leaves whole
documents only. Scopes never see each other: every statement names one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from llmspell.errors import ComponentError, CorruptData, DimensionMismatch, InvalidScope, NotFound
from llmspell.vectors import files, lexical, tenants
from llmspell.vectors.indexes import Indexes
from llmspell.vectors.searching import search

if TYPE_CHECKING:
    import sqlite3

    from llmspell.vectors.records import Found, Query, Recorded, Stored

T = TypeVar("T")
_openings = count()
_DOCUMENT = "id, metadata, source, event_time, ingested, created, expires, chunks, tokens, key"


class Collection:
    """One collection. path: of its file, or `:memory:`. recorded: what a new one is made with; None opens an old one.

    scope: the only one of the file, when it is that of a tenant. Any thread may call it. Raises CorruptData,
    StorageFull, StorageFailure, VersionMismatch.
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
    ) -> None:
        self.name = name
        self.path = path
        self._only = scope
        self._durability = durability
        self._max_bytes = max_bytes
        self._closed = False
        self._lock = threading.RLock()  # protects the connection and the indexes; reentrant for nested transactions
        self._connection: sqlite3.Connection | None = None
        self.on_wake: Callable[[Collection], object] | None = (
            None  # told, under the lock, that a resting collection is in use
        )
        self._connect(recorded)

    def _connect(self, recorded: Recorded | None) -> None:
        if self._only is not None and recorded is None and not tenants.holds(Path(self.path)):
            raise NotFound(f"{self.path} is gone", details={"path": self.path})
        page_bytes = None if self._only is None else tenants.PAGE_BYTES
        connection = files.connect(self.path, self._durability, page_bytes=page_bytes)
        try:
            self.recorded = files.record(connection, self.path, recorded, self._only)
            self._file = None if self.path == files.MEMORY else os.stat(self.path).st_ino
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._opening = next(_openings)
        self._indexes = Indexes(
            connection, dim=self.recorded.dimensions, metric=self.recorded.metric, max_bytes=self._max_bytes
        )

    def _connected(self) -> sqlite3.Connection:
        """Return the connection; a collection that rests is opened again."""
        if self._connection is None:
            if self._closed:
                raise ComponentError(f"the collection {self.name!r} is closed", code="closed")
            self._connect(None)
            if self.on_wake is not None:
                self.on_wake(self)
        assert self._connection is not None
        return self._connection

    @contextmanager
    def _open(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction; what an error interrupts is rolled back."""
        with self._lock, files.translated(self.path):
            connection = self._connected()
            if connection.in_transaction:
                yield connection
                return
            self._indexes.refresh()
            try:
                with files.transaction(connection, write=write):
                    yield connection
            except BaseException:
                self._indexes.clear()
                raise

    def stamp(self) -> tuple[int, int, int] | None:
        """Return what changes with every commit, of other processes too; None while the file rests or is in use.

        Equal stamps mean equal content, but for what expired meanwhile. Never waits.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._connection is None or self._connection.in_transaction:
                return None
            with files.translated(self.path):
                version = self._connection.execute("PRAGMA data_version").fetchone()[0]
                return self._opening, int(version), self._connection.total_changes
        finally:
            self._lock.release()

    def next_expiry(self, scope: str) -> float | None:
        """Return when the next document of a scope expires, None if none will."""
        with self._open(write=False) as connection:
            statement = "SELECT min(expires) FROM documents WHERE scope = ? AND expires > ?"
            found: float | None = connection.execute(
                statement, (self._scope(connection, scope), time.time())
            ).fetchone()[0]
            return found

    def is_current(self) -> bool:
        """Tell whether the file is still the one that was opened: another process may have removed it."""
        try:
            return self._file is None or (not self._closed and os.stat(self.path).st_ino == self._file)
        except OSError:
            return False

    def rest(self) -> bool:
        """Close the file until the next use, if nothing is using it now; tell whether it is closed."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._connection is not None and self.path != files.MEMORY:
                if self._connection.in_transaction:
                    return False
                self._indexes.clear()
                with files.translated(self.path):
                    self._connection.close()
                self._connection = None
            return True
        finally:
            self._lock.release()

    def _scope(self, connection: sqlite3.Connection, scope: str) -> int | None:
        row = connection.execute("SELECT id FROM scopes WHERE name = ?", (scope,)).fetchone()
        return None if row is None else int(row[0])

    def digests(self, scope: str, ids: Iterable[str]) -> dict[str, bytes]:
        """Return the digests of the documents that are there, by id; expired ones are not."""
        with self._open(write=False) as connection:
            number = self._scope(connection, scope)
            if number is None:
                return {}
            rows = connection.execute(
                "SELECT id, digest FROM documents WHERE scope = ? AND id IN (SELECT value FROM json_each(?))"
                " AND (expires IS NULL OR expires > ?)",
                (number, _json(list(ids)), time.time()),
            )
            return dict(rows.fetchall())

    def _healing(self, scope: str, act: Callable[[], T]) -> T:
        """Run `act`; when the word table of the scope is damaged, make it anew from the rows and run it again."""
        try:
            return act()
        except CorruptData:
            self._rebuild_words(scope)
            return act()

    def _rebuild_words(self, scope: str) -> None:
        """Give a scope a new word table, under a new number: a damaged virtual table cannot even be dropped."""
        from logging import getLogger

        getLogger(__name__).warning("words of a scope are rebuilt", extra={"collection": self.name, "scope": scope})
        with self._open(write=True) as connection:
            old = self._scope(connection, scope)
            if old is None:
                return
            connection.execute("DELETE FROM scopes WHERE id = ?", (old,))
            number = int(connection.execute("INSERT INTO scopes(name) VALUES (?)", (scope,)).lastrowid or 0)
            connection.execute("UPDATE documents SET scope = ? WHERE scope = ?", (number, old))
            connection.execute("UPDATE vectors SET scope = ? WHERE scope = ?", (number, old))
            lexical.create(connection, number)
            statement = "SELECT key, text FROM chunks WHERE key IN (SELECT key FROM vectors WHERE scope = ?)"
            lexical.add(connection, number, connection.execute(statement, (number,)).fetchall())
            self._indexes.drop(old)

    def put(self, scope: str, entries: Sequence[Stored]) -> None:
        """Store documents, all or none; one with a known id replaces the old one. Raises DimensionMismatch."""
        if self._only not in (None, scope):
            raise InvalidScope(
                f"this file holds the scope {self._only!r} alone",
                details={"scope": scope, "rule": "the scope of the file"},
            )
        for entry in entries:
            if entry.vectors.shape != (len(entry.parts), self.recorded.dimensions):
                raise DimensionMismatch(
                    f"the collection {self.name!r} has vectors of {self.recorded.dimensions} dimensions",
                    details={"expected": self.recorded.dimensions, "got": int(entry.vectors.shape[-1])},
                )
        self._healing(scope, lambda: self._put(scope, entries))

    def _put(self, scope: str, entries: Sequence[Stored]) -> None:
        with self._open(write=True) as connection:
            number = self._scope(connection, scope)
            if number is None:
                number = int(connection.execute("INSERT INTO scopes(name) VALUES (?)", (scope,)).lastrowid or 0)
                lexical.create(connection, number)
            for entry in entries:
                created = self._take_out(connection, number, "id = ?", [entry.id])
                self._put_one(connection, number, entry, created if created is not None else entry.ingested)

    def _put_one(self, connection: sqlite3.Connection, scope: int, entry: Stored, created: float) -> None:
        size = sum(len(part.text.encode()) for part in entry.parts) + entry.vectors.nbytes
        cursor = connection.execute(
            "INSERT INTO documents(scope, id, digest, metadata, source, event_time, ingested, created, expires, chunks,"
            " tokens, bytes, own) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                scope, entry.id, entry.digest, _json(entry.metadata), entry.source, entry.event_time, entry.ingested,
                created, entry.expires, len(entry.parts), sum(part.tokens for part in entry.parts), size,
                any(part.metadata for part in entry.parts),
            ),
        )  # fmt: skip
        document = int(cursor.lastrowid or 0)
        keys: list[int] = []
        for position, part in enumerate(entry.parts):
            own = None if part.metadata is None else _json(part.metadata)
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
        self._indexes.add(scope, keys, vectors)

    def _take_out(self, connection: sqlite3.Connection, scope: int, condition: str, given: list[Any]) -> float | None:
        """Remove the documents of a scope that meet a condition; return when the first of them was created."""
        rows = connection.execute(
            f"SELECT key, created FROM documents WHERE scope = ? AND {condition}",  # noqa: S608 - conditions are constants
            [scope, *given],
        ).fetchall()
        if not rows:
            return None
        keys = _json([row[0] for row in rows])
        parts = connection.execute(
            "SELECT key, text FROM chunks WHERE document IN (SELECT value FROM json_each(?))", (keys,)
        ).fetchall()
        chunk_keys = [row[0] for row in parts]
        lexical.remove(connection, scope, parts)
        connection.execute("DELETE FROM vectors WHERE key IN (SELECT value FROM json_each(?))", (_json(chunk_keys),))
        connection.execute("DELETE FROM chunks WHERE document IN (SELECT value FROM json_each(?))", (keys,))
        connection.execute("DELETE FROM documents WHERE key IN (SELECT value FROM json_each(?))", (keys,))
        self._indexes.remove(scope, chunk_keys)
        return float(min(row[1] for row in rows))

    def delete(self, scope: str, ids: Sequence[str]) -> int:
        """Remove documents; return how many were there."""
        return self._healing(scope, lambda: self._delete(scope, ids))

    def _delete(self, scope: str, ids: Sequence[str]) -> int:
        with self._open(write=True) as connection:
            number = self._scope(connection, scope)
            if number is None:
                return 0
            before = connection.execute("SELECT count(*) FROM documents WHERE scope = ?", (number,)).fetchone()[0]
            self._take_out(connection, number, "id IN (SELECT value FROM json_each(?))", [_json(list(ids))])
            after = connection.execute("SELECT count(*) FROM documents WHERE scope = ?", (number,)).fetchone()[0]
            return int(before - after)

    def delete_scope(self, scope: str) -> dict[str, int]:
        """Remove a scope with all in it; return counts: documents, vectors, bytes."""
        with self._open(write=True) as connection:
            number = self._scope(connection, scope)
            if number is None:
                return {"documents": 0, "vectors": 0, "bytes": 0}
            counts = self._counts(connection, number)
            connection.execute(
                "DELETE FROM chunks WHERE document IN (SELECT key FROM documents WHERE scope = ?)", (number,)
            )
            connection.execute("DELETE FROM vectors WHERE scope = ?", (number,))
            connection.execute("DELETE FROM documents WHERE scope = ?", (number,))
            connection.execute("DELETE FROM scopes WHERE id = ?", (number,))
            lexical.drop(connection, number)
            self._indexes.drop(number)
            return {name: int(counts[name]) for name in ("documents", "vectors", "bytes")}

    def sweep(self) -> int:
        """Remove expired documents of all scopes; return how many."""
        now, removed = time.time(), 0
        with self._open(write=True) as connection:
            due = connection.execute("SELECT scope, count(*) FROM documents WHERE expires <= ? GROUP BY scope", (now,))
            for number, amount in due.fetchall():
                self._take_out(connection, number, "expires <= ?", [now])
                removed += amount
        return removed

    def get(self, scope: str, ident: str) -> dict[str, Any] | None:
        """Return a document with its whole text, or None."""
        with self._open(write=False) as connection:
            row = self._row(connection, scope, ident)
            if row is None:
                return None
            parts = connection.execute(
                "SELECT start, text FROM chunks WHERE document = ? ORDER BY position", (row[-1],)
            )
            pieces = parts.fetchall()
        ends = [start for start, _ in pieces[1:]]
        text = "".join(text[: end - start] for (start, text), end in zip(pieces, ends, strict=False))
        return {**_described(row), "content": text + (pieces[-1][1] if pieces else "")}

    def _row(self, connection: sqlite3.Connection, scope: str, ident: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = connection.execute(
            f"SELECT {_DOCUMENT} FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?) AND id = ?"  # noqa: S608 - constants
            " AND (expires IS NULL OR expires > ?)",
            (scope, ident, time.time()),
        ).fetchone()
        return row

    def documents(self, scope: str, *, limit: int, after: str | None = None) -> list[dict[str, Any]]:
        """Return documents without their text, by id, from the one after `after`."""
        with self._open(write=False) as connection:
            rows = connection.execute(
                f"SELECT {_DOCUMENT} FROM documents WHERE scope = (SELECT id FROM scopes WHERE name = ?) AND id > ?"  # noqa: S608 - constants
                " AND (expires IS NULL OR expires > ?) ORDER BY id LIMIT ?",
                (scope, after or "", time.time(), limit),
            ).fetchall()
        return [_described(row) for row in rows]

    def set_metadata(
        self, scope: str, ident: str, metadata: dict[str, Any], *, event_time: float | None, expires: float | None
    ) -> bool:
        """Replace the metadata and times of a document; tell whether it is there. Its digest then equals no content."""
        with self._open(write=True) as connection:
            row = self._row(connection, scope, ident)
            if row is None:
                return False
            connection.execute(
                "UPDATE documents SET metadata = ?, event_time = ?, expires = ?, digest = x'' WHERE key = ?",
                (_json(metadata), event_time, expires, row[-1]),
            )
            return True

    def search(self, scope: str, query: Query) -> tuple[list[Found], bool, dict[int, Any]]:
        """Return what was found, best first, whether that is all, and the vectors of the hits by key."""
        return self._healing(scope, lambda: self._search(scope, query))

    def _search(self, scope: str, query: Query) -> tuple[list[Found], bool, dict[int, Any]]:
        with self._open(write=False) as connection:
            number = self._scope(connection, scope)
            if number is None:
                return [], True, {}
            return search(connection, self._indexes, number, query)

    def holds(self, scope: str) -> bool:
        """Tell whether a scope was ever written here."""
        with self._open(write=False) as connection:
            return self._scope(connection, scope) is not None

    def scopes(self) -> list[str]:
        """Return the scopes that hold something, sorted."""
        with self._open(write=False) as connection:
            return [row[0] for row in connection.execute("SELECT name FROM scopes ORDER BY name").fetchall()]

    def stats(self, scope: str | None = None) -> dict[str, Any]:
        """Return documents, chunks, vectors, bytes, scopes, memory_bytes, last_ingest_at of a scope, or of all."""
        with self._open(write=False) as connection:
            if scope is not None:
                number = self._scope(connection, scope)
                return self._counts(connection, -1 if number is None else number)
            found = self._counts(connection, None)
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            return {**found, "bytes": pages * connection.execute("PRAGMA page_size").fetchone()[0]}

    def _counts(self, connection: sqlite3.Connection, scope: int | None) -> dict[str, Any]:
        row = connection.execute(
            "SELECT count(*), coalesce(sum(chunks), 0), coalesce(sum(bytes), 0), count(DISTINCT scope), max(ingested)"
            " FROM documents WHERE ?1 IS NULL OR scope = ?1",
            (scope,),
        ).fetchone()
        return {
            "documents": row[0],
            "chunks": row[1],
            "vectors": row[1],
            "bytes": row[2],
            "scopes": row[3],
            "last_ingest_at": row[4],
            "memory_bytes": self._indexes.memory_bytes,
        }

    def notes(self, prefix: str = "") -> dict[str, Any]:
        """Return the notes whose names begin so, by name."""
        with self._open(write=False) as connection:
            rows = connection.execute("SELECT name, value FROM notes ORDER BY name").fetchall()
        return {name: msgspec.json.decode(value) for name, value in rows if name.startswith(prefix)}

    def note(self, name: str) -> Any:
        """Return a note, None where there is none."""
        with self._open(write=False) as connection:
            row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0])

    def set_note(self, name: str, value: Any) -> None:
        """Write a note; None removes it."""
        with self._open(write=True) as connection:
            if value is None:
                connection.execute("DELETE FROM notes WHERE name = ?", (name,))
            else:
                connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, _json(value)))

    def record_probe(self, probe: bytes, probe_hash: str) -> None:
        """Note the probe of the embedder where none is noted yet."""
        with self._open(write=True) as connection:
            statement = "UPDATE meta SET probe = ?, probe_hash = ? WHERE probe IS NULL"
            connection.execute(statement, (probe, probe_hash))
            kept = connection.execute("SELECT probe, probe_hash FROM meta").fetchone()
        self.recorded = msgspec.structs.replace(self.recorded, probe=kept[0], probe_hash=kept[1])

    def save(self) -> None:
        """Remove what expired and put everything on the disk."""
        self.sweep()
        with self._lock, files.translated(self.path):
            if self._connection is not None and self.path != files.MEMORY:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def copy_to(self, path: str) -> None:
        """Write the collection to another file."""
        with self._lock, files.translated(path):
            target = files.connect(path, "full")
            try:
                if self._connection is not None:
                    self._connection.backup(target)
            finally:
                target.close()

    def copy_from(self, path: str) -> None:
        """Replace everything by what another file holds."""
        with self._lock, files.translated(path):
            source = files.connect(path, "full")
            try:
                if self._connection is not None:
                    source.backup(self._connection)
                    self._opening = next(_openings)
                    self._indexes.clear()
                    self.recorded = files.record(self._connection, self.path, None)
            finally:
                source.close()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._indexes.clear()
                self._connection.close()
                self._connection = None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


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
