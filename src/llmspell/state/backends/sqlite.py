"""State in one SQLite file: WAL, any number of threads and processes, one writer at a time.

A plain write is one statement that touches one page: the version is counted on in SQL, and `seq` is a number that only
`mark` advances, so that no counter page is written with every value. Reads use a pool of connections; a snapshot is a
read transaction on one of them. Source of the durability claims: sqlite.org/wal.html and PRAGMA synchronous.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmspell.base.ids import uuid4
from llmspell.base.sqlitefile import BUSY_SECONDS, create, storage_error, translated
from llmspell.errors import StorageError, VersionMismatch
from llmspell.state.backends._base import Compute, Expect, Op, Report, Row, conflict

FORMAT = 1
_POOL = 8
_COLUMNS = "key, value, version, created, updated, expires, seq"
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta(id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, store TEXT NOT NULL,
    seq INTEGER NOT NULL, pruned INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries(key BLOB PRIMARY KEY, value BLOB, version INTEGER NOT NULL, created INTEGER NOT NULL,
    updated INTEGER NOT NULL, expires INTEGER, seq INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS entries_expires ON entries(expires) WHERE expires IS NOT NULL;
INSERT OR IGNORE INTO meta VALUES (1, 1, '%s', 1, 0);
COMMIT;
"""
_PUT = """
INSERT INTO entries(key, value, version, created, updated, expires, seq)
VALUES (?1, ?2, 1, ?3, ?3, ?4, (SELECT seq FROM meta))
ON CONFLICT(key) DO UPDATE SET
    created = CASE WHEN value IS NULL OR expires <= ?3 THEN ?3 ELSE created END,
    value = excluded.value, version = version + 1, updated = excluded.updated, expires = excluded.expires,
    seq = excluded.seq
RETURNING version
"""
_GET = f"SELECT {_COLUMNS} FROM entries WHERE key = ?"  # noqa: S608 - the text is made of constants
_SCAN = f"SELECT {_COLUMNS} FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"  # noqa: S608 - constants
_CHANGES = f"SELECT {_COLUMNS} FROM entries WHERE seq > ?"  # noqa: S608 - constants
_STAMPS = "SELECT key, version, updated FROM entries WHERE key >= ? AND key < ? ORDER BY key"
_BURY = """UPDATE entries SET value = NULL, expires = NULL, version = version + 1, updated = ?,
seq = (SELECT seq FROM meta) WHERE value IS NOT NULL
AND key >= ? AND key < ? AND key NOT IN (SELECT key FROM temp.fresh)"""
_RESTORE = """INSERT OR REPLACE INTO entries
SELECT key, value, version, created, updated, expires, (SELECT seq FROM meta) FROM temp.fresh"""


class _Snapshot:
    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        with translated(self._path):
            return [_one(self._connection, key) for key in keys]

    def scan(self, low: bytes, high: bytes, *, limit: int | None = None) -> Iterator[Row]:
        with translated(self._path):
            for row in self._connection.execute(_SCAN, (low, high, -1 if limit is None else limit)):
                yield Row._make(row)

    def changes(self, since: int) -> Iterator[Row]:
        with translated(self._path):
            for row in self._connection.execute(_CHANGES, (since,)):
                yield Row._make(row)


