"""Lengths of time and sizes in bytes as people write them."""

from __future__ import annotations

import math
import re
from typing import Any

from llmspell.errors import InvalidArgument

UNITS_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(ms|[wdhms])", re.ASCII | re.IGNORECASE)


def parse_ms(text: Any) -> int:
    """Return the milliseconds of `1h30m`, `1.5s`, `250ms`; a number counts as milliseconds.

    Raises InvalidArgument for anything else, and for a negative or endless length.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        if not math.isfinite(text) or text < 0:
            raise _bad(text)
        return round(text)
    if not isinstance(text, str) or not text.strip() or len(text) > 100:
        raise _bad(text)
    total, at, end = 0.0, 0, len(text.rstrip())
    while at < end:
        hit = _PART.match(text, at)
        if hit is None:
            raise _bad(text)
        total += float(hit[1]) * UNITS_MS[hit[2].lower()]
        at = hit.end()
    return round(total)


def format_ms(ms: float) -> str:
    """Return the shortest exact text of a length, down to milliseconds: `1h30m`, `1m30.5s`, `250ms`."""
    if not math.isfinite(ms):
        raise InvalidArgument(f"a duration must be finite, got {ms}")
    sign, left = ("-" if ms < 0 else ""), round(abs(ms))
    if left < 1000:
        return f"{sign}{left}ms"
    text = sign
    for unit in ("d", "h", "m"):
        count, left = divmod(left, UNITS_MS[unit])
        text += f"{count}{unit}" if count else ""
    return f"{text}{f'{left / 1000:.3f}'.rstrip('0').rstrip('.')}s" if left else text


def format_bytes(size: float) -> str:
    """Return `512 B`, `1.5 KB`, `2 GB`, in steps of 1024 with at most one decimal."""
    if not math.isfinite(size):
        raise InvalidArgument(f"a size must be finite, got {size}")
    number = abs(float(size))
    sign = "-" if size < 0 else ""
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):
        if number < 1023.95 or unit == "PB":
            break
        number /= 1024
    return f"{sign}{f'{number:.1f}'.removesuffix('.0')} {unit}"


def _bad(text: Any) -> InvalidArgument:
    return InvalidArgument(f"bad duration {text!r}: expected such as 1h30m, 45s, 250ms", details={"value": text})
