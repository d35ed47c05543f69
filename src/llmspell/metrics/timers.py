"""Timers of scripts: laps, events, statistics by name, and folded stacks of timers that lay inside each other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from llmspell.metrics.registry import percentile
from llmspell.metrics.weight import weigh

KEEP = 10_000
KEEP_LAPS = 100_000
NAME_LIMIT = 200
METADATA_LIMIT = 10_000


class Span(NamedTuple):
    """One finished timer; times in seconds of the monotonic clock."""

    name: str
    start: float
    end: float


class Timer:
    """One measurement; `memory` is the number of bytes in use at its start."""

    __slots__ = ("end", "end_memory", "ident", "laps", "memory", "name", "start")

    def __init__(self, ident: str, name: str, memory: int) -> None:
        self.ident = ident
        self.name = name
        self.memory = memory
        self.end_memory: int | None = None
        self.laps: list[tuple[str, float]] = []
        self.end: float | None = None
        self.start = time.perf_counter()

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds until now, or until it was stopped."""
        return ((time.perf_counter() if self.end is None else self.end) - self.start) * 1000


class Timers:
    """The timers of one interpreter; the newest 10 000 are kept. memory: gives the bytes in use."""

    def __init__(self, memory: Callable[[], int]) -> None:
        self._memory = memory
        self._numbers = count(1)
        self._timers: dict[str, Timer] = {}
        self._spans: deque[Span] = deque(maxlen=KEEP)
        self._laps = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=KEEP)

    def start(self, name: str) -> Timer:
        """Start a timer."""
        if len(self._timers) >= KEEP:
            self._laps -= len(self._timers.pop(next(iter(self._timers))).laps)
        timer = Timer(f"timer-{next(self._numbers)}", name[:NAME_LIMIT], self._memory())
        self._timers[timer.ident] = timer
        return timer

    def get(self, ident: str) -> Timer | None:
        """Return a timer that is still kept."""
        return self._timers.get(ident)

    def stop(self, ident: str) -> float | None:
        """Stop a timer and return its milliseconds; None when it was stopped before."""
        timer = self._timers.get(ident)
        if timer is None or timer.end is not None:
            return None
        timer.end = time.perf_counter()
        timer.end_memory = self._memory()
        self._spans.append(Span(timer.name, timer.start, timer.end))
        return timer.elapsed_ms

    def lap(self, ident: str, name: str) -> bool:
        """Note the time under a name; False when the timer was stopped, or 100 000 laps are kept."""
        timer = self._timers.get(ident)
        if timer is None or timer.end is not None:
            return False
        if self._laps >= KEEP_LAPS:
            return False
        self._laps += 1
        timer.laps.append((name[:NAME_LIMIT], timer.elapsed_ms))
        return True

    def record(self, ident: str, name: str, metadata: Any) -> bool:
        """Note an event of a running timer; False when it is unknown or stopped."""
        timer = self._timers.get(ident)
        if timer is None or timer.end is not None:
            return False
        event = {"timer": timer.name, "timer_id": ident, "name": name[:NAME_LIMIT], "ms": timer.elapsed_ms}
        if metadata is not None:
            event["metadata"] = metadata if weigh(metadata) <= METADATA_LIMIT else "(too large to keep)"
        self._events.append(event)
        return True

    def statistics(self) -> dict[str, dict[str, float]]:
        """Return the figures of the stopped timers by name."""
        by_name: dict[str, list[float]] = {}
        for span in self._spans:
            by_name.setdefault(span.name, []).append((span.end - span.start) * 1000)
        figures = {}
        for name, values in sorted(by_name.items()):
            values.sort()
            figures[name] = {
                "count": len(values),
                "total_ms": sum(values),
                "avg_ms": sum(values) / len(values),
                "min_ms": values[0],
                "max_ms": values[-1],
                "p50_ms": percentile(values, 50) or 0.0,
                "p95_ms": percentile(values, 95) or 0.0,
                "p99_ms": percentile(values, 99) or 0.0,
            }
        return figures

    def events(self) -> list[dict[str, Any]]:
        """Return the recorded events, oldest first."""
        return list(self._events)

    def report(self) -> str:
        """Return the figures as a table for people."""
        lines = ["Performance report"]
        figures = self.statistics()
        if not figures:
            return "Performance report\n(no timer was stopped yet)"
        width = max(len(name) for name in figures)
        for name, f in figures.items():
            lines.append(
                f"{name:<{width}}  count {f['count']:.0f}  total {f['total_ms']:.3f} ms  avg {f['avg_ms']:.3f}"
                f"  min {f['min_ms']:.3f}  max {f['max_ms']:.3f}"
                f"  p50 {f['p50_ms']:.3f}  p95 {f['p95_ms']:.3f}  p99 {f['p99_ms']:.3f}"
            )
        return "\n".join(lines)

    def flame_graph(self) -> str:
        """Return folded stacks `a;b;c 12`: microseconds that a stopped timer ran and none inside it did."""
        own: dict[str, float] = {}
        stack: list[tuple[Span, str]] = []
        for span in sorted(self._spans, key=lambda span: (span.start, -span.end)):
            while stack and stack[-1][0].end < span.end:
                stack.pop()
            parent = stack[-1][1] if stack else None
            frame = span.name.replace(";", ",").replace("\n", " ") or "(timer)"
            path = frame if parent is None else f"{parent};{frame}"
            length = span.end - span.start
            own[path] = own.get(path, 0.0) + length
            if parent is not None:
                own[parent] -= length
            stack.append((span, path))
        return "\n".join(f"{path} {max(0, round(seconds * 1e6))}" for path, seconds in sorted(own.items()))

    def memory_snapshot(self) -> dict[str, Any]:
        """Return what the memory did while each kept timer ran."""
        now = self._memory()
        usage = {}
        active = total = 0
        for timer in self._timers.values():
            end = now if timer.end_memory is None else timer.end_memory
            active += timer.end is None
            total += end - timer.memory
            entry = {"start_bytes": timer.memory, "delta_bytes": end - timer.memory}
            usage[timer.name] = entry if timer.end_memory is None else entry | {"end_bytes": end}
        return {
            "timestamp_secs": time.time(),
            "active_trackers": active,
            "total_memory_delta_bytes": total,
            "tracker_memory_usage": usage,
        }
