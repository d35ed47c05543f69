"""Time as the house writes it: RFC 3339 in UTC with milliseconds, monotonic time for every wait."""

from __future__ import annotations

import time

monotonic = time.monotonic
_last = (0.0, "1970-01-01T00:00:00")


def rfc3339(epoch: float | None = None) -> str:
    """Return `2025-01-02T03:04:05.678Z` for `epoch` seconds (default: now).

    The calendar is asked once per second: calls, messages and log lines carry a time each.
    """
    global _last
    seconds = time.time() if epoch is None else epoch
    start, text = _last
    part = seconds - start
    if not 0.0 <= part < 1.0:
        start = float(seconds // 1)
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start))
        _last = (start, text)
        part = seconds - start
    return f"{text}.{int(part * 1000):03d}Z"
