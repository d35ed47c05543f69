"""Counters, gauges and histograms by name and labels; exact with any number of threads.

A family is one name; a series is one set of label values of it and holds the numbers. Past `MAX_SERIES` sets, further
ones are counted together under `other`. Export: `metrics.export`.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from llmspell.errors import InvalidArgument, LimitExceeded

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]
MAX_SERIES = 1000
MAX_FAMILIES = 5000
MAX_SCRIPT_SERIES = 10_000
PREFIX = "llmspell_"
SAMPLES = 1024
BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.]{0,199}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
_TEXT_LIMIT = 200

BUILT_IN: dict[str, tuple[Kind, str]] = {
    "tool_calls_total": ("counter", "Tool calls by tool and status"),
    "agent_runs_total": ("counter", "Agent runs by status"),
    "model_calls_total": ("counter", "Model calls by provider, model and status"),
    "tokens_total": ("counter", "Tokens by provider, model and direction"),
    "cost_usd_total": ("counter", "Money spent on models, in US dollars"),
    "tool_seconds": ("histogram", "Duration of tool calls"),
    "agent_seconds": ("histogram", "Duration of agent runs"),
    "model_seconds": ("histogram", "Duration of model calls"),
}
"""The product's own metrics, without their prefix."""


class Series:
    """The number of a counter or gauge."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: int | float = 0

    def inc(self, n: float = 1) -> None:
        """Add; integers stay integers."""
        with self._lock:
            self._value += n

    def set(self, value: float) -> None:
        """Replace the number."""
        self._value = value

    @property
    def value(self) -> int | float:
        """The number now."""
        return self._value


class Histogram:
    """Observations: count, sum, extremes and buckets are exact, percentiles come from a sample of 1024.

    The sample is a reservoir (Vitter 1985, algorithm R) with a fixed pseudo-random sequence.
    """

    __slots__ = ("_lock", "_random", "bounds", "count", "counts", "high", "low", "sample", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._lock = threading.Lock()
        self._random = 0x9E3779B9
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.count = 0
        self.total: int | float = 0
        self.low: float | None = None
        self.high: float | None = None
        self.sample: list[float] = []

    def observe(self, value: float) -> None:
        """Add one observation."""
        with self._lock:
            self.counts[bisect_left(self.bounds, value)] += 1
            self.count += 1
            self.total += value
            self.low = value if self.low is None or value < self.low else self.low
            self.high = value if self.high is None or value > self.high else self.high
            if len(self.sample) < SAMPLES:
                self.sample.append(value)
                return
            self._random = (self._random * 1664525 + 1013904223) & 0xFFFFFFFF
            place = self._random * self.count >> 32
            if place < SAMPLES:
                self.sample[place] = value

    def summary(self) -> dict[str, Any]:
        """Return `{count, sum, min, max, avg, p50, p95, p99}`; the last six are None without observations."""
        with self._lock:
            ordered = sorted(self.sample)
            found: dict[str, Any] = {"count": self.count, "sum": self.total, "min": self.low, "max": self.high}
        found["avg"] = found["sum"] / found["count"] if found["count"] else None
        return found | {f"p{share}": percentile(ordered, share) for share in (50, 95, 99)}


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value at or below which `share` percent of the sorted values lie (nearest rank)."""
    if not ordered:
        return None
    return ordered[max(0, int(-(-len(ordered) * share // 100)) - 1)]


class Family:
    """One metric name with its series."""

    def __init__(
        self, name: str, kind: Kind, text: str, *, bounds: Sequence[float], script: bool, taken: Callable[[], int]
    ) -> None:
        self.name = name
        self.kind = kind
        self.help = text
        self.bounds = tuple(bounds)
        self.script = script
        self.series: dict[Labels, Any] = {}
        self._lock = threading.Lock()
        self._taken = taken
        self._allowed: frozenset[str] = frozenset()

    def declare(self, labels: Sequence[str]) -> Family:
        """Allow only these label names from now on; an empty sequence changes nothing."""
        self._allowed |= frozenset(labels)
        return self

    def at(self, labels: Mapping[str, Any]) -> Any:
        """Return the Series or Histogram of a set of labels, made at first use."""
        key = _labels(labels) if labels else ()
        found = self.series.get(key)
        if found is None:
            if self._allowed and not self._allowed.issuperset(labels):
                raise InvalidArgument(f"{self.name} has the labels {', '.join(sorted(self._allowed))}, not {dict(key)}")
            with self._lock:
                if self.script and self._taken() >= MAX_SCRIPT_SERIES:
                    raise LimitExceeded(
                        f"scripts hold {MAX_SCRIPT_SERIES} series of metrics already: reset some or use fewer labels",
                        details={"resource": "metric_series", "limit": MAX_SCRIPT_SERIES, "used": MAX_SCRIPT_SERIES},
                    )
                if len(self.series) >= MAX_SERIES and key not in self.series:
                    key = tuple((name, "other") for name, _ in key)
                made = Histogram(self.bounds) if self.kind == "histogram" else Series()
                found = self.series.setdefault(key, made)
        return found

    def peek(self, labels: Mapping[str, Any]) -> Any:
        """Return the Series or Histogram of a set of labels, or None."""
        return self.series.get(_labels(labels) if labels else ())

    def inc(self, n: float = 1, /, **labels: Any) -> None:
        """Add to a counter or gauge."""
        self.at(labels).inc(n)

    def set(self, value: float, /, **labels: Any) -> None:
        """Set a gauge."""
        self.at(labels).set(value)

    def observe(self, value: float, /, **labels: Any) -> None:
        """Add an observation to a histogram."""
        self.at(labels).observe(value)


class Metrics:
    """All metrics of a process. Any thread. Names starting with `llmspell_` are the product's."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._shown: dict[str, str] = {}
        self._lock = threading.Lock()
        for name, (kind, text) in BUILT_IN.items():
            self._family(PREFIX + name, kind, text, BUCKETS, script=False)

    def _family(self, name: str, kind: Kind, text: str, bounds: Sequence[float], *, script: bool) -> Family:
        found = self._families.get(name)
        if found is None:
            if not isinstance(name, str) or _NAME.fullmatch(name) is None:
                raise InvalidArgument(
                    f"{name!r} is no name of a metric: use letters, digits, '_' and '.', not a digit first",
                    details={"name": "name", "value": str(name), "allowed": _NAME.pattern},
                )
            with self._lock:
                found = self._families.get(name) or self._add(name, kind, text, bounds, script=script)
        if found.kind != kind:
            raise InvalidArgument(
                f"{name} is a {found.kind}, not a {kind}", details={"name": name, "value": kind, "allowed": found.kind}
            )
        return found

    def _script_series(self) -> int:
        return sum(len(family.series) for family in list(self._families.values()) if family.script)

    def _add(self, name: str, kind: Kind, text: str, bounds: Sequence[float], *, script: bool) -> Family:
        shown = name.replace(".", "_")
        if shown in self._shown:
            raise InvalidArgument(f"{name} and {self._shown[shown]} would be exported under one name")
        if len(self._families) >= MAX_FAMILIES:
            raise InvalidArgument(f"there are {MAX_FAMILIES} metrics already: use labels in place of further names")
        self._shown[shown] = name
        family = self._families[name] = Family(
            name, kind, text, bounds=bounds, script=script, taken=self._script_series
        )
        return family

    def counter(self, name: str, help: str = "", labels: Sequence[str] = (), *, script: bool = False) -> Family:  # noqa: A002 - name of the API
        """Return a counter; labels: the names its series may have, any when empty. script: a script owns it.

        Raises InvalidArgument for a bad name, or one that is taken by another kind.
        """
        return self._family(name, "counter", help, (), script=script).declare(labels)

    def gauge(self, name: str, help: str = "", labels: Sequence[str] = (), *, script: bool = False) -> Family:  # noqa: A002 - name of the API
        """Return a gauge; see `counter`."""
        return self._family(name, "gauge", help, (), script=script).declare(labels)

    def histogram(
        self,
        name: str,
        help: str = "",  # noqa: A002 - name of the API
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] | None = None,
        script: bool = False,
    ) -> Family:
        """Return a histogram; buckets: upper bounds, ascending. See `counter`."""
        bounds = BUCKETS if buckets is None else tuple(buckets)
        if list(bounds) != sorted(set(bounds)) or len(bounds) > 100:
            raise InvalidArgument("buckets are at most 100 ascending numbers", details={"name": "buckets"})
        return self._family(name, "histogram", help, bounds, script=script).declare(labels)

    @contextmanager
    def timer(self, name: str, /, **labels: Any) -> Iterator[None]:
        """Observe the seconds that a `with` block took."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.histogram(name).observe(time.perf_counter() - started, **labels)

    def find(self, name: str) -> Family | None:
        """Return a metric by name, or None."""
        return self._families.get(name)

    def names(self) -> list[str]:
        """Return the names of all metrics, sorted."""
        return sorted(self._families)

    def families(self) -> list[Family]:
        """Return all metrics by name."""
        return [self._families[name] for name in self.names()]

    def snapshot(self) -> dict[str, Any]:
        """Return name -> {kind, series: [{labels, value or summary}]}, without metrics that never moved."""
        from llmspell.metrics.export import snapshot

        return snapshot(self.families())

    def prometheus(self) -> str:
        """Return the text exposition format 0.0.4."""
        from llmspell.metrics.export import prometheus

        return prometheus(self.families())

    def reset(self, name: str | None = None, *, script: bool = False) -> None:
        """Forget the numbers of one metric or of all; script: only of metrics that scripts own."""
        for family in self.families():
            if (name is None or family.name == name) and (family.script or not script):
                family.series = {}
                if family.script:
                    with self._lock:
                        self._families.pop(family.name, None)
                        self._shown.pop(family.name.replace(".", "_"), None)


def _labels(labels: Mapping[str, Any]) -> Labels:
    for name, value in labels.items():
        if _LABEL.fullmatch(name) is None or isinstance(value, dict | list):
            raise InvalidArgument(
                f"label {name!r} is wrong: a label has a name of letters, digits and '_', and a plain value",
                details={"name": name},
            )
    return tuple(sorted((name, _shown(value)) for name, value in labels.items()))


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[:_TEXT_LIMIT]
