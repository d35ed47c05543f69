"""The SQLite file of a collection: schema, opening, translation of errors.

documents   one row per document: id, digest, metadata, times; own: a chunk of it has metadata of its own
chunks      its pieces in order; concatenated without their overlap they are the text
vectors     one blob of float32 per chunk, apart from the text so that loading an index reads nothing else
touched     keys whose row went or changed, in order: what an index saved earlier has to look at again
notes       small facts kept beside the documents: sessions and their limits
words_<n>   FTS5 without content, one table per scope: word statistics of a scope never reach another one's scores
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmspell.errors import CorruptData, NotFound, StorageError, StorageFailure, StorageFull, VersionMismatch
from llmspell.vectors import rows, tenants
from llmspell.vectors.records import Recorded

FORMAT = 2
MEMORY = ":memory:"
_BUSY_SECONDS = 10.0
_LOG_PAGES = 8000  # then a commit moves the log into the file, which waits for the disk
_SYNC = {"none": "OFF", "normal": "NORMAL", "full": "FULL"}
_RECORDED = Recorded.__struct_fields__
_KNOWN = "SELECT 1 FROM sqlite_master WHERE name = 'meta'"
_TOUCHED = (
    """CREATE TABLE touched(seq INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL, key INTEGER NOT NULL)"""
)
_TOUCHED_INDEX = "CREATE INDEX touched_scope ON touched(scope, seq)"
_SCHEMA = f"""
CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, embedder TEXT NOT NULL,
    embedder_id TEXT NOT NULL, dimensions INTEGER NOT NULL, metric TEXT NOT NULL, created REAL NOT NULL, scope TEXT,
    model TEXT, normalisation TEXT NOT NULL DEFAULT 'unit', probe BLOB, probe_hash TEXT);
CREATE TABLE scopes(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, top INTEGER NOT NULL DEFAULT 0,
    seq INTEGER NOT NULL DEFAULT 0, floor INTEGER NOT NULL DEFAULT 0, settings TEXT);
CREATE TABLE documents(key INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL, id TEXT NOT NULL,
    digest BLOB NOT NULL, metadata TEXT NOT NULL, source TEXT, event_time REAL, ingested REAL NOT NULL,
    created REAL NOT NULL, expires REAL, chunks INTEGER NOT NULL, tokens INTEGER NOT NULL,
    bytes INTEGER NOT NULL, own INTEGER NOT NULL, UNIQUE(scope, id));
CREATE INDEX documents_expires ON documents(scope, expires) WHERE expires IS NOT NULL;
CREATE TABLE chunks(key INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL,
    position INTEGER NOT NULL, start INTEGER NOT NULL, metadata TEXT, text TEXT NOT NULL);
