"""`Store`: the file of the tenants, `tenants.db`: who they are, what they used, what is reserved now.

One connection per process under one lock. Other processes are noticed by SQLite's `data_version`, so that what is
remembered of a tenant is never older than the last change of it anywhere.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmspell.base.sqlitefile import BUSY_SECONDS, create, storage_error, translated
from llmspell.errors import ComponentError, VersionMismatch

FORMAT = 1
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
        self._connection = connection
        return connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, alone."""
        with self._lock, translated(str(self.path)):
            yield self._connection or self._open()

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

    def version(self) -> int:
        """Return a number that changes when another process writes."""
        with self._lock:  # asked for at every operation: without the general way of reading it takes half the time
            try:
                found: int = (self._connection or self._open()).execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                raise storage_error(error, str(self.path)) from error
        return found

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None
