"""What this process asked of each provider: calls, failures, tokens, money."""

from __future__ import annotations

import threading
from typing import Any

from llmspell.base.types import Usage


class Tally:
    """Counters per provider, mirrored into the metrics of the process; safe from any thread."""

    def __init__(self, metrics: Any) -> None:
        self._counts: dict[str, list[float]] = {}
        self._lock = threading.Lock()  # protects _counts
        self._calls = self._tokens = self._cost = None
        if metrics is not None:
            self._calls = metrics.counter("llmspell_model_calls_total")
            self._tokens = metrics.counter("llmspell_tokens_total")
            self._cost = metrics.counter("llmspell_cost_usd_total")

    def count(self, provider: str, model: str, usage: Usage | None) -> None:
        """Count one call; `usage` None means it failed."""
        with self._lock:
            row = self._counts.setdefault(provider, [0, 0, 0, 0, 0.0])
            row[0] += 1
            if usage is None:
                row[1] += 1
            else:
                row[2] += usage.input_tokens
                row[3] += usage.output_tokens
                row[4] += usage.cost_usd or 0.0

    def read(self, provider: str | None = None) -> dict[str, int | float]:
        """Return the counts of one provider, or their sum."""
        with self._lock:
            rows = list(self._counts.values()) if provider is None else [self._counts.get(provider, [0, 0, 0, 0, 0.0])]
        sums = [sum(column) for column in zip(*rows, strict=True)] if rows else [0, 0, 0, 0, 0.0]
        names = ("requests", "failures", "input_tokens", "output_tokens")
        return {**{name: int(value) for name, value in zip(names, sums, strict=False)}, "cost_usd": float(sums[4])}
