"""What an agent measures of its own runs, and the health that follows from it."""

from __future__ import annotations

import math
from collections import deque
from time import process_time
from typing import TYPE_CHECKING, Any

from llmspell.base.clock import monotonic, rfc3339

if TYPE_CHECKING:
    from llmspell.base.types import Usage

_LOADED, _CPU_THEN = monotonic(), process_time()
KEPT_RUNS = 1000
HEALTH_RUNS = 20
DEGRADED, UNHEALTHY = 0.2, 0.5
COUNTERS = (
    "requests_total",
    "requests_failed",
    "tool_invocations",
    "input_tokens",
    "output_tokens",
    "cost_usd",
)


def _percentile(ordered: list[float], share: float) -> float:
    if not ordered:
        return 0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Measures:
    """Counters and times of one agent. Times are kept for the last 1000 runs."""

    def __init__(self) -> None:
        self.requests_total = 0
        self.requests_failed = 0
        self.requests_active = 0
        self.tool_invocations = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_usd = 0.0
        self._runs: deque[tuple[float, float, bool]] = deque(maxlen=KEPT_RUNS)
        self._ttft: deque[float] = deque(maxlen=KEPT_RUNS)
        self._first: tuple[float, float] | None = None

    def begin(self) -> float:
        """Count a run that starts; returns its start in monotonic seconds."""
        now = monotonic()
        if self._first is None:
            self._first = (now, process_time())
        self.requests_total += 1
        self.requests_active += 1
        return now

    def end(self, started: float, *, ok: bool, usage: Usage | None, tools: int, ttft_ms: float | None = None) -> None:
        """Count a run that ended."""
        now = monotonic()
        self.requests_active -= 1
        self.tool_invocations += tools
        if not ok:
            self.requests_failed += 1
        if usage is not None:
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens
            self.cost_usd += usage.cost_usd or 0.0
        self._runs.append((now, (now - started) * 1000, ok))
        if ttft_ms is not None:
            self._ttft.append(ttft_ms)

    def metrics(self, agent_id: str, memory_bytes: int) -> dict[str, Any]:
        """Return the counters; cpu_percent is the process's share of one core since the first run."""
        cpu = 0.0
        if self._first is not None:
            wall = monotonic() - self._first[0]
            cpu = 100 * (process_time() - self._first[1]) / wall if wall > 0 else 0.0
        return {
            "agent_id": agent_id,
            "requests_total": self.requests_total,
            "requests_failed": self.requests_failed,
            "requests_active": self.requests_active,
            "tool_invocations": self.tool_invocations,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
            "memory_bytes": memory_bytes,
            "cpu_percent": round(cpu, 2),
        }

    def performance(self) -> dict[str, Any]:
        """Return times of the finished runs in milliseconds, and rates between 0 and 1."""
        times = sorted(ms for _, ms, _ in self._runs)
        good = sum(ok for _, _, ok in self._runs)
        now = monotonic()
        success = good / len(times) if times else 1
        return {
            "total_executions": self.requests_total - self.requests_active,
            "avg_execution_time_ms": sum(times) / len(times) if times else 0,
            "p50_ms": _percentile(times, 0.50),
            "p95_ms": _percentile(times, 0.95),
            "p99_ms": _percentile(times, 0.99),
            "max_ms": times[-1] if times else 0,
            "avg_ttft_ms": sum(self._ttft) / len(self._ttft) if self._ttft else 0,
            "success_rate": success,
            "error_rate": 1 - success,
            "throughput_per_minute": sum(now - finished <= 60 for finished, _, _ in self._runs),
        }

    def error_rate(self, *, runs: int = HEALTH_RUNS) -> float:
        """Return the share of failures among the last `runs` runs, 0 before the first."""
        recent = list(self._runs)[-runs:]
        return sum(not ok for _, _, ok in recent) / len(recent) if recent else 0.0

    def health(self, state: str) -> dict[str, Any]:
        """Return status, message and the checks behind it."""
        rate = self.error_rate()
        errors = "unhealthy" if rate > UNHEALTHY else "degraded" if rate > DEGRADED else "healthy"
        by_state = {"Error": "unhealthy", "Terminated": "unhealthy", "Recovering": "degraded"}.get(state, "healthy")
        status = next(word for word in ("unhealthy", "degraded", "healthy") if word in (errors, by_state))
        return {
            "status": status,
            "timestamp": rfc3339(),
            "message": f"state {state}, error rate {rate:.2f} of the last {HEALTH_RUNS} runs",
            "checks": [
                {"name": "state", "status": by_state, "value": state},
                {"name": "error_rate", "status": errors, "value": rate},
            ],
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the counters worth keeping across processes."""
        return {name: getattr(self, name) for name in COUNTERS}

    def restore(self, wire: dict[str, Any]) -> None:
        """Take over counters of `to_wire`."""
        for name in COUNTERS:
            value = wire.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                setattr(self, name, value)


def process_values(agents: int, tools: int) -> dict[str, Any]:
    """Return how many agents and tools there are, and what the process uses."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    uptime = monotonic() - _LOADED
    cpu = process_time()
    return {
        "active_agents": agents,
        "total_tools": tools,
        "performance": {
            "memory_usage_mb": round(used.ru_maxrss / 1024, 1),
            "cpu_usage_percent": round(100 * (cpu - _CPU_THEN) / uptime, 2) if uptime > 0 else 0.0,
            "uptime_seconds": round(uptime, 3),
        },
    }
