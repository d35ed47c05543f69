"""Server-sent events out of arbitrarily cut bytes.

Source: WHATWG HTML, section 9.2.6. Lines are split as bytes and decoded whole, so a character cut between two
chunks is never decoded in halves. A lone CR as line end is not accepted as the last byte of a chunk until the next
byte tells whether an LF follows.
"""

from __future__ import annotations

from typing import NamedTuple

from llmspell.errors import LimitExceeded

MAX_EVENT_BYTES = 16 * 1024 * 1024


class Event(NamedTuple):
    """One event: its type (`message` if unnamed), its data lines joined by LF, and the last id seen."""

    event: str
    data: str
    id: str | None


class SseParser:
    """Feed bytes, get events. One parser serves one response.

    max_event_bytes: an event that grows past it raises LimitExceeded.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.max_event_bytes = max_event_bytes
        self.retry_ms: int | None = None
        self._tail = b""
        self._pieces: list[bytes] = []
        self._held = 0
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id: str | None = None
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes, oldest first."""
        if not self._started:
            chunk = self._strip_bom(chunk)
        if b"\n" not in chunk and b"\r" not in chunk and not self._tail.endswith(b"\r"):
            # Pieces of one long line are joined once, at its end, not at every piece.
            self._pieces.append(chunk)
            self._held += len(chunk)
            if self._size + self._held > self.max_event_bytes:
                raise self._too_large(self._size + self._held)
            return []
        data = b"".join((self._tail, *self._pieces, chunk))
        self._pieces.clear()
        if b"\r" in data:
            held = data.endswith(b"\r")
            data = data[:-1] if held else data
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            rest = b"\r" if held else b""
        else:
            rest = b""
        lines = data.split(b"\n")
        self._tail = lines.pop() + rest
        events: list[Event] = []
        for line in lines:
            if line:
                self._field(line)
            elif self._data:
                events.append(Event(self._event or "message", "\n".join(self._data), self._id))
                self._data = []
                self._event = ""
                self._size = 0
            else:
                self._event = ""
        self._held = len(self._tail)
        if self._size + self._held > self.max_event_bytes:
            raise self._too_large(self._size + self._held)
        return events

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished event are held: true at the end means the stream was cut."""
        return bool(self._tail.strip() or self._pieces or self._data)

    def _strip_bom(self, chunk: bytes) -> bytes:
        """Drop a byte order mark at the very start; it may come in pieces."""
        head = self._tail + chunk
        if len(head) < 3 and b"\xef\xbb\xbf".startswith(head):
            self._tail = head
            return b""
        self._started = True
        self._tail = b""
        return head[3:] if head.startswith(b"\xef\xbb\xbf") else head

    def _field(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._size += len(value)
            if self._size > self.max_event_bytes:
                raise self._too_large(self._size)
            self._data.append(value.decode("utf-8", "replace"))
            return
        if line[:1] == b":":
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"data":
            self._data.append("")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry_ms = int(value)

    def _too_large(self, size: int) -> LimitExceeded:
        return LimitExceeded(
            f"a server-sent event is larger than {self.max_event_bytes} bytes: the server does not end its events",
            details={"resource": "sse_event_bytes", "limit": self.max_event_bytes, "used": size},
        )
