"""The one gate through which every effect of a run goes: model, tool, HTTP, clock and random calls.

A journal takes the place of `Direct` to record and to replay; services only know `Effects`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Effects(Protocol):
    """Runs effects. `kind` is `model`, `tool`, `http`, `clock` or `random`; `key` is plain data naming the effect."""

    async def perform(self, kind: str, key: Mapping[str, Any], do: Callable[[], Awaitable[T]]) -> T:
        """Run `do` once, or give its recorded answer."""
        ...


class Direct:
    """Runs every effect at once and keeps nothing."""

    async def perform(self, kind: str, key: Mapping[str, Any], do: Callable[[], Awaitable[T]]) -> T:
        """Run `do`."""
        return await do()
