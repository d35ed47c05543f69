"""`Store`: the file of the tenants, `tenants.db`: who they are, what they used, what is reserved now.

One connection per process under one lock. The file `changes` beside it is mapped by every process and gets another mark
after each change of a tenant, so that what is remembered of one is not older than its last change anywhere.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmspell.base.files import os_error
from llmspell.base.sqlitefile import BUSY_SECONDS, create, translated
from llmspell.errors import ComponentError, VersionMismatch

FORMAT = 1
_MARK = 8
ACTIVE, SUSPENDED, DELETING, DELETED = "active", "suspended", "deleting", "deleted"
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta(id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tenants(id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL,
    accessed REAL, reset REAL, limits TEXT NOT NULL, metadata TEXT NOT NULL, custom TEXT NOT NULL, vector TEXT NOT NULL,
    changes INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage(tenant TEXT NOT NULL, period TEXT NOT NULL, name TEXT NOT NULL,
    amount INTEGER NOT NULL, PRIMARY KEY(tenant, period, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations(id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL,
    amounts TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reservations_tenant ON reservations(tenant);
CREATE TABLE IF NOT EXISTS buckets(tenant TEXT PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folded(file TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES (1, 1);
COMMIT;
"""


class Store:
    """One file, opened at first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "tenants.db"
        self._lock = threading.RLock()  # protects the connection; reentrant for reads inside a transaction
        self._connection: sqlite3.Connection | None = None
        self._marks: mmap.mmap | None = None
        self._closed = False

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise ComponentError("the tenants are closed", code="closed")
        create(self.path)
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            for setting in ("journal_mode = WAL", "synchronous = NORMAL", "trusted_schema = 0"):
                connection.execute(f"PRAGMA {setting}")
            connection.executescript(_SCHEMA)
            found = connection.execute("SELECT format FROM meta").fetchone()[0]
            if found > FORMAT:
                raise VersionMismatch(
                    f"{self.path} was written in format {found}, this program reads up to {FORMAT}",
                    details={"path": str(self.path), "found": found, "supported": FORMAT},
                )
        except BaseException:
            connection.close()
            raise
        self._marks = self._mapped()
        self._connection = connection
        return connection

    def _mapped(self) -> mmap.mmap:
        path = self.folder / "changes"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if os.fstat(fd).st_size < _MARK:
                    os.ftruncate(fd, _MARK)
                return mmap.mmap(fd, _MARK)
            finally:
                os.close(fd)
        except OSError as error:
            raise os_error(error, str(path)) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, alone."""
        with self._lock, translated(str(self.path)):
            yield self._connection or self._open()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """As `writing`, for a change of a tenant: it is on the disk at return, and every process notices it."""
        with self.writing(durable=True) as connection:
            yield connection
        with self._lock:
            if self._marks is not None:
                self._marks[:] = os.urandom(_MARK)

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Give the connection in a transaction that has the write lock; durable: on the disk at return."""
        with self.reading() as connection:
            if durable:
                connection.execute("PRAGMA synchronous = FULL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous = NORMAL")

    def rows(self, statement: str, *given: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.reading() as connection:
            return connection.execute(statement, given).fetchall()

    def mark(self) -> bytes:
        """Return what differs after a change of a tenant, in whichever process."""
        with self._lock:
            if self._marks is None:
                self._open()
            assert self._marks is not None
            return self._marks[:]

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._marks is not None:
                self._marks.close()
                self._marks = None
