"""Identifiers: UUIDv4 text, made without importing `uuid` on the start-up path."""

from __future__ import annotations

import os

_AT_ONCE = 64
_ready: list[str] = []


def uuid4() -> str:
    """Return a random UUID, version 4, lower case with hyphens. Source: RFC 9562, section 5.4.

    Made 64 at a time, because asking the system costs more than the rest; a forked child starts with none.
    """
    try:
        return _ready.pop()
    except IndexError:
        return _refill()


def _refill() -> str:
    """Return one more, and leave the others ready. Two threads at once only leave more of them."""
    texts = []
    raw = os.urandom(16 * _AT_ONCE).hex()
    for at in range(0, 32 * _AT_ONCE, 32):
        variant = "89ab"[int(raw[at + 16], 16) & 3]
        texts.append(
            f"{raw[at : at + 8]}-{raw[at + 8 : at + 12]}-4{raw[at + 13 : at + 16]}"
            f"-{variant}{raw[at + 17 : at + 20]}-{raw[at + 20 : at + 32]}"
        )
    mine = texts.pop()
    _ready.extend(texts)
    return mine


def short(n: int = 8) -> str:
    """Return `n` random hex digits."""
    return os.urandom((n + 1) // 2).hex()[:n]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ready.clear)
