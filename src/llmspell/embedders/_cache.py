"""Vectors of texts seen before: in memory, the least used go first; on disk too if wished.

A key is a digest of the partition and one of embedder, length and text: no text is kept, and partitions (tenants,
sessions) never learn by a hit what another one embedded. The cache is derived: a disk that fails is given up with a
warning, and everything is embedded again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    import sqlite3

PARTITION_BYTES = 16
ENTRY_BYTES = 200
"""What an entry costs beside its vector."""
_DISK_FACTOR = 100
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors(key BLOB PRIMARY KEY, data BLOB NOT NULL, born REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vectors_born ON vectors(born);
"""


@lru_cache(1024)
def partition_digest(partition: str) -> bytes:
    """Return the part of a key that keeps partitions apart."""
    return blake3(partition.encode()).digest(PARTITION_BYTES)


def key_of(partition: bytes, embedder: bytes, text: str) -> bytes:
    """Return the key of a text. embedder: names it, the length of vectors, and the use it makes of the text."""
    return partition + blake3(b"%d:%b%b" % (len(embedder), embedder, text.encode())).digest()


class VectorCache:
    """Vectors as bytes by key; safe from any thread. ttl_s: life of an entry, 0 for ever. path: of the file, if any."""

    def __init__(self, *, entries: int, max_bytes: int, ttl_s: float, path: Path | None = None) -> None:
        self._entries = entries
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._kept: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()  # protects _kept and _bytes
        self._disk = None if path is None else _Disk(path, rows=entries * _DISK_FACTOR, ttl_s=ttl_s)

    @property
    def on_disk(self) -> bool:
        """Whether looking up may wait for a disk."""
        return self._disk is not None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the vectors that are there, None for the others."""
        now = time.monotonic()
        with self._lock:
            found = [self._get(key, now) for key in keys]
        if self._disk is not None:
            missing = [key for key, data in zip(keys, found, strict=True) if data is None]
            more = self._disk.get_many(missing) if missing else {}
            self._keep(list(more.items()))
            found = [more.get(key) if data is None else data for key, data in zip(keys, found, strict=True)]
        return found

    def _get(self, key: bytes, now: float) -> bytes | None:
        entry = self._kept.get(key)
        if entry is None:
            return None
        if entry[1] <= now:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return entry[0]

    def _drop(self, key: bytes) -> None:
        self._bytes -= len(self._kept.pop(key)[0]) + ENTRY_BYTES

    def put_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep vectors."""
        self._keep(pairs)
        if self._disk is not None:
            self._disk.put_many(pairs)

    def _keep(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        until = time.monotonic() + self._ttl_s if self._ttl_s else float("inf")
        with self._lock:
            for key, data in pairs:
                if key in self._kept:
                    self._drop(key)
                self._kept[key] = (data, until)
                self._bytes += len(data) + ENTRY_BYTES
            while self._kept and (len(self._kept) > self._entries or self._bytes > self._max_bytes):
                self._drop(next(iter(self._kept)))

    def forget(self, partition: str) -> None:
        """Forget everything of a partition."""
        start = partition_digest(partition)
        with self._lock:
            for key in [key for key in self._kept if key.startswith(start)]:
                self._drop(key)
        if self._disk is not None:
            self._disk.forget(start)

    def stats(self) -> dict[str, int]:
        """Return how many entries are in memory and the bytes they take."""
        with self._lock:
            return {"entries": len(self._kept), "bytes": self._bytes}

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._disk is not None:
            self._disk.close()


class _Disk:
    """The file. Any number of processes may share it."""

    def __init__(self, path: Path, *, rows: int, ttl_s: float) -> None:
        self._path = path
        self._rows = rows
        self._ttl_s = ttl_s
        self._lock = threading.Lock()  # protects the connection
        self._connection: sqlite3.Connection | None = None
        self._broken = False

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            import sqlite3

            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.touch(mode=0o600)
            connection = sqlite3.connect(self._path, timeout=1, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
                if self._ttl_s:
                    connection.execute("DELETE FROM vectors WHERE born <= ?", (time.time() - self._ttl_s,))
                connection.execute(
                    "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY born DESC LIMIT -1 OFFSET ?)",
                    (self._rows,),
                )
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _give_up(self, error: Exception) -> None:
        self._broken = True
        getLogger(__name__).warning(
            "the embedding cache on disk is given up: delete the file to have it anew",
            extra={"path": str(self._path), "reason": str(error)},
        )

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is there."""
        import sqlite3

        oldest = time.time() - self._ttl_s if self._ttl_s else 0.0
        found: dict[bytes, bytes] = {}
        with self._lock:
            if self._broken:
                return found
            try:
                connection = self._open()
                for key in keys:
                    row = connection.execute(
                        "SELECT data FROM vectors WHERE key = ? AND born > ?", (key, oldest)
                    ).fetchone()
                    if row is not None:
                        found[key] = row[0]
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
        return found

    def put_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Write vectors in one transaction."""
        self._write("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", [(*pair, time.time()) for pair in pairs])

    def forget(self, start: bytes) -> None:
        """Remove all keys that begin so."""
        self._write("DELETE FROM vectors WHERE key >= ? AND key < ?", [(start, start + b"\xff" * 33)])

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        import sqlite3

        with self._lock:
            if self._broken:
                return
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    connection.executemany(statement, rows)
                    connection.execute("COMMIT")
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
