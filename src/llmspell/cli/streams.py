"""The byte streams of a script on the command line."""

from __future__ import annotations

import sys

from llmspell.errors import CancelledError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from llmspell.cli.output import Output


class Sink:
    """A byte stream for a script. kept: the bytes, when a document wants them; events: where jsonl events go.

    When the reader of `target` is gone, the run is interrupted and further output dropped.
    """

    def __init__(self, name: str, target: BinaryIO | None, *, keep: bool, events: Output | None = None) -> None:
        self.name = name
        self.target = target
        self.kept = bytearray()
        self.keep = keep
        self.events = events
        self.broken = False
        self.interrupt: Any = None

    def write(self, data: bytes) -> int:
        """Take bytes."""
        if self.keep:
            self.kept += data
        if self.events is not None:
            self.events.event("stream", {"name": self.name, "text": bytes(data).decode("utf-8", "replace")})
        if self.target is not None and not self.broken:
            try:
                self.target.write(data)
            except BrokenPipeError:
                self.gone()
        return len(data)

    def flush(self) -> None:
        """Hand on what was taken."""
        if self.target is not None and not self.broken:
            try:
                self.target.flush()
            except BrokenPipeError:
                self.gone()

    def gone(self) -> None:
        """Stop the run: nobody reads."""
        self.broken = True
        if self.interrupt is not None:
            self.interrupt()

    @property
    def text(self) -> str:
        """What was kept, as text."""
        return self.kept.decode("utf-8", "replace")


class Source:
    """Standard input of a script. A signal that comes while a read blocks ends the read: call `interrupted`."""

    def __init__(self) -> None:
        self._reading = False

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, everything without it. Raises CancelledError."""
        return self._ask("read", size)

    def readline(self) -> bytes:
        """Return one line. Raises CancelledError."""
        return self._ask("readline", -1)

    def interrupted(self) -> None:
        """End a blocking read; called from a signal handler, which runs inside it."""
        if self._reading:
            raise _InterruptedReadError

    def _ask(self, method: str, size: int) -> bytes:
        if sys.stdin is None:
            return b""
        self._reading = True
        try:
            found: bytes = getattr(sys.stdin.buffer, method)(size)
        except _InterruptedReadError:
            raise CancelledError("interrupted", code="interrupted") from None
        finally:
            self._reading = False
        return found


class _InterruptedReadError(Exception):
    """A signal came while a read was blocking."""
