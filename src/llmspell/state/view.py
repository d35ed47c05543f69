"""Reading and changing values by scope and key: what the store and a transaction have in common.

`View` turns scopes, keys, times and values into rows and back; a subclass says where rows come from and go to. A time
is in microseconds since 1970 UTC below this file and in seconds, or an aware datetime, above it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from llmspell.base import scope as scopes
from llmspell.base.scope import Scope
from llmspell.errors import AlreadyExists, Conflict, InvalidArgument
from llmspell.state.backends._base import Compute, Op, Row, after
from llmspell.state.values import Coding

if TYPE_CHECKING:
    from datetime import datetime

MAX_TTL = 10 * 365 * 86_400.0
UPDATE_TRIES = 16


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""The value of a key that is not there, for `compare_and_swap`."""


class Entry(NamedTuple):
    """A value with what is known about it; `size` is its stored size in bytes."""

    value: Any
    version: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    size: int


class View(ABC):
    """Values by scope and key. Scope texts are those of `base.scope`; raises InvalidScope and InvalidKey."""

    MISSING = MISSING

    def __init__(self, coding: Coding) -> None:
        self._coding = coding

    @abstractmethod
    def _rows(self, keys: Sequence[bytes]) -> list[Row | None]: ...

    @abstractmethod
    def _scan(self, low: bytes, high: bytes, limit: int | None = None) -> Iterator[Row]: ...

    @abstractmethod
    def _write(self, ops: Sequence[Op], durability: str | None = None) -> list[int]: ...

    @abstractmethod
    def _edit(self, keys: Sequence[bytes], compute: Compute, durability: str | None = None) -> list[int]: ...

    def get(self, key: str, default: Any = None, *, scope: str = "global", inherit: bool = False) -> Any:
        """Return the value of `key`, a private copy; see `load`."""
        return self.load(scope, key, default, inherit=inherit)

    def load(self, scope: str, key: str, default: Any = None, *, inherit: bool = False) -> Any:
        """Return a value, or `default`. inherit: look in the global scope too."""
        raw = scopes.physical_of(scope, key)
        row = self._rows((raw,))[0]
        if row is not None and row.live(micros()):
            return self._coding.load(raw, row.value)  # type: ignore[arg-type]  # a live row has a value
        if inherit and scopes.parse(scope) != scopes.GLOBAL:
            return self.load("global", key, default)
        return default

    def set(
        self,
        key: str,
        value: Any,
        *,
        scope: str = "global",
        ttl: float | None = None,
        if_version: int | None = None,
        durability: str | None = None,
    ) -> int:
        """Write the value of `key`; see `save`."""
        return self.save(scope, key, value, ttl=ttl, if_version=if_version, durability=durability)

    def save(
        self,
        scope: str,
        key: str,
        value: Any,
        *,
        ttl: float | None = None,
        if_version: int | None = None,
        durability: str | None = None,
    ) -> int:
        """Write a value and return its new version, from 1.

        ttl: seconds, at most ten years; none means for ever. if_version: write only over that version, 0 meaning that
        the key must be absent; else Conflict. durability: `normal` or `full`.
        Raises CycleError, UnsupportedType, LimitExceeded before anything is written.
        """
        raw = scopes.physical_of(scope, key)
        now = micros()
        op = Op(raw, self._coding.dump(raw, value), _expiry(ttl, now))
        if if_version is None:
            return self._write((op,), durability)[0]

        def guarded(rows: list[Row | None]) -> list[Op]:
            _expect_version(rows[0], if_version, now, key)
            return [op]

        return self._edit((raw,), guarded, durability)[0]

    def entry(self, scope: str, key: str) -> Entry | None:
        """Return a value with its version, times and size, or None."""
        raw = scopes.physical_of(scope, key)
        row = self._rows((raw,))[0]
        if row is None or row.value is None or not row.live(micros()):
            return None
        expires = None if row.expires is None else _aware(row.expires)
        value = self._coding.load(raw, row.value)
        return Entry(value, row.version, _aware(row.created), _aware(row.updated), expires, len(row.value))

    def exists(self, scope: str, key: str) -> bool:
        """Tell whether the key has a value."""
        row = self._rows((scopes.physical_of(scope, key),))[0]
        return row is not None and row.live(micros())

    def delete(self, scope: str, key: str, *, if_version: int | None = None) -> bool:
        """Remove a value; tell whether there was one. Raises Conflict when `if_version` is not its version."""
        raw = scopes.physical_of(scope, key)
        now = micros()

        def bury(rows: list[Row | None]) -> list[Op]:
            if if_version is not None:
                _expect_version(rows[0], if_version, now, key)
            return [Op(raw, None)] if rows[0] is not None and rows[0].live(now) else []

        return bool(self._edit((raw,), bury))

    def _live(self, scope: Scope, prefix: str = "") -> Iterator[tuple[str, Row]]:
        low = scope.prefix + scopes.nfc(prefix).encode("utf-8", "surrogatepass")
        now = micros()
        start = len(scope.prefix)
        for row in self._scan(low, after(low)):
            if row.live(now):
                yield row.key[start:].decode(), row

    def list_keys(
        self, scope: str = "global", pattern: str = "*", *, limit: int | None = None, after: str | None = None
    ) -> list[str]:
        """Return the keys of a scope, sorted. pattern: `*` any text, `?` one character. after: keys behind this one."""
        fits, prefix = matcher(pattern)
        found: list[str] = []
        for key, _ in self._live(scopes.parse(scope), prefix):
            if limit is not None and len(found) >= limit:
                break
            if fits(key) and (after is None or key > after):
                found.append(key)
        return found

    def get_all(self, scope: str = "global", pattern: str = "*") -> dict[str, Any]:
        """Return all values of a scope by key."""
        fits, prefix = matcher(pattern)
        load = self._coding.load
        rows = self._live(scopes.parse(scope), prefix)
        return {key: load(row.key, row.value) for key, row in rows if row.value is not None and fits(key)}

    def list_scopes(self, kind: str | None = None) -> list[str]:
        """Return the texts of the scopes that have keys, sorted."""
        now = micros()
        found = []
        for one in [kind] if kind else scopes.KINDS:
            low = f"{one}:".encode()
            end = after(low)
            while low < end:
                row = next(self._scan(low, end, 1), None)
                if row is None:
                    break
                pair = scopes.split(row.key)
                if pair is None:
                    break
                if row.live(now) or any(True for _ in self._live(pair[0])):
                    found.append(pair[0].text)
                low = after(pair[0].prefix)
        return sorted(found)

    def clear_scope(self, scope: str) -> int:
        """Remove every key of a scope in one commit; return how many there were."""
        rows = [row for _, row in self._live(scopes.parse(scope))]
        now = micros()

        def bury(current: list[Row | None]) -> list[Op]:
            return [Op(row.key, None) for row in current if row is not None and row.live(now)]

        return len(self._edit([row.key for row in rows], bury)) if rows else 0

    def copy_scope(self, source: str, target: str, *, overwrite: bool = False) -> int:
        """Copy every key to another scope in one commit; return their number. Raises AlreadyExists."""
        return self._transfer(source, target, overwrite=overwrite, move=False)

    def move_scope(self, source: str, target: str, *, overwrite: bool = False) -> int:
        """Move every key to another scope in one commit; return their number. Raises AlreadyExists."""
        return self._transfer(source, target, overwrite=overwrite, move=True)

    def _transfer(self, source: str, target: str, *, overwrite: bool, move: bool) -> int:
        goal = scopes.parse(target)
        if goal == scopes.parse(source):
            raise InvalidArgument("source and target are the same scope", details={"name": "target", "value": target})
        names = [key for key, _ in self._live(scopes.parse(source))]
        keys = [scopes.physical(scopes.parse(source), name) for name in names]
        goals = [scopes.physical(goal, name) for name in names]
        now = micros()

        def transfer(rows: list[Row | None]) -> list[Op]:
            ops = []
            for name, key, row, raw, old in zip(names, keys, rows, goals, rows[len(keys) :], strict=False):
                if row is None or row.value is None or not row.live(now):
                    continue
                if old is not None and old.live(now) and not overwrite:
                    raise AlreadyExists(f"{target} already has the key {name!r}", details={"what": "key", "id": name})
                ops.append(Op(raw, self._coding.dump(raw, self._coding.load(key, row.value)), row.expires))
                if move:
                    ops.append(Op(key, None))
            return ops

        written = len(self._edit(keys + goals, transfer)) if keys else 0
        return written // 2 if move else written

    def _change(self, scope: str, key: str, change: Callable[[Any], Any], *, fresh_ttl: bool = False) -> Any:
        """Replace one value by `change(value or MISSING)`; MISSING as answer deletes. Atomic; keeps the expiry."""
        raw = scopes.physical_of(scope, key)
        now = micros()
        result: list[Any] = []

        def compute(rows: list[Row | None]) -> list[Op]:
            row = rows[0]
            old = MISSING
            expires = None
            if row is not None and row.value is not None and row.live(now):
                old, expires = self._coding.load(raw, row.value), row.expires
            new = change(old)
            result[:] = [new]
            if new is MISSING:
                return [Op(raw, None)] if old is not MISSING else []
            return [Op(raw, self._coding.dump(raw, new), None if fresh_ttl else expires)]

        self._edit((raw,), compute)
        return result[0]

    def increment(self, scope: str, key: str, delta: float = 1, *, initial: float = 0) -> int | float:
        """Add to a number and return the sum; atomic across threads and processes. Raises InvalidArgument."""
        _expect_number(delta, key, "the amount")

        def add(old: Any) -> Any:
            if old is MISSING:
                return initial + delta
            _expect_number(old, key, "the value")
            return old + delta

        total: int | float = self._change(scope, key, add)
        return total

    def append(self, scope: str, key: str, item: Any, *, max_items: int | None = None) -> int:
        """Add to the end of a list and return its new length; atomic. max_items: keep only the newest."""

        def extend(old: Any) -> Any:
            if old is MISSING or old == {}:
                return [item]
            if not isinstance(old, list):
                raise InvalidArgument(
                    f"cannot append to {key!r}: it holds a {_kind(old)}, not a list",
                    details={"name": key, "value": _kind(old), "allowed": "list"},
                )
            old.append(item)
            return old if max_items is None else old[-max_items:]

        return len(self._change(scope, key, extend))

    def compare_and_swap(self, scope: str, key: str, expected: Any, new: Any) -> bool:
        """Write `new` if the value equals `expected`; atomic. MISSING: the key must be absent, or becomes so."""
        swapped = False

        def swap(old: Any) -> Any:
            nonlocal swapped
            swapped = equal(old, expected)
            if not swapped:
                raise _Unchanged
            return new

        try:
            self._change(scope, key, swap, fresh_ttl=True)
        except _Unchanged:
            return False
        return swapped

    def update(self, scope: str, key: str, fn: Callable[[Any], Any]) -> Any:
        """Replace a value (None when absent) by `fn(value)` and return it; `fn` may run again, at most 16 times.

        Raises Conflict when other writers won every time.
        """
        for _ in range(UPDATE_TRIES):
            found = self.entry(scope, key)
            new = fn(None if found is None else found.value)
            try:
                self.save(scope, key, new, if_version=0 if found is None else found.version)
            except Conflict:
                continue
            return new
        raise Conflict(f"{key!r} was changed by other writers {UPDATE_TRIES} times: try again", details={"key": key})

    def expire(self, scope: str, key: str, ttl: float | None) -> bool:
        """Set the rest of the life of a value in seconds, None for ever; False when there is none."""
        raw = scopes.physical_of(scope, key)
        now = micros()
        expires = _expiry(ttl, now)

        def touch(rows: list[Row | None]) -> list[Op]:
            row = rows[0]
            return [Op(raw, row.value, expires)] if row is not None and row.live(now) else []

        return bool(self._edit((raw,), touch))

    def ttl(self, scope: str, key: str) -> float | None:
        """Return the seconds a value has left, or None when it stays or is absent."""
        row = self._rows((scopes.physical_of(scope, key),))[0]
        now = micros()
        if row is None or row.expires is None or not row.live(now):
            return None
        return (row.expires - now) / 1e6


