"""What is asked of CSV rows: groups with metrics, checks of cells, samples."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from llmspell.base.csvtable import numeric, typed
from llmspell.base.rules import bad_rule, compile_rules
from llmspell.errors import LimitExceeded, ValidationError

METRICS = ("sum", "avg", "min", "max", "count", "median")
MAX_GROUPS = 100_000
_CALL = re.compile(r"\s*(\w+)\s*(?:\(\s*(.*?)\s*\))?\s*", re.DOTALL)
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)?-(-?\d+(?:\.\d+)?)?")
_SHORT = {"int": "integer", "integer": "integer", "float": "float", "number": "number", "bool": "boolean",
          "boolean": "boolean", "string": "string"}  # fmt: skip


class Groups:
    """Rows collected by the values of some columns. Raises ValidationError for a metric that is none."""

    def __init__(self, columns: list[str], by: list[str], metrics: dict[str, str]) -> None:
        self._by = [(name, columns.index(name)) for name in by]
        self._metrics = {name: _metric(text, columns) for name, text in metrics.items()}
        if not by and not metrics:
            raise ValidationError("give 'metrics', 'group_by' or both")
        self._places = sorted({place for _, place in self._metrics.values() if place is not None})
        self._groups: dict[tuple[str, ...], tuple[list[int], dict[int, list[Any]]]] = {}

    def add(self, row: list[str]) -> None:
        """Take one row. Raises LimitExceeded past 100 000 groups."""
        key = tuple(row[place] for _, place in self._by)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                raise LimitExceeded(
                    f"more than {MAX_GROUPS} groups", details={"resource": "groups", "limit": MAX_GROUPS}
                )
            group = self._groups[key] = ([0], {place: [] for place in self._places})
        group[0][0] += 1
        for place, values in group[1].items():
            if row[place].strip():
                values.append(numeric(row[place]))

    def rows(self) -> list[dict[str, Any]]:
        """Return one map per group, in the order in which groups were met."""
        found = []
        for key, (count, values) in self._groups.items():
            row: dict[str, Any] = {name: typed(text) for (name, _), text in zip(self._by, key, strict=True)}
            for name, (metric, place) in self._metrics.items():
                row[name] = count[0] if place is None else _measure(metric, values[place])
            found.append(row)
        return found


def _metric(text: str, columns: list[str]) -> tuple[str, int | None]:
    hit = _CALL.fullmatch(text)
    if hit is None or hit[1] not in METRICS:
        raise ValidationError(f"bad metric {text!r}: expected sum(col), avg, min, max, count or median")
    if hit[1] == "count" and hit[2] in (None, "", "*"):
        return "count", None
    if hit[2] not in columns:
        raise ValidationError(f"unknown column {hit[2]!r} in metric {text!r}")
    return hit[1], columns.index(hit[2])


def _measure(metric: str, values: list[Any]) -> Any:
    if metric == "count":
        return len(values)
    numbers = [value for value in values if not isinstance(value, str)]
    if metric in ("min", "max"):
        pool = numbers or values
        return (min(pool) if metric == "min" else max(pool)) if pool else None
    if metric == "sum":
        return sum(numbers)
    if not numbers:
        return None
    if metric == "avg":
        return sum(numbers) / len(numbers)
    import statistics

    return statistics.median(numbers)


def cell_check(rule: Any) -> Callable[[str], Iterator[str]]:
    """Return a check of one cell that yields messages. Raises ValidationError, code `bad_rule`."""
    rules = rule if isinstance(rule, list) else [rule]
    checks = [compile_rules(_long(item) if isinstance(item, str) else item) for item in rules]

    def check(cell: str) -> Iterator[str]:
        # Rules of numbers see a number, rules of text the text: a post code keeps its leading zero.
        value, text = typed(cell), cell if cell.strip() else None
        for each, wants_text in zip(checks, texts, strict=True):
            for failure in each(text if wants_text else value, ""):
                yield failure[3]

    texts = [_wants_text(_long(item) if isinstance(item, str) else item) for item in rules]
    return check


def _wants_text(rule: Any) -> bool:
    if not isinstance(rule, dict):
        return False
    kind = rule.get("type")
    if kind == "type":
        return rule.get("expected") == "string"
    return kind in ("length", "pattern", "email", "url", "ip", "date", "custom", "required")


def _long(text: str) -> dict[str, Any]:
    """Return the rule of a short form: `email`, `required`, `int`, `range:1-9`, `regex:^a`."""
    name, mark, rest = text.partition(":")
    name = name.strip().lower()
    if name in ("regex", "pattern") and mark:
        return {"type": "pattern", "regex": rest}
    if name in ("range", "length") and mark:
        hit = _RANGE.fullmatch(rest.strip())
        if hit is None or (hit[1] is None and hit[2] is None):
            raise bad_rule(f"bad rule {text!r}: expected {name}:min-max")
        limits = {"min": hit[1], "max": hit[2]}
        return {"type": name, **{key: numeric(limit) for key, limit in limits.items() if limit is not None}}
    if name == "enum" and mark:
        return {"type": "enum", "values": [typed(item.strip()) for item in rest.split("|")]}
    if name in _SHORT and not mark:
        return {"type": "type", "expected": _SHORT[name]}
    return {"type": name}


def sampled(rows: Iterator[list[str]], size: int, method: str, seed: Any) -> list[list[str]]:
    """Return `size` rows: the first, the last, or random ones in their order.

    Source: Vitter 1985, algorithm R.
    """
    if method == "first":
        return list(islice(rows, size))
    if method == "last":
        return list(deque(rows, maxlen=size))
    chance = random.Random(seed if isinstance(seed, int | float | str) else None)  # noqa: S311 - a sample, no secret
    kept: list[tuple[int, list[str]]] = []
    for number, row in enumerate(rows):
        if len(kept) < size:
            kept.append((number, row))
        elif (place := chance.randrange(number + 1)) < size:
            kept[place] = (number, row)
    return [row for _, row in sorted(kept)]
