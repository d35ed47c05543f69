"""Durations and sizes as people write them."""

from __future__ import annotations

import re
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_BYTES = {
    "b": 1, "k": 1024, "kb": 1000, "kib": 1024, "m": 1024**2, "mb": 1000**2, "mib": 1024**2,
    "g": 1024**3, "gb": 1000**3, "gib": 1024**3,
}  # fmt: skip
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")


def seconds(text: str) -> float | None:
    """Return a duration such as `5s`, `2m`, `500ms` in seconds; a bare number is seconds; None when it is neither."""
    return _scaled(text, _SECONDS, "s")


def size(text: str) -> int | None:
    """Return a size such as `10MB`, `10MiB`, `64k` in bytes; k, m and g alone are powers of 1024."""
    found = _scaled(text, _BYTES, "b")
    return None if found is None else int(found)


def _scaled(text: str, units: dict[str, Any], default: str) -> float | None:
    match = _NUMBER.fullmatch(text.strip())
    if match is None or (match[2] or default).lower() not in units:
        return None
    return float(match[1]) * float(units[(match[2] or default).lower()])
