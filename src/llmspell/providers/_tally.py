"""What this process asked of each provider: calls, failures, tokens, money."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from llmspell.base.types import Usage

if TYPE_CHECKING:
    from llmspell.metrics import Metrics
    from llmspell.metrics.registry import Family

_NAMES = ("requests", "failures", "input_tokens", "output_tokens", "cost_usd")
_MAX_CELLS = 1000


class Cell:
    """One series of a metric, looked up once; again only after the metric was reset, which gives it a new table."""

    __slots__ = ("_family", "_home", "_labels", "_series")

    def __init__(self, family: Family, labels: dict[str, str]) -> None:
        self._family = family
        self._labels = labels
        self._home: object = None
        self._series: Any = None

    def get(self) -> Any:
        home = self._family.series
        if home is not self._home:
            self._home, self._series = home, self._family.at(self._labels)
        return self._series


class Tally:
    """Counters per provider, mirrored into the metrics of the process; safe from any thread."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._rows: dict[str, list[float]] = {}
        self._lock = threading.Lock()  # protects _rows
        self._metrics = metrics
        self._cells: dict[tuple[str, str], tuple[Cell, ...]] = {}

    def count(self, provider: str, model: str, usage: Usage | None, *, latency_ms: int) -> None:
        """Count one call; `usage` None means it failed."""
        with self._lock:
            row = self._rows.setdefault(provider, [0, 0, 0, 0, 0.0])
            row[0] += 1
            if usage is None:
                row[1] += 1
            else:
                row[2] += usage.input_tokens
                row[3] += usage.output_tokens
                row[4] += usage.cost_usd or 0.0
        if self._metrics is not None:
            self._mirror(self._metrics, provider, model, usage, latency_ms)

    def _mirror(self, metrics: Metrics, provider: str, model: str, usage: Usage | None, latency_ms: int) -> None:
        cells = self._cells.get((provider, model))
        if cells is None:
            if len(self._cells) >= _MAX_CELLS:
                self._cells.clear()
            cells = self._cells[(provider, model)] = _cells(metrics, provider, model)
        ok, failed, sent, made, cost, duration = cells
        if usage is None:
            failed.get().inc()
            return
        ok.get().inc()
        sent.get().inc(usage.input_tokens)
        made.get().inc(usage.output_tokens)
        duration.get().observe(latency_ms / 1000)
        if usage.cost_usd:
            cost.get().inc(usage.cost_usd)

    def read(self, provider: str | None = None) -> dict[str, int | float]:
        """Return the counts of one provider, or their sum."""
        with self._lock:
            rows = [row for name, row in self._rows.items() if provider in (None, name)]
            sums = [sum(row[column] for row in rows) for column in range(len(_NAMES))]
        counts: dict[str, int | float] = {name: int(value) for name, value in zip(_NAMES, sums, strict=True)}
        counts["cost_usd"] = float(sums[-1])
        return counts


def _cells(metrics: Metrics, provider: str, model: str) -> tuple[Cell, ...]:
    name = {"provider": provider, "model": model}
    calls, tokens = metrics.counter("llmspell_model_calls_total"), metrics.counter("llmspell_tokens_total")
    return (
        Cell(calls, {**name, "status": "ok"}),
        Cell(calls, {**name, "status": "error"}),
        Cell(tokens, {**name, "direction": "input"}),
        Cell(tokens, {**name, "direction": "output"}),
        Cell(metrics.counter("llmspell_cost_usd_total"), name),
        Cell(metrics.histogram("llmspell_model_seconds"), {"provider": provider}),
    )
