"""How much plain data weighs: what scripts hand over is kept outside of their memory limit and needs one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def weigh(data: Any) -> int:
    """Return about how many characters plain data holds; 64 for each value that is no text."""
    total, pending = 0, [data]
    while pending:
        one = pending.pop()
        total += 64
        if isinstance(one, str | bytes):
            total += len(one)
        elif isinstance(one, Mapping):
            pending += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            pending += one
    return total
