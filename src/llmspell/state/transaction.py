"""Several reads and writes as one commit: a snapshot, the writes kept aside, and a check when they are written.

Optimistic: nobody is blocked while the body runs. What was read is remembered as version stamps, of keys and of
ranges; a commit that finds another stamp raises Conflict, and `StateStore.transaction` runs the body again.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TypeVar

from llmspell.errors import StorageError
from llmspell.state.backends._base import Compute, Expect, Op, Reader, Row, StateBackend
from llmspell.state.values import Coding
from llmspell.state.view import View

T = TypeVar("T")


class Transaction(View):
    """An open transaction; it ends with `commit` or `rollback`. For one thread at a time."""

    def __init__(self, backend: StateBackend, coding: Coding, write: Callable[..., list[int]]) -> None:
        super().__init__(coding)
        self._stack = ExitStack()
        self._reader: Reader = self._stack.enter_context(backend.snapshot())
        self._commit = write
        self._expect: dict[tuple[bytes, bytes], Expect] = {}
        self._writes: dict[bytes, Op] = {}
        self.open = True

    def _check_open(self) -> None:
        if not self.open:
            raise StorageError("the transaction has ended: begin another one", code="closed")

    def _base(self, keys: Sequence[bytes]) -> list[Row | None]:
        rows = self._reader.get_many(keys)
        for key, row in zip(keys, rows, strict=True):
            end = key + b"\0"
            self._expect.setdefault((key, end), Expect(key, end, () if row is None else (row.stamp,)))
        return rows

    def _rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        self._check_open()
        return [self._over(key, row) for key, row in zip(keys, self._base(keys), strict=True)]

    def _over(self, key: bytes, row: Row | None) -> Row | None:
        op = self._writes.get(key)
        if op is None:
            return row
        version = 1 if row is None else row.version + 1
        return Row(key, op.value, version, row.created if row else 0, row.updated if row else 0, op.expires, 0)

    def _scan(self, low: bytes, high: bytes, limit: int | None = None) -> Iterator[Row]:
        self._check_open()
        rows = {row.key: row for row in self._reader.scan(low, high, limit=limit)}
        if limit is not None and len(rows) == limit:
            high = next(reversed(rows)) + b"\0"
        self._expect.setdefault((low, high), Expect(low, high, tuple(row.stamp for row in rows.values())))
        for key in self._writes:
            if low <= key < high:
                over = self._over(key, rows.get(key))
                if over is not None:
                    rows[key] = over
        return iter([rows[key] for key in sorted(rows)][:limit])

    def _write(self, ops: Sequence[Op], durability: str | None = None) -> list[int]:
        return self._edit([op.key for op in ops], lambda _rows: ops, durability)

    def _edit(self, keys: Sequence[bytes], compute: Compute, durability: str | None = None) -> list[int]:
        self._check_open()
        ops = compute(self._rows(keys))
        for op in ops:
            self._writes[op.key] = op
        return [row.version for row in self._rows([op.key for op in ops]) if row is not None]

    def put_raw(self, op: Op) -> None:
        """Write a row that is no value of a scope, with the rest."""
        self._check_open()
        self._writes[op.key] = op

    def transaction(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` inside this transaction."""
        return fn(self)

    def commit(self) -> None:
        """Write everything. Raises Conflict, with nothing written, when something read was changed meanwhile."""
        self._check_open()
        self.rollback()
        if self._writes:
            self._commit(list(self._writes.values()), expect=_covering(self._expect))

    def rollback(self) -> None:
        """Forget everything. Safe to call twice."""
        self.open = False
        self._stack.close()


def _covering(expect: dict[tuple[bytes, bytes], Expect]) -> list[Expect]:
    """Drop the single keys that an expected range covers anyway."""
    ranges = sorted(pair for pair in expect if pair[1] != pair[0] + b"\0")
    lows = [low for low, _ in ranges]
    kept = []
    for (low, high), condition in expect.items():
        at = bisect_left(lows, low + b"\0") - 1
        inside = at >= 0 and high == low + b"\0" and low < ranges[at][1]
        if not inside:
            kept.append(condition)
    return kept


def pause(attempt: int) -> None:
    """Wait a moment before a retry, at most some milliseconds, out of step with other writers."""
    time.sleep(0.0005 * attempt * (1 + time.perf_counter_ns() % 997 / 997))
