"""Answers kept until what they were made from changes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any, NamedTuple


class Kept(NamedTuple):
    """One answer. stamp: of what it was made from; until: seconds since 1970; dies: on the monotonic clock."""

    value: bytes
    stamp: Any
    until: float
    dies: float


class Cache:
    """Encoded answers by key; the least recently used leave first. ttl_s: 0 keeps them until their stamp changes."""

    def __init__(self, *, max_entries: int, max_bytes: int, ttl_s: float = 0) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()  # protects _kept and _bytes

    def get(self, key: bytes, stamp: Any) -> bytes | None:
        """Return an answer whose stamp is this one and that has not expired."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            if found.stamp != stamp or time.time() >= found.until or time.monotonic() >= found.dies:
                self._drop(key)
                return None
            self._kept.move_to_end(key)
            return found.value

    def put(self, key: bytes, value: bytes, *, stamp: Any, until: float | None = None) -> None:
        """Keep an answer, unless it alone is larger than the whole. until: when it expires, whatever the stamp."""
        size = len(key) + len(value)
        if size > self._max_bytes:
            return
        never = float("inf")
        dies = time.monotonic() + self._ttl_s if self._ttl_s else never
        with self._lock:
            self._drop(key)
            self._kept[key] = Kept(value, stamp, never if until is None else until, dies)
            self._bytes += size
            while len(self._kept) > self._max_entries or self._bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._bytes -= len(key) + len(found.value)
