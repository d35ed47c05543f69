"""The bytes of a stored value: a form byte, MessagePack (deflated when that pays), and a CRC-32 bound to its key.

    0x01  MessagePack       0x02  deflated MessagePack       then 4 bytes CRC-32, big-endian, of key + all before

The checksum covers the physical key, so that a value found under another key is damage too.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from llmspell._core import Limits, pack, unpack
from llmspell.errors import CorruptData

PLAIN, DEFLATED = b"\x01", b"\x02"
_WORTH = 0.9


class Coding(NamedTuple):
    """How values are encoded: the largest size in bytes, and from which size on deflating is tried (None: never)."""

    max_bytes: int = 10_000_000
    deflate_from: int | None = 1024

    def dump(self, key: bytes, value: Any) -> bytes:
        """Encode a value. Raises CycleError, UnsupportedType and LimitExceeded, each naming the path."""
        body = pack(value, limits=Limits(max_bytes=self.max_bytes))
        form = PLAIN
        if self.deflate_from is not None and len(body) > self.deflate_from:
            small = zlib.compress(body, 1)
            if len(small) <= _WORTH * len(body):
                form, body = DEFLATED, small
        body = form + body
        return body + zlib.crc32(body, zlib.crc32(key)).to_bytes(4, "big")

    def load(self, key: bytes, raw: bytes) -> Any:
        """Decode a value; every call gives a new one. Raises CorruptData naming the key."""
        check(key, raw)
        body = raw[1:-4]
        if raw[:1] == DEFLATED:
            opener = zlib.decompressobj()
            body = opener.decompress(body, _ROOM)
        return unpack(body, limits=_READ)


_ROOM = 1 << 30
_READ = Limits(max_bytes=_ROOM, max_items=1 << 30)


def check(key: bytes, raw: bytes) -> None:
    """Raise CorruptData unless the checksum of a stored value is right."""
    if len(raw) < 6 or raw[:1] not in (PLAIN, DEFLATED) or _crc(key, raw) != raw[-4:]:
        shown = key.decode("utf-8", "replace")
        raise CorruptData(
            f"the stored value of {shown!r} is damaged: restore a backup or write the key anew",
            details={"section": shown, "offset": 0},
        )


def _crc(key: bytes, raw: bytes) -> bytes:
    return zlib.crc32(memoryview(raw)[:-4], zlib.crc32(key)).to_bytes(4, "big")