CREATE INDEX chunks_document ON chunks(document, position);
CREATE TABLE vectors(key INTEGER PRIMARY KEY, scope INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX vectors_scope ON vectors(scope);
CREATE TABLE notes(name TEXT PRIMARY KEY, value TEXT NOT NULL);
{_TOUCHED};
{_TOUCHED_INDEX}
"""
_FROM_1 = (
    "ALTER TABLE meta ADD COLUMN scope TEXT",
    "ALTER TABLE meta ADD COLUMN model TEXT",
    "ALTER TABLE meta ADD COLUMN normalisation TEXT NOT NULL DEFAULT 'unit'",
    "ALTER TABLE meta ADD COLUMN probe BLOB",
    "ALTER TABLE meta ADD COLUMN probe_hash TEXT",
    "ALTER TABLE scopes ADD COLUMN top INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE scopes ADD COLUMN seq INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE scopes ADD COLUMN floor INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE scopes ADD COLUMN settings TEXT",
    "UPDATE scopes SET top = coalesce((SELECT max(key) FROM vectors WHERE vectors.scope = scopes.id), 0)",
    _TOUCHED,
    _TOUCHED_INDEX,
)


def connect(path: str, durability: str, *, page_bytes: int | None = None) -> sqlite3.Connection:
    """Open a collection file, making it with its folder, for the owner only. Any thread may use it, one at a time.

    page_bytes: of a new file; small ones cost less space and fit small collections.
    """
    with translated(path):
        if path != MEMORY:
            file = Path(path)
            tenants.private_folder(file.parent)
            file.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        if page_bytes is not None:
            connection.execute(f"PRAGMA page_size = {page_bytes:d}")
        if durability != "full":
            connection.execute(
                "PRAGMA synchronous = OFF"
            )  # the head of a new file waits for no disk, as commits do not
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNC[durability]}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute("PRAGMA foreign_keys = OFF")
        return connection


def record(connection: sqlite3.Connection, path: str, wanted: Recorded | None, scope: str | None = None) -> Recorded:
    """Return what the collection was made with; with `wanted` a new file is made so, for one scope when that is given.

    Raises VersionMismatch, CorruptData when the file is of another scope, and NotFound for a file without a
    collection, such as one whose making was interrupted.
    """
    with translated(path):
        known = connection.execute(_KNOWN).fetchone() is not None
        if known:
            _upgrade(connection, path)
        elif wanted is None:
            raise NotFound(f"{path} holds no collection", details={"path": path})
        else:
            _create(connection, wanted, scope)
        row = connection.execute(f"SELECT scope, {', '.join(_RECORDED)} FROM meta").fetchone()  # noqa: S608 - field names
    if scope is not None:
        tenants.check(path, row[0], scope)
    return Recorded(**dict(zip(_RECORDED, row[1:], strict=True)))


def _create(connection: sqlite3.Connection, wanted: Recorded, scope: str | None) -> None:
    values = (FORMAT, scope, *(getattr(wanted, name) for name in _RECORDED))
    with transaction(connection, write=True):
        if connection.execute(_KNOWN).fetchone() is not None:  # another process was sooner
            return
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(
            f"INSERT INTO meta(id, format, scope, {', '.join(_RECORDED)}) VALUES (1{', ?' * len(values)})",  # noqa: S608 - field names
            values,
        )


def _upgrade(connection: sqlite3.Connection, path: str) -> None:
    """Bring an older file to this format, in one transaction. Raises VersionMismatch for a newer one."""
    row = connection.execute("SELECT format FROM meta").fetchone()
    if row is None:
        raise CorruptData(
            f"{path} is no collection: its description is missing", details={"path": path, "section": "meta"}
        )
    if row[0] > FORMAT:
        raise VersionMismatch(
            f"{path} was written by a newer llmspell: format {row[0]}, this one reads up to {FORMAT}",
            details={"path": path, "found": row[0], "supported": FORMAT},
        )
    if row[0] == FORMAT:
        return
    with transaction(connection, write=True):
        if connection.execute("SELECT format FROM meta").fetchone()[0] < FORMAT:  # else another process was sooner
            for statement in (*_FROM_1, "UPDATE meta SET format = 2"):
                connection.execute(statement)


def peek(path: Path) -> dict[str, Any] | None:
    """Return the counts of a file that rests, without locking it; None for one that somebody may be writing."""
    if path.with_name(f"{path.name}-wal").exists():
        return None
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)
        try:
            return {**rows.counts(connection, None), "bytes": rows.size(connection)}
        finally:
            connection.close()
    except (sqlite3.Error, ValueError):  # of an older format, damaged, removed: who opens it will be told
        return None


@contextmanager
def transaction(connection: sqlite3.Connection, *, write: bool) -> Iterator[None]:
    """Run the block in a transaction; what an error interrupts is rolled back."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
        if connection.in_transaction:
            connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled back already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise our errors for those of SQLite and the system."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    except OSError as error:
        raise StorageFailure(
            f"cannot use {path}: {error.strerror}", details={"path": path, "errno": error.errno}
        ) from error


def _translate(error: sqlite3.Error, path: str) -> StorageError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    details = {"path": path}
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"{path} is busy: another process writes; try again", code="busy", details=details, retryable=True
        )
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"no space left to write {path}: free some space and try again", details=details)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptData(f"{path} is damaged: {error}; delete the collection and ingest again", details=details)
    return StorageFailure(f"cannot use {path}: {error}", details={**details, "errno": errno.EIO})