class _Unchanged(Exception):  # noqa: N818 - control flow inside compare_and_swap, never seen outside
    pass


def equal(a: Any, b: Any) -> bool:
    """Compare deeply as Lua does: 1 equals 1.0, true equals no number."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if (a == [] and b == {}) or (a == {} and b == []):
        return True
    return bool(a == b)


def micros() -> int:
    """Return the time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def _aware(micros: int) -> datetime:
    from datetime import UTC, datetime, timedelta

    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _expiry(ttl: float | None, now: int) -> int | None:
    if ttl is None:
        return None
    if not 0 < ttl <= MAX_TTL:
        raise InvalidArgument(
            f"ttl is more than 0 and at most {MAX_TTL:.0f} seconds, not {ttl}",
            details={"name": "ttl", "value": ttl, "allowed": f"0 < ttl <= {MAX_TTL:.0f}"},
        )
    return now + int(ttl * 1e6)


def _expect_version(row: Row | None, wanted: int, now: int, key: str) -> None:
    found = row.version if row is not None and row.live(now) else 0
    if found != wanted:
        raise Conflict(
            f"{key!r} has version {found}, expected was {wanted}",
            details={"key": key, "expected": wanted, "found": found},
        )


def _expect_number(value: Any, key: str, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(
            f"cannot increment {key!r}: {what} is a {_kind(value)}, not a number",
            details={"name": key, "value": _kind(value), "allowed": "number"},
        )


def _kind(value: Any) -> str:
    names = {str: "string", bytes: "string", bool: "boolean", int: "number", float: "number", dict: "table"}
    return "nil" if value is None else names.get(type(value), type(value).__name__)


def matcher(pattern: str) -> tuple[Callable[[str], bool], str]:
    """Return the test of a pattern and the literal prefix that bounds the scan."""
    pattern = scopes.nfc(pattern)
    stars = pattern.find("*")
    marks = pattern.find("?")
    first = min((at for at in (stars, marks) if at >= 0), default=len(pattern))
    prefix = pattern[:first]
    if pattern[first:] == "*":
        return (lambda _key: True), prefix
    import re
    from fnmatch import translate

    expression = re.compile(translate(pattern.replace("[", "[[]")))
    return (lambda key: expression.match(key) is not None), prefix
