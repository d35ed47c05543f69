"""Reads one HTTP/1.1 answer out of arbitrarily cut bytes. No input or output of its own. Source: RFC 9112, 6 and 7."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_WIRE_BYTES = 2 * MAX_BODY_BYTES
"""Of everything that is read for one answer: interim answers, lines of chunks and trailers cost time too."""
MAX_CHUNK_LINE_BYTES = 4096
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z\-]+")
_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Malformed(Exception):  # noqa: N818 - never leaves net; the connection turns it into a NetworkError
    """The bytes are no HTTP/1.1 answer, or a too large one; the message continues "<host> ..."."""


class Answer(NamedTuple):
    """A whole answer. Names of headers are in lower case; the first of several wins, lists are not joined."""

    status: int
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class Parser:
    """Feed bytes, get the answer once it is whole. `begun`: a byte came. `rest`: what came after the answer."""

    def __init__(self) -> None:
        self.begun = False
        self.rest = b""
        self._data = b""
        self._status = 0
        self._headers: dict[str, str] = {}
        self._length: int | None = None
        self._chunked = False
        self._keep = False
        self._body = bytearray()
        self._fed = 0
        self._left = 0
        self._ending = False

    def feed(self, data: bytes) -> Answer | None:
        """Return the answer if `data` completes it. Raises Malformed."""
        self.begun = True
        self._fed += len(data)
        if self._fed > MAX_WIRE_BYTES:
            raise Malformed(f"sent more than {MAX_WIRE_BYTES} bytes for one answer")
        self._data = self._data + data if self._data else data
        while not self._status:
            if not self._head():
                return None
        if self._chunked:
            return self._chunks()
        if self._length is None:
            self._collect(self._data)
            self._data = b""
            return None
        if len(self._data) < self._length:
            if self._length - len(self._data) > 65536:
                self._collect(self._data)
                self._length -= len(self._data)
                self._data = b""
            return None
        if not self._body:
            self.rest = self._data[self._length :]
            return Answer(self._status, self._headers, self._data[: self._length], self._keep)
        self._collect(self._data[: self._length])
        self.rest = self._data[self._length :]
        return self._answer()

    def finish(self) -> Answer | None:
        """Return the answer at the end of the connection, if that is what ends it."""
        if self._status and self._length is None and not self._chunked:
            self._keep = False
            return self._answer()
        return None

    def _answer(self) -> Answer:
        return Answer(self._status, self._headers, bytes(self._body), self._keep)

    def _collect(self, piece: bytes) -> None:
        if len(self._body) + len(piece) > MAX_BODY_BYTES:
            raise Malformed(f"sent more than {MAX_BODY_BYTES} bytes")
        self._body += piece

    def _head(self) -> bool:
        """Read the head; False if it is not whole. Interim answers (1xx) are passed over."""
        end = self._data.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._data) > MAX_HEAD_BYTES):
            raise Malformed("sent too large a head")
        if end < 0:
            if not b"HTTP/1.".startswith(self._data[:7]):
                raise Malformed("answered with something that is not HTTP")
            return False
        first, *lines = self._data[:end].split(b"\r\n")
        self._data = self._data[end + 4 :]
        match = _STATUS.fullmatch(first)
        if match is None:
            raise Malformed("answered with something that is not HTTP")
        status = int(match[2])
        if status < 200:
            if status == 101:
                raise Malformed("changed the protocol, which was not asked for")
            return True
        headers = self._headers
        lengths = set()
        for line in lines:
            name, colon, value = line.decode("utf-8", "surrogateescape").partition(":")
            if not colon or not _NAME.fullmatch(name) or _BAD_VALUE.search(value):
                raise Malformed("sent a malformed header")
            name, value = name.lower(), value.strip(" \t")
            if name == "content-length":
                lengths.add(value)
            elif name == "transfer-encoding" and name in headers:
                raise Malformed("sent a body with unclear length")
            elif name == "connection" and name in headers:
                headers[name] += f", {value}"
            headers.setdefault(name, value)
        self._frame(status, lengths, old=match[1] == b"0")
        return True

    def _frame(self, status: int, lengths: set[str], *, old: bool) -> None:
        """Decide how the body ends. Two different lengths, or an unknown coding, are an attack or a defect."""
        headers = self._headers
        coding = headers.get("transfer-encoding", "").lower()
        if coding not in ("", "chunked") or len(lengths) > 1:
            raise Malformed("sent a body with unclear length")
        self._status = status
        self._chunked = coding == "chunked"
        connection = headers.get("connection", "").lower()
        self._keep = "close" not in connection and (not old or "keep-alive" in connection)
        if status in (204, 304):
            self._length, self._chunked = 0, False
        elif self._chunked:
            self._keep = self._keep and not lengths and not old
        elif lengths:
            text = lengths.pop()
            if not (text.isascii() and text.isdigit() and len(text) < 16):
                raise Malformed("sent a body with unclear length")
            self._length = int(text)
            if self._length > MAX_BODY_BYTES:
                raise Malformed(f"announces {self._length} bytes, more than the allowed {MAX_BODY_BYTES}")

    def _chunks(self) -> Answer | None:
        """Take what there is of the chunks; the answer after the last one and its trailers."""
        data, at = self._data, 0
        while True:
            if self._left:
                piece = data[at : at + self._left]
                self._collect(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._ending = True
            if self._ending:
                if len(data) - at < 2:
                    break
                if not data.startswith(b"\r\n", at):
                    raise Malformed("sent a malformed chunk")
                at += 2
                self._ending = False
            end = data.find(b"\r\n", at, at + MAX_CHUNK_LINE_BYTES)
            if end < 0:
                if len(data) - at >= MAX_CHUNK_LINE_BYTES:
                    raise Malformed("sent a malformed chunk")
                break
            size = data[at:end].partition(b";")[0].rstrip(b" \t")
            if not _SIZE.fullmatch(size):
                raise Malformed("sent a malformed chunk")
            self._left = int(size, 16)
            if not self._left:
                self._data = data[at:]
                return self._trailers(end + 2 - at)
            at = end + 2
        self._data = data[at:]
        return None

    def _trailers(self, start: int) -> Answer | None:
        if self._data[start : start + 2] == b"\r\n":
            end = start + 2
        else:
            found = self._data.find(b"\r\n\r\n", start)
            if found < 0:
                if len(self._data) - start > MAX_HEAD_BYTES:
                    raise Malformed("sent too large a trailer")
                return None
            end = found + 4
        self.rest = self._data[end:]
        return self._answer()