class Backend:
    """State in a SQLite database."""

    name = "sqlite"
    features = frozenset({"persistent", "multi_process", "snapshots", "ordered"})

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._path = ""
        self._read_only = False
        self.store_id = ""
        self.pruned = 0

    def open(self, location: str, *, read_only: bool = False) -> None:
        """Open or create the file. It gets mode 0600, a new folder 0700."""
        self._path, self._read_only = location, read_only
        if not read_only:
            create(Path(location))
        with translated(location):
            self._writer = self._connect()
            found, self.store_id, self.pruned = self._identity(self._writer)
        if found > FORMAT:
            self.close()
            raise VersionMismatch(
                f"{location} was written in format {found}, this program reads up to {FORMAT}: use a newer llmspell",
                details={"path": location, "found": found, "supported": FORMAT},
            )

    def _identity(self, connection: sqlite3.Connection) -> tuple[int, str, int]:
        """Return format, store id and pruned mark, after making the tables where there are none."""
        query = "SELECT format, store, pruned FROM meta"
        try:
            found: tuple[int, str, int] = connection.execute(query).fetchone()
        except sqlite3.OperationalError as error:
            if self._read_only or "no such table" not in str(error):
                raise
            connection.executescript(_SCHEMA % uuid4())
            found = connection.execute(query).fetchone()
        return found

    def _connect(self) -> sqlite3.Connection:
        path = f"{Path(self._path).absolute().as_uri()}?mode={'ro' if self._read_only else 'rw'}"
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )
        try:
            if not self._read_only:
                connection.execute("PRAGMA journal_mode = WAL")
            for setting in (
                "synchronous = NORMAL",
                "mmap_size = 104857600",
                "cache_size = -65536",
                "trusted_schema = 0",
            ):
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close every connection; an open snapshot closes its own when it ends."""
        with self._lock:
            connections = [*self._idle, *([self._writer] if self._writer else [])]
            self._idle, self._writer = [], None
        for connection in connections:
            connection.close()

    def _take(self) -> sqlite3.Connection:
        if self._writer is None:
            raise StorageError(f"the state store {self._path} is closed", code="closed")
        try:
            return self._idle.pop()
        except IndexError:
            with translated(self._path):
                return self._connect()

    def _give(self, connection: sqlite3.Connection) -> None:
        if self._writer is None or len(self._idle) >= _POOL:
            connection.close()
        else:
            self._idle.append(connection)

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Read rows by key."""
        connection = self._take()
        try:
            return [_one(connection, key) for key in keys]
        except sqlite3.Error as error:
            raise storage_error(error, self._path) from error
        finally:
            self._give(connection)

    def scan(self, low: bytes, high: bytes, *, limit: int | None = None) -> Iterator[Row]:
        """Read a range at once, so that no read transaction stays open between two items."""
        with translated(self._path):
            connection = self._take()
            try:
                rows = connection.execute(_SCAN, (low, high, -1 if limit is None else limit)).fetchall()
            finally:
                self._give(connection)
        return map(Row._make, rows)

    def apply(
        self, ops: Sequence[Op], now: int, *, expect: Sequence[Expect] = (), durability: str = "normal"
    ) -> list[int]:
        """Write in one transaction; a single unconditional operation is one statement."""
        if len(ops) == 1 and not expect and durability != "full":
            try:
                with self._lock:
                    return [_put(self._open_writer(), ops[0], now)]
            except sqlite3.Error as error:
                raise storage_error(error, self._path) from error

        def write(connection: sqlite3.Connection) -> list[int]:
            for condition in expect:
                if tuple(connection.execute(_STAMPS, (condition.low, condition.high))) != condition.seen:
                    raise conflict(condition)
            return [_put(connection, op, now) for op in ops]

        return list(self._transact(write, durability))

    def edit(self, keys: Sequence[bytes], compute: Compute, now: int, *, durability: str = "normal") -> list[int]:
        """Read, compute and write in one transaction."""

        def write(connection: sqlite3.Connection) -> list[int]:
            return [_put(connection, op, now) for op in compute([_one(connection, key) for key in keys])]

        return list(self._transact(write, durability))

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            raise StorageError(f"the state store {self._path} is closed", code="closed")
        return self._writer

    def _transact(self, work: Callable[[sqlite3.Connection], Any], durability: str = "normal") -> Any:
        with translated(self._path), self._lock:
            connection = self._open_writer()
            if durability == "full":
                connection.execute("PRAGMA synchronous = FULL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    result = work(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            finally:
                if durability == "full":
                    connection.execute("PRAGMA synchronous = NORMAL")
        return result

    def replace_all(self, rows: Iterable[Row], now: int, *, ranges: Sequence[tuple[bytes, bytes]] | None = None) -> int:
        """Stage the rows in a temporary table, then bury and insert in one transaction."""
        count = 0

        def stage(connection: sqlite3.Connection) -> int:
            connection.execute("DROP TABLE IF EXISTS temp.fresh")
            connection.execute(
                "CREATE TEMP TABLE fresh(key BLOB PRIMARY KEY, value, version, created, updated, expires) WITHOUT ROWID"
            )
            connection.executemany("INSERT OR REPLACE INTO temp.fresh VALUES (?,?,?,?,?,?)", (row[:6] for row in rows))
            for low, high in [(b"", b"\xff")] if ranges is None else ranges:
                connection.execute(_BURY, (now, low, high))
            nonlocal count
            count = connection.execute(_RESTORE).rowcount
            connection.execute("DROP TABLE temp.fresh")
            return count

        return int(self._transact(stage))

    def expired(self, now: int, limit: int) -> list[bytes]:
        """Ask the index of expiry times."""
        query = "SELECT key FROM entries WHERE expires <= ? AND value IS NOT NULL LIMIT ?"
        with translated(self._path):
            connection = self._take()
            try:
                return [key for (key,) in connection.execute(query, (now, limit))]
            finally:
                self._give(connection)

    def mark(self) -> int:
        """Advance the number that writes carry; durable, and so is every write before it."""

        def advance(connection: sqlite3.Connection) -> int:
            connection.execute("UPDATE meta SET seq = seq + 1")
            return int(connection.execute("SELECT seq - 1 FROM meta").fetchone()[0])

        return int(self._transact(advance, "full"))

    @contextmanager
    def snapshot(self) -> Iterator[_Snapshot]:
        """Hold a read transaction."""
        with translated(self._path):
            connection = self._take()
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM meta").fetchone()
        try:
            yield _Snapshot(connection, self._path)
        finally:
            connection.execute("ROLLBACK")
            self._give(connection)

    def stats(self) -> dict[str, Any]:
        """Count entries and the bytes of the pages in use."""
        with translated(self._path):
            connection = self._take()
            try:
                entries = connection.execute("SELECT count(*) FROM entries WHERE value IS NOT NULL").fetchone()[0]
                pages, free, size = (
                    connection.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("page_count", "freelist_count", "page_size")
                )
            finally:
                self._give(connection)
        return {"entries": entries, "bytes": (pages - free) * size, "path": self._path}

    def _file_bytes(self) -> int:
        paths = [Path(self._path + suffix) for suffix in ("", "-wal")]
        return sum(path.stat().st_size for path in paths if path.exists())

    def verify(self) -> Report:
        """Run SQLite's own check of pages and indexes."""
        with translated(self._path):
            connection = self._take()
            try:
                found = [text for (text,) in connection.execute("PRAGMA integrity_check(100)")]
                rows = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
            finally:
                self._give(connection)
        return Report(rows, [] if found == ["ok"] else found)

    def compact(self, before: int) -> int:
        """Delete tombstones, rebuild the file, cut the log."""
        size = self._file_bytes()

        def prune(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM entries WHERE value IS NULL AND seq <= ?", (before,))
            connection.execute("UPDATE meta SET pruned = max(pruned, ?)", (before,))

        self._transact(prune)
        self.pruned = max(self.pruned, before)
        with translated(self._path), self._lock:
            connection = self._open_writer()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return max(0, size - self._file_bytes())


def _one(connection: sqlite3.Connection, key: bytes) -> Row | None:
    row = connection.execute(_GET, (key,)).fetchone()
    return None if row is None else Row._make(row)


def _put(connection: sqlite3.Connection, op: Op, now: int) -> int:
    return int(connection.execute(_PUT, (op.key, op.value, now, op.expires)).fetchall()[0][0])
