"""The SQLite file of a collection: schema, opening, translation of errors.

documents   one row per document: id, digest, metadata, times; own: a chunk of it has metadata of its own
chunks      its pieces in order; concatenated without their overlap they are the text
vectors     one blob of float32 per chunk, apart from the text so that loading an index reads nothing else
notes       small facts kept beside the documents: sessions and their limits
words_<n>   FTS5 without content, one table per scope: word statistics of a scope never reach another one's scores
"""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmspell.errors import CorruptData, NotFound, StorageError, StorageFailure, StorageFull, VersionMismatch
from llmspell.vectors.records import Recorded

FORMAT = 1
MEMORY = ":memory:"
_BUSY_SECONDS = 10.0
_SYNC = {"none": "OFF", "normal": "NORMAL", "full": "FULL"}
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta(id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, embedder TEXT NOT NULL,
    embedder_id TEXT NOT NULL, dimensions INTEGER NOT NULL, metric TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS scopes(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS documents(key INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL, id TEXT NOT NULL,
    digest BLOB NOT NULL, metadata TEXT NOT NULL, source TEXT, event_time REAL, ingested REAL NOT NULL,
    created REAL NOT NULL, expires REAL, chunks INTEGER NOT NULL, tokens INTEGER NOT NULL,
    bytes INTEGER NOT NULL, own INTEGER NOT NULL, UNIQUE(scope, id));
CREATE INDEX IF NOT EXISTS documents_expires ON documents(scope, expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS chunks(key INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL,
    position INTEGER NOT NULL, start INTEGER NOT NULL, metadata TEXT, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_document ON chunks(document, position);
CREATE TABLE IF NOT EXISTS vectors(key INTEGER PRIMARY KEY, scope INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS vectors_scope ON vectors(scope);
CREATE TABLE IF NOT EXISTS notes(name TEXT PRIMARY KEY, value TEXT NOT NULL);
COMMIT;
"""


def connect(path: str, durability: str) -> sqlite3.Connection:
    """Open a collection file, making it with its folder, for the owner only. Any thread may use it, one at a time."""
    with translated(path):
        if path != MEMORY:
            file = Path(path)
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNC[durability]}")
        connection.execute("PRAGMA foreign_keys = OFF")
        return connection


def record(connection: sqlite3.Connection, path: str, wanted: Recorded | None) -> Recorded:
    """Return what the collection was made with; with `wanted` a new file is made so.

    Raises VersionMismatch, and NotFound for a file without a collection, such as one whose making was interrupted.
    """
    with translated(path):
        if wanted is not None:
            connection.executescript(_SCHEMA)
            connection.execute(
                "INSERT OR IGNORE INTO meta VALUES (1, ?, ?, ?, ?, ?, ?)",
                (
                    FORMAT,
                    wanted.embedder,
                    wanted.embedder_id,
                    wanted.dimensions,
                    wanted.metric,
                    wanted.created or time.time(),
                ),
            )
        elif connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
            raise NotFound(f"{path} holds no collection", details={"path": path})
        row = connection.execute(
            "SELECT format, embedder, embedder_id, dimensions, metric, created FROM meta"
        ).fetchone()
    if row is None:
        raise CorruptData(
            f"{path} is no collection: its description is missing", details={"path": path, "section": "meta"}
        )
    if row[0] > FORMAT:
        raise VersionMismatch(
            f"{path} was written by a newer llmspell: format {row[0]}, this one reads up to {FORMAT}",
            details={"path": path, "found": row[0], "supported": FORMAT},
        )
    return Recorded(embedder=row[1], embedder_id=row[2], dimensions=row[3], metric=row[4], created=row[5])


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
