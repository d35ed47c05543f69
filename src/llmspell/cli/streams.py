"""The byte streams of a script on the command line."""

from __future__ import annotations

import os
import sys

from llmspell.errors import CancelledError, LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, BinaryIO

    from llmspell.cli.output import Output


class Sink:
    """A byte stream for a script. kept: the bytes, when a document wants them; events: where jsonl events go.

    When the reader of `target` is gone, or its disk full, the run is interrupted and further output dropped.
    """

    def __init__(self, name: str, target: BinaryIO | None, *, keep: bool, events: Output | None = None) -> None:
        self.name = name
        self.target = target
        self.kept = bytearray()
        self.keep = keep
        self.events = events
        self.failure: OSError | None = None
        self.interrupt: Any = None

    def write(self, data: bytes) -> int:
        """Take bytes."""
        if self.keep:
            self.kept += data
        if self.events is not None:
            self.events.event("stream", {"name": self.name, "text": bytes(data).decode("utf-8", "replace")})
        if self.target is not None and self.failure is None:
            try:
                self.target.write(data)
            except OSError as error:
                self.gone(error)
        return len(data)

    def flush(self) -> None:
        """Hand on what was taken."""
        if self.target is not None and self.failure is None:
            try:
                self.target.flush()
            except OSError as error:
                self.gone(error)

    def gone(self, failure: OSError) -> None:
        """Stop the run: nobody reads, or there is no room for what it writes."""
        self.failure = failure
        if self.interrupt is not None:
            self.interrupt()

    @property
    def text(self) -> str:
        """What was kept, as text."""
        return self.kept.decode("utf-8", "replace")


# how long a read blocks at a stretch: a signal that comes just before it does not end the blocking
GLANCE_S = 0.2


class Source:
    """Standard input of a script, with its own buffer over the descriptor.

    A read ends early by a signal (call `interrupted` from its handler), at the wall limit of the run and at its memory
    limit. used: usage of the interpreter by resource, `{limit, used}` each; None for no limits.
    """

    def __init__(self, used: Callable[[], Mapping[str, Mapping[str, Any]]] | None = None) -> None:
        self.used = used
        self._buffer = bytearray()
        self._ended = False
        self._reading = False
        self._stopped = False

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer at the end, everything without a size. Raises CancelledError, LimitExceeded."""
        while (size < 0 or len(self._buffer) < size) and self._fill():
            pass
        self._ended = False  # a terminal goes on after Ctrl-D
        return self._take(len(self._buffer) if size < 0 else size)

    def readline(self) -> bytes:
        """Return one line, empty at the end. Raises CancelledError, LimitExceeded."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if not self._fill():
                self._ended = False
                return self._take(start)
        return self._take(end + 1)

    async def line(self) -> bytes:
        """Return one line, empty at the end, without blocking the loop."""
        while b"\n" not in self._buffer and not self._ended:
            await self._readable()
            self._fill(bounded=False)
        return self.readline() if self._buffer else b""

    def resume(self) -> None:
        """Read again after an interrupt."""
        self._stopped = False

    def interrupted(self) -> None:
        """End a blocking read; called from a signal handler, which runs inside it."""
        self._stopped = True
        if self._reading:
            raise _InterruptedReadError

    def _take(self, size: int) -> bytes:
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _fill(self, *, bounded: bool = True) -> bool:
        """Add what can be read next; tell whether there was anything. bounded: within the limits of a run."""
        if self._ended or sys.stdin is None:
            self._ended = True
            return False
        from select import select

        used = self.used() if bounded and self.used is not None else {}
        _within(used, "memory_bytes", len(self._buffer))
        fd = sys.stdin.fileno()
        self._reading = True
        try:
            if self._stopped:
                raise _InterruptedReadError
            while not select([fd], (), (), GLANCE_S)[0]:
                used = self.used() if bounded and self.used is not None else {}
                _within(used, "wall_time_ms", used["wall_time_ms"]["used"] if used else 0)
            data = os.read(fd, 65536)
        except BlockingIOError:
            return True  # somebody else took it: ask again
        except _InterruptedReadError:
            raise CancelledError("interrupted", code="interrupted") from None
        finally:
            self._reading = False
        self._buffer += data
        self._ended = not data
        return bool(data)

    async def _readable(self) -> None:
        """Wait until a read would not block. Files never do, and no loop watches them."""
        import asyncio

        if sys.stdin is None:
            return
        loop, ready, fd = asyncio.get_running_loop(), asyncio.Event(), sys.stdin.fileno()
        try:
            loop.add_reader(fd, ready.set)
        except OSError:
            return
        try:
            await ready.wait()
        finally:
            loop.remove_reader(fd)


def _within(used: Mapping[str, Mapping[str, Any]], resource: str, reached: int) -> None:
    """Raise LimitExceeded when `reached` is the limit of the resource or more."""
    limit = used[resource]["limit"] if resource in used else 0
    if limit and reached >= limit:
        raise LimitExceeded(
            f"Resource limit exceeded: {resource} (limit {limit}, used {reached})",
            details={"resource": resource, "limit": limit, "used": reached},
        )


class _InterruptedReadError(Exception):
    """A signal came while a read was blocking."""
