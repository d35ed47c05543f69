"""Metrics as text: Prometheus exposition format 0.0.4, and plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

Labels = tuple[tuple[str, str], ...]


class Family(Protocol):
    """What is read of a metric; `series` holds what has `value`, or the fields and `summary` of a histogram."""

    name: str
    kind: Any
    help: str
    series: dict[Labels, Any]


def snapshot(families: Iterable[Family]) -> dict[str, Any]:
    """Return name -> {kind, series: [{labels, value or summary}]}."""
    found: dict[str, Any] = {}
    for family in families:
        series = []
        for labels, one in sorted(family.series.items()):
            held = {"summary": one.summary()} if family.kind == "histogram" else {"value": one.value}
            series.append({"labels": dict(labels), **held})
        if series:
            found[family.name] = {"kind": family.kind, "series": series}
    return found


def prometheus(families: Iterable[Family]) -> str:
    """Return one block of lines per metric that has moved."""
    lines: list[str] = []
    for family in families:
        if not family.series:
            continue
        name = family.name.replace(".", "_")
        if family.help:
            lines.append(f"# HELP {name} {_escape(family.help, quotes=False)}")
        lines.append(f"# TYPE {name} {family.kind}")
        for labels, one in sorted(family.series.items()):
            if family.kind == "histogram":
                lines += _histogram(name, labels, one)
            else:
                lines.append(f"{name}{_labels(labels)} {_number(one.value)}")
    return "".join(line + "\n" for line in lines)


def _histogram(name: str, labels: Labels, one: Any) -> list[str]:
    lines, running = [], 0
    for bound, count in zip((*map(_number, one.bounds), "+Inf"), one.counts, strict=True):
        running += count
        lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {running}")
    lines.append(f"{name}_sum{_labels(labels)} {_number(one.total)}")
    lines.append(f"{name}_count{_labels(labels)} {one.count}")
    return lines


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escape(value)}"' for name, value in labels)
    return "{" + text + "}" if text else ""


def _escape(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    words = {float("inf"): "+Inf", float("-inf"): "-Inf"}
    return words.get(value) or ("NaN" if value != value else repr(value))
