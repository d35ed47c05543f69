"""A whole answer, and the inflating of bodies under a cap."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from llmspell.errors import LimitExceeded, MalformedData, NetworkError

MAX_RATIO = 100
_RATIO_FLOOR_BYTES = 64 * 1024


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. headers: case-insensitive, several of one name keep the first on `[]`; body: inflated bytes.

    redirects: the URLs passed through before `url`; truncated: the body was cut at max_bytes, as asked.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    url: str
    redirects: tuple[str, ...] = ()
    attempts: int = 1
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The charset the server declares, else utf-8."""
        for part in self.headers.get("Content-Type", "").split(";")[1:]:
            name, _, value = part.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip("\"'") or "utf-8"
        return "utf-8"

    def text(self) -> str:
        """Return the body as text; bytes that do not fit the charset are replaced."""
        try:
            return self.body.decode(self.charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the parsed body. Raises MalformedData."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedData(f"the answer is not JSON: {error}", details={"reason": str(error)}) from error


class Inflater:
    """Undoes gzip and deflate piece by piece, never producing more than `limit` bytes plus one.

    A ratio over 100 is refused once 64 KiB came out, so that small repetitive answers pass.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        self.encoding = encoding
        self.limit = limit
        self.taken = 0
        self.given = 0
        self._stream: zlib._Decompress | None = None
        if encoding in ("gzip", "x-gzip"):
            self._stream = zlib.decompressobj(31)
        elif encoding not in ("", "identity", "deflate"):
            raise NetworkError(
                f"the server answered with content encoding {encoding!r}, which was not offered",
                code="bad_encoding",
                retryable=False,
            )

    def feed(self, data: bytes) -> bytes:
        """Return what `data` inflates to. `given > limit` afterwards means the cap is passed."""
        self.taken += len(data)
        if self.encoding in ("", "identity"):
            self.given += len(data)
            return data
        if self._stream is None:
            # Servers send "deflate" both with the zlib header and raw (RFC 9110, 8.4.1.2).
            self._stream = zlib.decompressobj(15 if data[:1] and data[0] & 0x0F == 8 else -15)
        try:
            out = self._inflate(self._stream, data)
        except zlib.error as error:
            raise NetworkError(
                f"the server's {self.encoding} body is damaged: {error}", code="bad_encoding", retryable=False
            ) from error
        if self.given > _RATIO_FLOOR_BYTES and self.given > MAX_RATIO * self.taken:
            raise too_large(self.limit, self.given, f"it inflates to more than {MAX_RATIO} times its size")
        return out

    def _inflate(self, stream: zlib._Decompress, data: bytes) -> bytes:
        out = stream.decompress(data, max(1, self.limit + 1 - self.given))
        self.given += len(out)
        if stream.eof and stream.unused_data and self.encoding != "deflate":
            # gzip allows several members in a row (RFC 1952, 2.2).
            rest = stream.unused_data
            self._stream = zlib.decompressobj(31)
            if self.given <= self.limit and rest.startswith(b"\x1f\x8b"):
                return out + self._inflate(self._stream, rest)
        return out

    @property
    def finished(self) -> bool:
        """Whether a compressed body reached its end mark; plain bodies have none and count as finished."""
        return self._stream is None or self._stream.eof or self.taken == 0


def too_large(limit: int, used: int, reason: str | None = None) -> LimitExceeded:
    """Return the error of a body over its cap."""
    return LimitExceeded(
        f"the response is too large: {reason or f'more than {limit} bytes'}",
        code="response_too_large",
        details={"resource": "response_bytes", "limit": limit, "used": used},
    )
