"""Identifiers: UUIDv4 text, made without importing `uuid` on the start-up path."""

from __future__ import annotations

import os


def uuid4() -> str:
    """Return a random UUID, version 4, lower case with hyphens. Source: RFC 9562, section 5.4."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def short(n: int = 8) -> str:
    """Return `n` random hex digits."""
    return os.urandom((n + 1) // 2).hex()[:n]
