"""What this process asked of each provider: calls, failures, tokens, money."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from llmspell.base.types import Usage

if TYPE_CHECKING:
    from llmspell.metrics import Metrics

_NAMES = ("requests", "failures", "input_tokens", "output_tokens", "cost_usd")


class Tally:
    """Counters per provider, mirrored into the metrics of the process; safe from any thread."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._rows: dict[str, list[float]] = {}
        self._lock = threading.Lock()  # protects _rows
        self._metrics = metrics

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
        status = "error" if usage is None else "ok"
        calls = metrics.counter("llmspell_model_calls_total")
        calls.inc(provider=provider, model=model, status=status)
        if usage is None:
            return
        metrics.histogram("llmspell_model_seconds").observe(latency_ms / 1000, provider=provider)
        tokens = metrics.counter("llmspell_tokens_total")
        tokens.inc(usage.input_tokens, provider=provider, model=model, direction="input")
        tokens.inc(usage.output_tokens, provider=provider, model=model, direction="output")
        if usage.cost_usd:
            metrics.counter("llmspell_cost_usd_total").inc(usage.cost_usd, provider=provider, model=model)

    def read(self, provider: str | None = None) -> dict[str, int | float]:
        """Return the counts of one provider, or their sum."""
        with self._lock:
            rows = [row for name, row in self._rows.items() if provider in (None, name)]
            sums = [sum(row[column] for row in rows) for column in range(len(_NAMES))]
        counts: dict[str, int | float] = {name: int(value) for name, value in zip(_NAMES, sums, strict=True)}
        counts["cost_usd"] = float(sums[-1])
        return counts
