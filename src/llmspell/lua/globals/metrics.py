"""`Metrics`: counters, gauges, histograms and timers of scripts; the product's own are there to be read."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Any

from llmspell.errors import InvalidArgument, LimitExceeded
from llmspell.lua.globals._base import Handle

if TYPE_CHECKING:
    from typing import ClassVar

    from llmspell.app import App

MAX_TIMERS = 10_000
MAX_HANDLES = 30_000
_MS_BUCKETS = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)


class _Methods:
    """What the handles of one kind share: their metric is found anew at each call, so that a reset does no harm."""

    of_global: ClassVar[bool] = True

    def __init__(self, owner: Global) -> None:
        self._owner = owner

    def _at(self, ident: str) -> Any:
        found = self._owner.described.get(ident) or self._owner.timers_made.get(ident)
        if found is None:
            raise InvalidArgument("this timer is too old: make another one", details={"name": "timer"})
        kind, name, labels, buckets = found
        return self._owner.series(kind, name, labels, buckets)


class CounterMethods(_Methods):
    """Methods of a counter handle."""

    def inc(self, ident: str, n: float | None = None) -> None:
        """Add `n`, 1 if not given."""
        self._at(ident).inc(_positive(1 if n is None else n))

    def value(self, ident: str) -> int | float:
        """Return the number."""
        number: int | float = self._at(ident).value
        return number


class GaugeMethods(_Methods):
    """Methods of a gauge handle."""

    def set(self, ident: str, v: float) -> None:
        """Replace the number."""
        self._at(ident).set(v)

    def inc(self, ident: str, n: float | None = None) -> None:
        """Add `n`, 1 if not given."""
        self._at(ident).inc(1 if n is None else n)

    def dec(self, ident: str, n: float | None = None) -> None:
        """Subtract `n`, 1 if not given."""
        self._at(ident).inc(-1 if n is None else -n)

    def value(self, ident: str) -> int | float:
        """Return the number."""
        number: int | float = self._at(ident).value
        return number


class HistogramMethods(_Methods):
    """Methods of a histogram handle."""

    def observe(self, ident: str, v: float) -> None:
        """Add an observation."""
        self._at(ident).observe(v)

    def summary(self, ident: str) -> dict[str, Any]:
        """Return `{count, sum, min, max, avg, p50, p95, p99}`."""
        return _summary(self._at(ident))


class TimerMethods(_Methods):
    """Methods of a timer handle; `time` is in `metrics.lua`."""

    def stop(self, ident: str) -> float | None:
        """Observe the milliseconds since the timer was made and return them; nil when it was stopped before."""
        started = self._owner.started.pop(ident, None)
        if started is None:
            return None
        spent = (time.perf_counter() - started) * 1000
        self._at(ident).observe(spent)
        return spent

    def restart(self, ident: str) -> None:
        """Measure from now on; `metrics.lua` takes this name out of the methods."""
        self._at(ident)
        self._owner.started[ident] = time.perf_counter()


class Global:
    """See the module."""

    handles: ClassVar[dict[str, type]] = {
        "counter": CounterMethods,
        "gauge": GaugeMethods,
        "histogram": HistogramMethods,
        "metric_timer": TimerMethods,
    }

    def __init__(self, app: App, lane: Any) -> None:
        self._app = app
        self._numbers = count(1)
        self._idents: dict[Any, str] = {}
        self.described: dict[str, tuple[str, str, dict[str, Any], Any]] = {}
        self.timers_made: dict[str, tuple[str, str, dict[str, Any], Any]] = {}
        self.started: dict[str, float] = {}

    def series(self, kind: str, name: str, labels: dict[str, Any], buckets: Any = None) -> Any:
        """Return what holds the numbers; `metrics.lua` takes this name out of the table."""
        if name.startswith("llmspell_"):
            raise InvalidArgument(
                f"{name} belongs to llmspell and can only be read: choose a name without the prefix llmspell_",
                details={"name": "name", "value": name},
            )
        metrics = self._app.metrics
        if kind == "histogram":
            return metrics.histogram(name, buckets=buckets, script=True).at(labels)
        return getattr(metrics, kind)(name, script=True).at(labels)

    def _handle(self, kind: str, name: str, labels: Any, buckets: Any = None, *, of: str | None = None) -> Handle:
        given = dict(labels or {})
        self.series(kind, name, given, buckets)
        key = (of or kind, name, tuple(sorted((k, str(v)) for k, v in given.items())))
        ident = None if of else self._idents.get(key)
        if ident is None:
            if of is None and len(self.described) >= MAX_HANDLES:
                details = {"resource": "metric_handles", "limit": MAX_HANDLES, "used": MAX_HANDLES}
                raise LimitExceeded(f"a script holds at most {MAX_HANDLES} handles of metrics", details=details)
            ident = f"metric-{next(self._numbers)}"
            if of is None:
                self._idents[key] = ident
                self.described[ident] = (kind, name, given, buckets)
            else:
                self.timers_made[ident] = (kind, name, given, buckets)
        return Handle(of or kind, ident, text=name)

    def counter(self, name: str, labels: dict | None = None) -> Handle:  # type: ignore[type-arg]  # the contract wants the bare word
        """Return a counter."""
        return self._handle("counter", name, labels)

    def gauge(self, name: str, labels: dict | None = None) -> Handle:  # type: ignore[type-arg]  # the contract wants the bare word
        """Return a gauge."""
        return self._handle("gauge", name, labels)

    def histogram(self, name: str, labels: dict | None = None, options: dict | None = None) -> Handle:  # type: ignore[type-arg]  # the contract wants the bare word
        """Return a histogram; option `buckets`: ascending upper bounds."""
        buckets = (options or {}).get("buckets")
        if buckets is not None and not (
            isinstance(buckets, list) and all(isinstance(b, int | float) and not isinstance(b, bool) for b in buckets)
        ):
            raise InvalidArgument("option 'buckets' is a list of numbers", details={"name": "buckets"})
        return self._handle("histogram", name, labels, buckets)

    def timer(self, name: str, labels: dict | None = None) -> Handle:  # type: ignore[type-arg]  # the contract wants the bare word
        """Return a running timer of a histogram in milliseconds."""
        buckets = None if self._app.metrics.find(name) is not None else _MS_BUCKETS
        handle = self._handle("histogram", name, labels, buckets, of="metric_timer")
        if len(self.timers_made) > MAX_TIMERS:
            oldest = next(iter(self.timers_made))
            del self.timers_made[oldest]
            self.started.pop(oldest, None)
        self.started[handle.ident] = time.perf_counter()
        return handle

    def increment(self, name: str, n: float | None = None, labels: dict | None = None) -> None:  # type: ignore[type-arg]  # the contract wants the bare word
        """Add to a counter."""
        self.series("counter", name, labels or {}).inc(_positive(1 if n is None else n))

    def set(self, name: str, v: float, labels: dict | None = None) -> None:  # type: ignore[type-arg]  # the contract wants the bare word
        """Set a gauge."""
        self.series("gauge", name, labels or {}).set(v)

    def observe(self, name: str, v: float, labels: dict | None = None) -> None:  # type: ignore[type-arg]  # the contract wants the bare word
        """Add an observation to a histogram."""
        self.series("histogram", name, labels or {}).observe(v)

    def get(self, name: str, labels: dict | None = None) -> Any:  # type: ignore[type-arg]  # the contract wants the bare word
        """Return a number, the summary of a histogram, or nil."""
        family = self._app.metrics.find(name)
        one = None if family is None else family.peek(labels or {})
        if family is None or one is None:
            return None
        return _summary(one) if family.kind == "histogram" else one.value

    def list(self) -> Any:
        """Return the names, sorted."""
        return self._app.metrics.names()

    def snapshot(self) -> dict[str, Any]:
        """Return all numbers."""
        return self._app.metrics.snapshot()

    def export(self, format: str | None = None) -> str:  # noqa: A002 - name of the API
        """Return all numbers as `prometheus` text or as `json`."""
        word = format or "prometheus"
        if word == "json":
            from llmspell.base.jsontext import dumps

            return dumps(self._app.metrics.snapshot(), nan="null")
        if word != "prometheus":
            raise InvalidArgument(f"unknown format {word!r}: use prometheus or json", details={"name": "format"})
        return self._app.metrics.prometheus()

    def reset(self, name: str | None = None) -> None:
        """Forget the numbers of one metric or of all, but none of llmspell's."""
        if name is not None and name.startswith("llmspell_"):
            raise InvalidArgument(f"{name} belongs to llmspell and cannot be reset", details={"name": "name"})
        self._app.metrics.reset(name, script=True)


def _positive(n: float) -> float:
    if n < 0:
        raise InvalidArgument(f"a counter only goes up, got {n}: use a gauge", details={"name": "n", "value": n})
    return n


def _summary(one: Any) -> dict[str, Any]:
    return {name: value for name, value in one.summary().items() if value is not None}
