"""What a state backend is: ordered rows by physical key, one writer at a time, snapshots, and marks in time.

A backend knows no scope, no value and no clock of expiry: it is given times and bytes. A deleted key leaves a row
without value (a tombstone), so that `changes` can tell of it and the version of the key goes on. A further backend is
one file in this folder with a class `Backend` that passes tests/conformance/test_state_backends.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from llmspell.errors import Conflict

Stamp = tuple[bytes, int, int]


class Row(NamedTuple):
    """One stored key. Times are microseconds since 1970 UTC; `value` None marks a tombstone.

    version: counts the writes of this key from 1. seq: greater than every `mark` taken before the write.
    """

    key: bytes
    value: bytes | None
    version: int
    created: int
    updated: int
    expires: int | None
    seq: int

    @property
    def stamp(self) -> Stamp:
        """Key, version and time of the write: what tells two states of a key apart."""
        return self.key, self.version, self.updated

    def live(self, now: int) -> bool:
        """Tell whether the row has a value at time `now`."""
        return self.value is not None and (self.expires is None or self.expires > now)


class Op(NamedTuple):
    """One write: `value` None deletes. The backend counts the version on and keeps `created` of a live row."""

    key: bytes
    value: bytes | None
    expires: int | None = None


class Expect(NamedTuple):
    """A condition of a commit: [low, high) holds exactly the rows that were `seen` (as `Row.stamp`)."""

    low: bytes
    high: bytes
    seen: tuple[Stamp, ...]


class Report(NamedTuple):
    """What `verify` found: number of rows read and one sentence per damage."""

    rows: int
    errors: list[str]


class Reader(Protocol):
    """One unchanging view."""

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Return the row of each key, tombstones included, None for a key never written."""
        ...

    def scan(self, low: bytes, high: bytes, *, limit: int | None = None) -> Iterator[Row]:
        """Yield the rows with low <= key < high in byte order, tombstones included."""
        ...

    def changes(self, since: int) -> Iterator[Row]:
        """Yield the rows with a `seq` above `since`, in any order."""
        ...


Compute = Callable[[list[Row | None]], Sequence[Op]]


class StateBackend(Protocol):
    """The contract. Any thread. Raises only errors of the storage kind; details hold the path."""

    name: str
    features: frozenset[str]
    """Of `persistent`, `multi_process`, `snapshots`, `ordered`."""
    store_id: str
    """Random text made with the store: marks of two stores are not comparable."""
    pruned: int
    """Tombstones with a `seq` up to this may have been removed."""

    def open(self, location: str, *, read_only: bool = False) -> None:
        """Open or create the store at `location` (a path, or "" where there is none)."""
        ...

    def close(self) -> None:
        """Close. Safe to call twice."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[Row | None]:
        """As Reader.get_many, of now."""
        ...

    def scan(self, low: bytes, high: bytes, *, limit: int | None = None) -> Iterator[Row]:
        """As Reader.scan, of now."""
        ...

    def apply(
        self, ops: Sequence[Op], now: int, *, expect: Sequence[Expect] = (), durability: str = "normal"
    ) -> list[int]:
        """Write all or nothing; return the new version of each key. Raises Conflict when an expectation fails."""
        ...

    def edit(self, keys: Sequence[bytes], compute: Compute, now: int, *, durability: str = "normal") -> list[int]:
        """Read the keys and write what `compute` answers, with no other writer between, in any process.

        `compute` is short, pure code; what it raises passes through and nothing is written.
        """
        ...

    def replace_all(self, rows: Iterable[Row], now: int, *, ranges: Sequence[tuple[bytes, bytes]] | None = None) -> int:
        """Make the store (or only `ranges` of it) hold exactly `rows`, all live, all or nothing; return their number.

        Keys that are not among `rows` become tombstones.
        """
        ...

    def expired(self, now: int, limit: int) -> list[bytes]:
        """Return up to `limit` keys whose time is over and that still have a value."""
        ...

    def mark(self) -> int:
        """Return a number that every later write exceeds with its `seq`, and no earlier one does."""
        ...

    def snapshot(self) -> AbstractContextManager[Reader]:
        """Give an unchanging view that blocks no writer."""
        ...

    def stats(self) -> dict[str, Any]:
        """Return `{entries, bytes, path?}`; bytes as they lie on the disk or in memory."""
        ...

    def verify(self) -> Report:
        """Read the whole store and report damage of its structure."""
        ...

    def compact(self, before: int) -> int:
        """Remove tombstones with a `seq` up to `before` and give space back; return bytes freed."""
        ...


def conflict(condition: Expect) -> Conflict:
    """Return the error of a failed expectation."""
    key = condition.low.decode("utf-8", "replace")
    return Conflict(f"{key!r} was changed by another writer before this one committed: try again", details={"key": key})


def after(prefix: bytes) -> bytes:
    """Return the first key behind every key that begins with `prefix` (which does not end in 0xFF: keys are UTF-8)."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
