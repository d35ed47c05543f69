"""What one tool did since the program started. Measured around every call, read by `Tool.stats`."""

from __future__ import annotations

from collections import deque
from typing import Any

_KEPT = 512


class ToolStats:
    """Counters of one tool and the durations of its last 512 calls.

    Written without a lock: each field is one bytecode's update under the interpreter lock, and a lost count of a
    statistic harms nobody. series: of the program's metrics: successes, failures, seconds.
    """

    __slots__ = (
        "_series",
        "active",
        "bytes_out",
        "calls",
        "failures",
        "failures_by_kind",
        "last_error",
        "recent",
        "total_s",
    )

    def __init__(self, series: tuple[Any, Any, Any] | None = None) -> None:
        self._series = series
        self.calls = 0
        self.failures = 0
        self.failures_by_kind: dict[str, int] = {}
        self.recent: deque[float] = deque(maxlen=_KEPT)
        self.total_s = 0.0
        self.bytes_out = 0
        self.active = 0
        self.last_error: str | None = None

    def ended(self, duration_s: float, kind: str | None, message: str | None) -> None:
        """Count one call. kind: of its error, None on success."""
        self.calls += 1
        self.total_s += duration_s
        self.recent.append(duration_s)
        series = self._series
        if series is not None:
            series[kind is not None].inc()
            series[2].observe(duration_s)
        if kind is not None:
            self.failures += 1
            self.failures_by_kind[kind] = self.failures_by_kind.get(kind, 0) + 1
            self.last_error = message

    def to_wire(self) -> dict[str, Any]:
        """Return plain data; times in ms."""
        ordered = sorted(self.recent)

        def percentile(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3) if ordered else 0.0

        wire: dict[str, Any] = {
            "calls": self.calls,
            "failures": self.failures,
            "failures_by_kind": dict(self.failures_by_kind),
            "avg_ms": round(self.total_s / self.calls * 1000, 3) if self.calls else 0.0,
            "p50_ms": percentile(0.50),
            "p95_ms": percentile(0.95),
            "p99_ms": percentile(0.99),
            "bytes_out": self.bytes_out,
            "active": self.active,
        }
        if self.last_error is not None:
            wire["last_error"] = self.last_error
        return wire
