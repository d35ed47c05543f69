"""Time as the house writes it: RFC 3339 in UTC with milliseconds, monotonic time for every wait."""

from __future__ import annotations

import time

monotonic = time.monotonic


def rfc3339(epoch: float | None = None) -> str:
    """Return `2025-01-02T03:04:05.678Z` for `epoch` seconds (default: now)."""
    seconds = time.time() if epoch is None else epoch
    whole = int(seconds // 1)
    millis = int((seconds - whole) * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{millis:03d}Z"
