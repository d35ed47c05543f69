"""The state store: opens its backend at first use, counts limits, sweeps expired values, runs transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from llmspell.base import scope as scopes
from llmspell.base.clock import monotonic
from llmspell.base.registry import Registry, nearest
from llmspell.errors import ConfigurationError, Conflict, CorruptData, LimitExceeded
from llmspell.state.backends._base import Compute, Expect, Op, Report, Row, StateBackend, after
from llmspell.state.transaction import Transaction, pause
from llmspell.state.values import Coding, check
from llmspell.state.view import View, matcher, micros

if TYPE_CHECKING:
    from llmspell.config import StatePersistence
    from llmspell.state.backup import Backups
    from llmspell.state.migrations import Migrations

T = TypeVar("T")
BACKENDS = Registry("llmspell.state.backends")
SWEEP_SECONDS = 30.0
SWEEP_BATCH = 1000
_SIZE_EVERY = 64


class Limits(NamedTuple):
    """Bounds of a store; `max_total_bytes` 0 means none. `full` are key patterns written with full durability."""

    max_total_bytes: int = 0
    max_keys_per_scope: int = 1_000_000
    durability: str = "normal"
    full: tuple[str, ...] = ("critical:*",)


def open_store(config: StatePersistence, *, home: Path, folder: Path | None = None) -> StateStore:
    """Make the store of a configuration section; nothing is opened yet. folder: of the file, else the configured one.

    Raises ConfigurationError for an unknown backend.
    """
    coding = Coding(
        config.max_state_size_bytes, config.compression_threshold_bytes if config.compression_enabled else None
    )
    limits = Limits(
        config.max_total_bytes,
        config.max_keys_per_scope,
        "full" if config.flush_interval_ms == 0 else config.durability,
        config.immediate_flush_patterns,
    )
    name = config.backend_type if config.enabled else "memory"
    if folder is None:
        folder = home / "state" if config.path is None else Path(config.path).expanduser()
    location = folder if folder.suffix == ".db" else folder / "state.db"
    return StateStore(name, str(location), coding=coding, limits=limits, backups=home / "backups")


class StateStore(View):
    """Values by scope and key, shared by everything in the process and, with sqlite, between processes. Any thread."""

    def __init__(
        self,
        backend: str,
        location: str = "",
        *,
        coding: Coding | None = None,
        limits: Limits | None = None,
        backups: Path | None = None,
    ) -> None:
        super().__init__(coding or Coding())
        module = BACKENDS.get(backend)
        if module is None:
            known = BACKENDS.names()
            near = nearest(backend, known, limit=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"unknown state backend {backend!r}{hint}: known are {', '.join(known)}")
        self._made: StateBackend = module.Backend()
        self._location = location
        self._limits = limits or Limits()
        self._full = [matcher(pattern) for pattern in self._limits.full]
        self._full_words = [prefix.encode() for _, prefix in self._full]
        self._backup_dir = backups
        self._open_lock = threading.Lock()
        self._opened = False
        self._counts: dict[bytes, int] = {}
        self._writes = 0
        self._used = 0
        self._crowded = False
        self._next_sweep = 0.0
        self._local = threading.local()

    @staticmethod
    def open(url: str, **options: Any) -> StateStore:
        """Make a store of `memory://` or `sqlite:///<path>`. options: keywords of the class."""
        name, mark, rest = url.partition("://")
        if not mark or (name == "sqlite" and not rest.strip("/")):
            raise ConfigurationError(
                f"{url!r} is no address of a state store: use memory:// or sqlite:///path/state.db"
            )
        location = "/" + rest.lstrip("/") if rest.startswith("/") else rest
        if name != "memory":
            options.setdefault("backups", Path(location).parent / "backups")
        return StateStore(name, location, **options)

    @property
    def backend(self) -> StateBackend:
        """The backend, opened."""
        if not self._opened:
            with self._open_lock:
                if not self._opened:
                    self._made.open(self._location)
                    self._opened = True
        return self._made

    @property
    def persistent(self) -> bool:
        """Whether values outlive the process."""
        return "persistent" in self._made.features

    @cached_property
    def backups(self) -> Backups:
        """Backups of this store."""
        from llmspell.state.backup import Backups

        if self._backup_dir is None:
            raise ConfigurationError("this store has no folder for backups: give `backups`")
        return Backups(self, self._backup_dir)

    @cached_property
    def migrations(self) -> Migrations:
        """Schemas of the values and the way from one to another."""
        from llmspell.state.migrations import Migrations

        return Migrations(self)

    @property
    def schema_version(self) -> str:
        """The schema version of the stored values."""
        return self.migrations.current

    def _rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        return self.backend.get_many(keys)

    def _scan(self, low: bytes, high: bytes, limit: int | None = None) -> Iterator[Row]:
        return self.backend.scan(low, high, limit=limit)

    def _write(self, ops: Sequence[Op], durability: str | None = None, *, expect: Sequence[Expect] = ()) -> list[int]:
        backend = self._made if self._opened else self.backend
        now = micros()
        if self._may_be_full(ops):
            self._make_room(ops, now)
        versions = backend.apply(ops, now, expect=expect, durability=self._durability(ops, durability))
        self._count(ops, versions)
        self._sweep_now_and_then()
        return versions

    def _edit(self, keys: Sequence[bytes], compute: Compute, durability: str | None = None) -> list[int]:
        backend = self.backend
        now = micros()
        written: list[Op] = []

        refuse = self._refusal(keys, now)

        def keep(rows: list[Row | None]) -> Sequence[Op]:
            written[:] = compute(rows)
            if refuse is not None:
                refuse(written, rows)
            return written

        word = durability or self._durability([Op(key, b"") for key in keys], None)
        versions = backend.edit(keys, keep, now, durability=word)
        self._count(written, versions)
        self._sweep_now_and_then()
        return versions

    def _durability(self, ops: Sequence[Op], asked: str | None) -> str:
        if asked is not None:
            return asked
        for op in ops:
            if any(word in op.key for word in self._full_words):
                name = op.key[len(_prefix(op.key)) :].decode()
                if any(name.startswith(prefix) and fits(name) for fits, prefix in self._full):
                    return "full"
        return self._limits.durability

    def _may_be_full(self, ops: Sequence[Op]) -> bool:
        """Tell whether a limit must be looked at: it is none of the many writes far below every limit."""
        if self._limits.max_total_bytes:
            return True
        limit, counts = self._limits.max_keys_per_scope, self._counts
        return any(counts.get(_prefix(op.key), 0) >= limit for op in ops)

    def _make_room(self, ops: Sequence[Op], now: int) -> None:
        """Raise LimitExceeded when writing new keys would pass a limit."""
        refuse = self._refusal([op.key for op in ops], now)
        if refuse is not None:
            refuse(ops, self.backend.get_many([op.key for op in ops]))

    def _refusal(self, keys: Sequence[bytes], now: int) -> Callable[[Sequence[Op], Sequence[Row | None]], None] | None:
        """Return what raises LimitExceeded for operations and the rows of their keys; None while there is room."""
        limit, most = self._limits.max_keys_per_scope, self._limits.max_total_bytes
        held: dict[bytes, int] = {}
        for prefix in {_prefix(key) for key in keys}:
            if self._counts.get(prefix, 0) >= limit:
                self._counts[prefix] = self._held(prefix, now)
                if self._counts[prefix] >= limit:
                    held[prefix] = self._counts[prefix]
        self._writes += 1
        if most and (self._crowded or self._writes % _SIZE_EVERY == 1):
            self._used = self.backend.stats()["bytes"]
            self._crowded = self._used >= most
        if not held and not self._crowded:
            return None

        def refuse(ops: Sequence[Op], rows: Sequence[Row | None]) -> None:
            live = {row.key for row in rows if row is not None and row.live(now)}
            for op in ops:
                used = held.get(_prefix(op.key))
                if op.value is None:
                    continue
                if self._crowded:
                    raise _exceeded("state_bytes", f"the state store holds {self._used} bytes", most, self._used)
                if used is not None and op.key not in live:
                    raise _exceeded("keys_per_scope", f"the scope holds {used} keys", limit, used)

        return refuse

    def _count(self, ops: Sequence[Op], versions: Sequence[int]) -> None:
        if 1 not in versions:
            return
        for op, version in zip(ops, versions, strict=False):
            if version == 1:
                prefix = _prefix(op.key)
                known = self._counts.get(prefix)
                self._counts[prefix] = self._held(prefix, micros()) if known is None else known + 1

    def _held(self, prefix: bytes, now: int) -> int:
        return sum(1 for row in self._scan(prefix, after(prefix)) if row.live(now))

    def forget_counts(self) -> None:
        """Count keys anew: the content was replaced."""
        self._counts.clear()

    def _sweep_now_and_then(self) -> None:
        at = monotonic()
        if at >= self._next_sweep:
            first, self._next_sweep = self._next_sweep == 0.0, at + SWEEP_SECONDS
            if not first:
                self.sweep()

    def sweep(self) -> int:
        """Remove values whose time is over, which nobody sees any more; return their number."""
        swept = 0
        while True:
            now = micros()
            keys = self.backend.expired(now, SWEEP_BATCH)

            def bury(rows: list[Row | None], now: int = now) -> list[Op]:
                over = [row for row in rows if row is not None and row.value is not None and not row.live(now)]
                return [Op(row.key, None) for row in over]

            swept += len(self.backend.edit(keys, bury, now)) if keys else 0
            if len(keys) < SWEEP_BATCH:
                return swept

    def begin(self) -> Transaction:
        """Open a transaction that ends with its `commit` or `rollback`."""
        return Transaction(self.backend, self._coding, self._write)

    def transaction(self, fn: Callable[[Transaction], T], *, retries: int = 5, timeout: float = 5.0) -> T:
        """Run `fn` on a transaction, commit, and return what it returned.

        When another writer was first `fn` runs again, at most `retries` times and for `timeout` seconds; then Conflict.
        What `fn` raises passes through and nothing is written. A call inside another one of this thread joins it.
        """
        outer: Transaction | None = getattr(self._local, "transaction", None)
        if outer is not None and outer.open:
            return fn(outer)
        deadline = monotonic() + timeout
        attempt = 0
        while True:
            tx = self._local.transaction = self.begin()
            try:
                result = fn(tx)
                tx.commit()
                return result
            except Conflict:
                attempt += 1
                if attempt > retries or monotonic() > deadline:
                    raise
            finally:
                tx.rollback()
                self._local.transaction = None
            pause(attempt)

    def usage(self, scope: str | None = None) -> dict[str, int]:
        """Return `{keys, bytes, expired}` of a scope or of the whole store; bytes of keys and stored values."""
        low, high = (b"", b"\xff") if scope is None else (p := scopes.parse(scope).prefix, after(p))
        now = micros()
        keys = size = expired = 0
        for row in self._scan(low, high):
            if row.live(now):
                keys += 1
                size += len(row.key) + len(row.value or b"")
            elif row.value is not None:
                expired += 1
        return {"keys": keys, "bytes": size, "expired": expired}

    def flush(self) -> int:
        """Make every write so far survive a loss of power; return 0, for none waits in memory."""
        if self._opened and self.persistent:
            self.backend.mark()
        return 0

    def verify(self) -> Report:
        """Check the structure of the store and the checksum of every value."""
        report = self.backend.verify()
        errors = list(report.errors)
        for row in self._scan(b"", b"\xff"):
            try:
                if row.value is not None and scopes.split(row.key) is not None:
                    check(row.key, row.value)
            except CorruptData as damage:
                errors.append(damage.message)
        return Report(report.rows, errors)

    def compact(self) -> int:
        """Sweep, drop what a later incremental backup no longer needs, give space back; return the bytes freed."""
        self.sweep()
        return self.backend.compact(self.backend.mark())

    def close(self) -> None:
        """Close. Safe to call twice; a later use opens the store again."""
        with self._open_lock:
            if self._opened:
                self._opened = False
                self._made.close()


def _prefix(key: bytes) -> bytes:
    return key[: key.index(b":", key.index(b":") + 1) + 1]


def _exceeded(resource: str, what: str, limit: int, used: int) -> LimitExceeded:
    details = {"resource": resource, "limit": limit, "used": used}
    return LimitExceeded(f"{what} and {limit} are allowed: delete some first", details=details)
