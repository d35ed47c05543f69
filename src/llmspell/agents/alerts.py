"""Alerts on what an agent measures: rules, how long each condition has held, and what fired."""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from llmspell.base.clock import monotonic, rfc3339
from llmspell.errors import ValidationError

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
SEVERITIES = ("info", "warning", "critical")
STATUSES = ("healthy", "degraded", "unhealthy")
CONDITIONS = ("metric_threshold", "error_rate", "health_status")
KEPT = 1000
TICK_S = 1.0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: when `condition` holds for `duration_s`, it fires, and not again for `cooldown_s`."""

    name: str
    severity: str = "warning"
    type: str
    metric: str = ""
    compare: str = ">"
    threshold: float | str = 0
    duration_s: float = 60.0
    cooldown_s: float = 300.0
    enabled: bool = True


def parse(table: Any, metrics: frozenset[str]) -> Rule:
    """Return the rule a table states. Raises ValidationError naming the field."""
    if not isinstance(table, dict) or not isinstance(table.get("name"), str) or not table["name"]:
        raise ValidationError("an alert needs a name and a condition", details={"field": "name"})
    condition = table.get("condition")
    if not isinstance(condition, dict):
        raise ValidationError(f"alert '{table['name']}' needs a condition table", details={"field": "condition"})
    kind = _word(condition, "type", CONDITIONS)
    fields: dict[str, Any] = {}
    if kind == "metric_threshold":
        fields["metric"] = _word(condition, "metric_name", sorted(metrics))
        fields["compare"] = _word(condition, "operator", tuple(OPERATORS))
        fields["threshold"] = _number(condition, "threshold", None)
    elif kind == "error_rate":
        fields["threshold"] = _number(condition, "rate_percent", None)
    else:
        fields["threshold"] = _word(condition, "status", STATUSES)
    return Rule(
        name=table["name"],
        severity=_word(table, "severity", SEVERITIES, default="warning"),
        type=kind,
        duration_s=_number(condition, "duration_seconds", 60.0),
        cooldown_s=_number(table, "cooldown_seconds", 300.0),
        enabled=table.get("enabled") is not False,
        **fields,
    )


def _word(table: dict[str, Any], field: str, allowed: Any, default: str | None = None) -> str:
    value = table.get(field, default)
    if value not in allowed:
        raise ValidationError(
            f"alert field '{field}' must be one of: {', '.join(allowed)}, got {value!r}", details={"field": field}
        )
    return str(value)


def _number(table: dict[str, Any], field: str, default: float | None) -> float:
    value = table.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError(f"alert field '{field}' must be a number, got {value!r}", details={"field": field})
    return value


class Alerts:
    """Rules of one agent and what they fired.

    read: gives the numbers of the agent's metrics and performance. status: gives its health word.
    """

    def __init__(self, agent: str, *, read: Callable[[], dict[str, Any]], status: Callable[[], str]) -> None:
        self.agent = agent
        self.rules: dict[str, Rule] = {}
        self.fired: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._read = read
        self._status = status
        self._since: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._timer: Any = None

    def configure(self, tables: Any) -> None:
        """Add or replace rules by name; all or none. Raises ValidationError."""
        metrics = frozenset(self._read())
        rules = [parse(table, metrics) for table in (tables if isinstance(tables, list) else [tables])]
        for rule in rules:
            self.rules[rule.name] = rule
            self._since.pop(rule.name, None)
        self.watch()

    def check(self) -> None:
        """Look at every rule now."""
        if not self.rules:
            return
        now = monotonic()
        numbers = self._read()
        status = self._status()
        for rule in self.rules.values():
            self._check(rule, numbers, status, now)

    def _check(self, rule: Rule, numbers: dict[str, Any], status: str, now: float) -> None:
        value, holds = self._judge(rule, numbers, status)
        if not rule.enabled or not holds:
            self._since.pop(rule.name, None)
            return
        since = self._since.setdefault(rule.name, now)
        last = self._last.get(rule.name)
        if now - since < rule.duration_s or (last is not None and now - last < rule.cooldown_s):
            return
        self._last[rule.name] = now
        what = {"metric_threshold": f"{rule.metric} {rule.compare}", "error_rate": "error rate over"}
        self.fired.append(
            {
                "name": rule.name,
                "severity": rule.severity,
                "message": f"{what.get(rule.type, 'health is')} {rule.threshold} (now {value})",
                "value": value,
                "threshold": rule.threshold,
                "timestamp": rfc3339(),
                "agent": self.agent,
            }
        )

    def _judge(self, rule: Rule, numbers: dict[str, Any], status: str) -> tuple[Any, bool]:
        if rule.type == "health_status":
            return status, status == rule.threshold
        if rule.type == "error_rate":
            percent = numbers["error_rate"] * 100
            return percent, percent > rule.threshold
        value = numbers[rule.metric]
        return value, OPERATORS[rule.compare](value, rule.threshold)

    def watch(self) -> None:
        """Check every second while rules exist, if an event loop is running on this thread."""
        if self._timer is not None or not self.rules:
            return
        asyncio = sys.modules.get("asyncio")
        if asyncio is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer = loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.check()
        self.watch()

    def close(self) -> None:
        """Stop checking and forget the rules."""
        self.rules.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
