"""Not asking more than a service allows: calls and tokens per minute, and what its headers say is left."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from time import monotonic, time

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
MAX_HOLD_S = 60.0


class Throttle:
    """Token buckets of one provider; safe from any thread. None means no limit.

    Counts are taken before a call; tokens are known only after it and make the next call wait.
    """

    def __init__(self, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        self._requests = requests_per_minute
        self._tokens = tokens_per_minute
        self._requests_left = float(requests_per_minute or 0)
        self._tokens_left = float(tokens_per_minute or 0)
        self._filled = monotonic()
        self._held_until = 0.0
        self._lock = threading.Lock()  # protects the numbers above

    def take(self) -> float:
        """Take one call and return how many seconds to wait before making it."""
        if self._requests is None and self._tokens is None and not self._held_until:
            return 0.0
        with self._lock:
            now = monotonic()
            self._refill(now)
            wait = max(0.0, self._held_until - now)
            if not wait:
                self._held_until = 0.0
            if self._requests is not None:
                self._requests_left -= 1
                wait = max(wait, -self._requests_left * 60 / self._requests)
            if self._tokens is not None:
                wait = max(wait, -self._tokens_left * 60 / self._tokens)
            return wait

    def spend(self, tokens: int) -> None:
        """Take the tokens of a finished call."""
        if self._tokens is not None:
            with self._lock:
                self._tokens_left -= tokens

    def note(self, prefix: str, headers: Mapping[str, str]) -> None:
        """Read rate-limit headers: at nothing left, hold back until the reset they name, at most a minute."""
        for what in ("requests", "tokens"):
            left = headers.get(f"{prefix}remaining-{what}") or headers.get(f"{prefix}{what}-remaining")
            if left is None or left.strip() != "0":
                continue
            reset = headers.get(f"{prefix}reset-{what}") or headers.get(f"{prefix}{what}-reset")
            wait = seconds(reset) if reset else None
            if wait:
                with self._lock:
                    self._held_until = max(self._held_until, monotonic() + min(wait, MAX_HOLD_S))

    def _refill(self, now: float) -> None:
        minutes = (now - self._filled) / 60
        self._filled = now
        if self._requests is not None:
            self._requests_left = min(float(self._requests), self._requests_left + minutes * self._requests)
        if self._tokens is not None:
            self._tokens_left = min(float(self._tokens), self._tokens_left + minutes * self._tokens)


def seconds(text: str) -> float | None:
    """Return a wait written as `6m0s`, `120ms`, plain seconds or an RFC 3339 time; None if it is neither."""
    text = text.strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    from datetime import datetime

    try:
        return max(0.0, datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() - time())
    except ValueError:
        return None
