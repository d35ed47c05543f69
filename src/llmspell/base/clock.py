"""Time as the house writes it: RFC 3339 in UTC with milliseconds, monotonic time for every wait."""

from __future__ import annotations

import time

monotonic = time.monotonic
_last = (0, "1970-01-01T00:00:00")


def rfc3339(epoch: float | None = None) -> str:
    """Return `2025-01-02T03:04:05.678Z` for `epoch` seconds (default: now).

    The calendar is asked once per second: calls, messages and log lines carry a time each.
    """
    global _last
    seconds = time.time() if epoch is None else epoch
    whole = int(seconds // 1)
    known, text = _last
    if known != whole:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _last = (whole, text)
    return f"{text}.{int((seconds - whole) * 1000):03d}Z"
