"""Child processes that answer framed questions: started at first use, reused, killed when late.

A child runs one Python file with an empty environment, in its own session, without files of ours, and answers one
question at a time. Only the thread that asks touches the pipes, so that no descriptor is closed under its hands; the
loop may at most end the process.
"""

from __future__ import annotations

import os
import selectors
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmspell.base.clock import monotonic

if TYPE_CHECKING:
    import asyncio

KEEP = 2
USES = 500
Place = Callable[[], tuple[str, list[str]]]


class Child:
    """One running child."""

    def __init__(self, file: str, arguments: list[str]) -> None:
        self.uses = 0
        self._process = subprocess.Popen(  # noqa: S603 - our own file, no shell, no caller's text among the arguments
            [sys.executable, "-I", file, *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)

    def ask(self, parts: list[bytes], timeout_s: float) -> list[bytes]:
        """Send one frame and return the answer; blocks.

        Raises the builtin TimeoutError, or EOFError when the child ended; the child is closed then.
        """
        deadline = monotonic() + timeout_s
        frame = b"".join(
            [
                struct.pack(">I", len(parts)),
                *(piece for part in parts for piece in (struct.pack(">Q", len(part)), part)),
            ]
        )
        try:
            self._send(frame, deadline)
            (count,) = struct.unpack(">I", self._receive(4, deadline))
            return [self._receive(struct.unpack(">Q", self._receive(8, deadline))[0], deadline) for _ in range(count)]
        except (TimeoutError, EOFError):
            self.close()
            raise

    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process; who waits in `ask` gets EOFError. Any thread."""
        self._process.kill()

    def close(self) -> None:
        """End the process and close its pipes. Only for the thread that may ask."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _send(self, frame: bytes, deadline: float) -> None:
        assert self._process.stdin is not None
        view, fd = memoryview(frame), self._process.stdin.fileno()
        while view:
            self._wait(fd, selectors.EVENT_WRITE, deadline)
            try:
                view = view[os.write(fd, view) :]
            except (BrokenPipeError, ConnectionResetError) as error:
                raise EOFError("the child process ended") from error

    def _receive(self, size: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        fd, chunks, missing = self._process.stdout.fileno(), [], size
        while missing:
            self._wait(fd, selectors.EVENT_READ, deadline)
            chunk = os.read(fd, min(missing, 1 << 20))
            if not chunk:
                raise EOFError("the child process ended")
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    @staticmethod
    def _wait(fd: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(fd, event)
            if not selector.select(max(0.0, deadline - monotonic())):
                raise TimeoutError("the child process is late")


class Pool:
    """Idle children of one kind; `place` tells the file to run and further arguments."""

    def __init__(self, place: Place, memory_bytes: int) -> None:
        self._place = place
        self._memory = memory_bytes
        self._idle: list[Child] = []
        self._pid = os.getpid()
        self._lock = threading.Lock()  # protects _idle and _pid

    async def ask(self, parts: list[bytes], timeout_s: float) -> list[bytes]:
        """Ask an idle child or a new one. Raises as `Child.ask`; cancellation ends the child."""
        import asyncio

        current: list[Child] = []
        asking = asyncio.get_running_loop().run_in_executor(None, self._serve, current, parts, timeout_s)
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            with self._lock:
                for child in current:
                    child.kill()
            asking.add_done_callback(_ignore)
            raise

    def _serve(self, current: list[Child], parts: list[bytes], timeout_s: float) -> list[bytes]:
        child = self._take()
        child.uses += 1
        with self._lock:
            current.append(child)
        try:
            answer = child.ask(parts, timeout_s)
        finally:
            with self._lock:
                current.clear()
        self._give(child)
        return answer

    def _take(self) -> Child:
        with self._lock:
            if self._pid != os.getpid():
                # After a fork the pipes are shared with the parent process: using them would mix two talks.
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        file, arguments = self._place()
        return Child(file, [str(self._memory), *arguments])

    def _give(self, child: Child) -> None:
        with self._lock:
            keep = len(self._idle) < KEEP and child.uses < USES and child.alive()
            if keep:
                self._idle.append(child)
        if not keep:
            child.close()

    def close(self) -> None:
        """End all idle children."""
        with self._lock:
            idle, self._idle = self._idle, []
            mine = self._pid == os.getpid()
        for child in idle if mine else ():
            child.close()


def _ignore(done: asyncio.Future[list[bytes]]) -> None:
    """Take the outcome of an exchange nobody waits for any more."""
    done.exception()


_pools: dict[str, Pool] = {}


def pool(name: str, place: Place, *, memory_bytes: int) -> Pool:
    """Return the pool of that name, made at first use and closed when the process ends."""
    found = _pools.get(name)
    if found is None:
        import atexit

        found = _pools.setdefault(name, Pool(place, memory_bytes))
        atexit.register(found.close)
    return found
