"""The reference backend: a dictionary and a sorted list of keys; gone with the process.

Rows are immutable, so a snapshot is a sequence number: while one is open, a replaced row is kept in `_history` and a
reader picks the newest row that is not younger than its number.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from llmspell.base.ids import uuid4
from llmspell.state.backends._base import Compute, Expect, Op, Report, Row, conflict

_PAGE = 1000


class _Snapshot:
    def __init__(self, backend: Backend, seq: int) -> None:
        self._backend = backend
        self.seq = seq

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        return self._backend.rows_at(keys, self.seq)

    def scan(self, low: bytes, high: bytes, *, limit: int | None = None) -> Iterator[Row]:
        return self._backend.scan_at(low, high, self.seq, limit)

    def changes(self, since: int) -> Iterator[Row]:
        return (row for row in self.scan(b"", b"\xff") if row.seq > since)


class Backend:
    """State in the memory of one process."""

    name = "memory"
    features = frozenset({"snapshots", "ordered"})

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[bytes, Row] = {}
        self._keys: list[bytes] = []
        self._seq = 0
        self._open_snapshots: list[int] = []
        self._history: dict[bytes, list[Row]] = {}
        self.store_id = uuid4()
        self.pruned = 0

    def open(self, location: str, *, read_only: bool = False) -> None:
        """Do nothing: there is no location."""

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._rows, self._keys, self._history = {}, [], {}

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Return the newest row of each key."""
        rows = self._rows
        return [rows.get(key) for key in keys]

    def scan(self, low: bytes, high: bytes, *, limit: int | None = None) -> Iterator[Row]:
        """Yield rows in key order."""
        return self.scan_at(low, high, None, limit)

    def rows_at(self, keys: Sequence[bytes], seq: int | None) -> list[Row | None]:
        """Return the row of each key as of commit `seq` (None: now)."""
        with self._lock:
            return [self._at(key, seq) for key in keys]

    def scan_at(self, low: bytes, high: bytes, seq: int | None, limit: int | None) -> Iterator[Row]:
        """Yield rows of a range as of commit `seq`; the lock is held for a page at a time."""
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            with self._lock:
                start, end = bisect_left(self._keys, low), bisect_left(self._keys, high)
                page = self._keys[start : min(end, start + size)]
                rows = [row for key in page if (row := self._at(key, seq)) is not None]
            yield from rows
            if len(page) < size:
                return
            if left is not None:
                left -= len(rows)
            low = page[-1] + b"\0"

    def _at(self, key: bytes, seq: int | None) -> Row | None:
        row = self._rows.get(key)
        if row is None or seq is None or row.seq <= seq:
            return row
        older = [kept for kept in self._history.get(key, ()) if kept.seq <= seq]
        return older[-1] if older else None

    def apply(
        self, ops: Sequence[Op], now: int, *, expect: Sequence[Expect] = (), durability: str = "normal"
    ) -> list[int]:
        """Write all operations when every expectation holds."""
        with self._lock:
            for condition in expect:
                self._check(condition)
            return self._write(ops, now)

    def edit(self, keys: Sequence[bytes], compute: Compute, now: int, *, durability: str = "normal") -> list[int]:
        """Read, compute and write under the one lock."""
        with self._lock:
            rows = self._rows
            return self._write(compute([rows.get(key) for key in keys]), now)

    def _check(self, condition: Expect) -> None:
        start, end = bisect_left(self._keys, condition.low), bisect_left(self._keys, condition.high)
        if tuple(self._rows[key].stamp for key in self._keys[start:end]) != condition.seen:
            raise conflict(condition)

    def _write(self, ops: Sequence[Op], now: int) -> list[int]:
        versions = []
        for op in ops:
            old = self._rows.get(op.key)
            self._seq += 1
            version = 1 if old is None else old.version + 1
            created = old.created if old is not None and old.live(now) else now
            self._put(Row(op.key, op.value, version, created, now, op.expires, self._seq), old)
            versions.append(version)
        return versions

    def _put(self, row: Row, old: Row | None) -> None:
        if old is None:
            insort(self._keys, row.key)
        elif self._open_snapshots:
            self._history.setdefault(row.key, []).append(old)
        self._rows[row.key] = row

    def replace_all(self, rows: Iterable[Row], now: int, *, ranges: Sequence[tuple[bytes, bytes]] | None = None) -> int:
        """Collect the new rows first, then write them and the tombstones under the lock."""
        fresh = {row.key: row for row in rows}
        with self._lock:
            gone = [key for key in self._keys if key not in fresh and self._rows[key].value is not None]
            if ranges is not None:
                gone = [key for key in gone if any(low <= key < high for low, high in ranges)]
            self._write([Op(key, None) for key in gone], now)
            for row in fresh.values():
                self._seq += 1
                self._put(row._replace(seq=self._seq), self._rows.get(row.key))
        return len(fresh)

    def expired(self, now: int, limit: int) -> list[bytes]:
        """Look through all rows."""
        with self._lock:
            over = (row.key for row in self._rows.values() if row.value is not None and not row.live(now))
            return list(islice(over, limit))

    def mark(self) -> int:
        """Return the number of the last write."""
        return self._seq

    @contextmanager
    def snapshot(self) -> Iterator[_Snapshot]:
        """Hold the present commit open for reading."""
        with self._lock:
            seq = self._seq
            self._open_snapshots.append(seq)
        try:
            yield _Snapshot(self, seq)
        finally:
            with self._lock:
                self._open_snapshots.remove(seq)
                if not self._open_snapshots:
                    self._history.clear()

    def stats(self) -> dict[str, Any]:
        """Count live rows and their bytes."""
        with self._lock:
            live = [row for row in self._rows.values() if row.value is not None]
        return {"entries": len(live), "bytes": sum(len(row.key) + len(row.value or b"") for row in live)}

    def verify(self) -> Report:
        """Check that the key list and the rows agree."""
        with self._lock:
            same = sorted(self._rows) == self._keys
            return Report(len(self._keys), [] if same else ["the key list and the rows differ"])

    def compact(self, before: int) -> int:
        """Drop tombstones."""
        with self._lock:
            dead = {key for key, row in self._rows.items() if row.value is None and row.seq <= before}
            for key in dead:
                del self._rows[key]
            self._keys = [key for key in self._keys if key not in dead]
            self.pruned = max(self.pruned, before)
            return sum(len(key) for key in dead)
