"""MessagePack for plain Python values.

Encoded: None, bool, int, float, str, bytes-like, list, tuple (as list), dict and Mapping with str, int, bool or bytes
keys, aware datetime (back as UTC, microseconds), uuid.UUID, decimal.Decimal, numpy scalars, and one-dimensional float32
and int64 numpy arrays. Everything else is UnsupportedType, unless `default` converts it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from typing_extensions import Buffer

class Limits(NamedTuple):
    """What one call may encode or decode; exceeding a field raises LimitExceeded naming it.

    max_bytes: of the encoded form. max_depth: nested containers, at most 1024. max_items: array elements and map pairs
    of the whole value. max_key_bytes: of one key.
    """

    max_bytes: int = 67_108_864
    max_depth: int = 128
    max_items: int = 1_000_000
    max_key_bytes: int = 65_536

DEFAULT: Limits

class Ext:
    """An extension value of the caller: `code` 16 to 127 and its `data`, written as they are."""

    code: int
    data: bytes
    def __init__(self, code: int, data: bytes) -> None: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

def pack(value: object, *, limits: Limits = ..., default: Callable[[Any], object] | None = None) -> bytes:
    """Encode a value as MessagePack.

    default: called with a value that has no encoding; returns one that has, or an Ext.
    Raises CycleError, UnsupportedType, LimitExceeded, Conflict, each naming the path.
    """

def unpack(data: Buffer, *, limits: Limits = ..., ext: Callable[[int, bytes], object] | None = None) -> Any:
    """Decode MessagePack from any C-contiguous buffer.

    ext: called with (code, data) for extension codes 16 to 127, which are otherwise malformed.
    Raises MalformedData with the offset, LimitExceeded.
    """

def check(value: object, *, limits: Limits = ...) -> int:
    """Return the size in bytes that `pack` would give; raises the same errors."""
