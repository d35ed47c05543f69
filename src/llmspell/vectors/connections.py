"""The connections to one collection file: any number read at once, each its own snapshot, while one writes.

A connection is opened when all others are in use, and kept for the next use. A file that rests has none; the next use
opens one again. In memory there is one connection, and one use at a time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from llmspell.errors import ComponentError, NotFound
from llmspell.vectors import files, tenants

if TYPE_CHECKING:
    import sqlite3

    from llmspell.vectors.records import Recorded

_openings = count()
_KEPT = 4
TRUSTED_S = 0.02
_LONGEST_USE_S = 30.0
_SMALL_CACHE_KIB = 256


class Connections:
    """scope: the only one of the file, when it is that of a tenant. recorded: what a new file is made with.

    on_wake: called when a file that rested is used again; it must not call back. Raises NotFound for a file that is
    not there and not to be made.
    """

    def __init__(
        self, path: str, *, durability: str, scope: str | None, recorded: Recorded | None, on_wake: Callable[[], object]
    ) -> None:
        self._path = path
        self._durability = durability
        self._scope = scope
        self._on_wake = on_wake
        self._idle: list[sqlite3.Connection] = []
        self._users = 0
        self._closed = False
        self._gate = threading.Condition()  # protects the three above, for moments only; told when a use ends
        self._writing = threading.Lock()  # held for a whole transaction that writes; in memory for any
        self.opening = next(_openings)  # another one whenever the file may have become another one
        first, self.recorded = self._connect(recorded)
        self._file = None if path == files.MEMORY else os.stat(path).st_ino
        self._looked = 0.0
        self._idle.append(first)

    def _connect(self, recorded: Recorded | None) -> tuple[sqlite3.Connection, Recorded]:
        if recorded is None and self._path != files.MEMORY and not tenants.holds(Path(self._path)):
            raise NotFound(f"{self._path} is gone", details={"path": self._path})
        page_bytes = None if self._scope is None else tenants.PAGE_BYTES
        connection = files.connect(self._path, self._durability, page_bytes=page_bytes)
        try:
            if page_bytes is not None:
                connection.execute(f"PRAGMA cache_size = -{_SMALL_CACHE_KIB}")
            return connection, files.record(connection, self._path, recorded, self._scope)
        except BaseException:
            connection.close()
            raise

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        with self._gate:
            if self._closed:
                raise ComponentError(f"{self._path} is closed", code="closed")
            woken = not self._users and not self._idle
            self._users += 1
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection, self.recorded = self._connect(None)
                if woken:
                    self.opening = next(_openings)
                    self._file = os.stat(self._path).st_ino
                    self._on_wake()
            with files.translated(self._path):
                yield connection
        finally:
            self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection | None) -> None:
        with self._gate:
            self._users -= 1
            keep = connection is not None and not self._closed and len(self._idle) < _KEPT
            if connection is not None and keep:
                self._idle.append(connection)
            elif connection is not None:
                connection.close()
            self._gate.notify_all()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one state of the file to the end of the block."""
        if self._path == files.MEMORY:
            with self._writing, self._borrowed() as connection, files.transaction(connection, write=False):
                yield connection
        else:
            with self._borrowed() as connection, files.transaction(connection, write=False):
                yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give the connection that may write, inside a transaction; the block may commit it itself.

        Raises ComponentError with code `closed` when the file was removed: a write would go nowhere.
        """
        with self._writing, self._borrowed() as connection, files.transaction(connection, write=True):
            if not self.is_current(sure=True) and not self._closed:
                raise ComponentError(f"{self._path} was removed by another process", code="closed")
            yield connection

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """Give a connection outside any transaction while nobody of this process writes."""
        with self._writing, self._borrowed() as connection:
            yield connection

    def exchanged(self, recorded: Recorded) -> None:
        """Note that the file holds other rows from now on."""
        self.recorded = recorded
        self.opening = next(_openings)

    def is_current(self, *, sure: bool = False) -> bool:
        """Tell whether the file is still the one that was opened: another process may have removed it.

        A moment ago is now, unless `sure`.
        """
        if self._closed or self._file is None:
            return not self._closed
        now = time.monotonic()
        if not sure and now - self._looked < TRUSTED_S:
            return True
        try:
            current = os.stat(self._path).st_ino == self._file
        except OSError:
            return False
        self._looked = now
        return current

    def rest(self) -> bool:
        """Close the file until the next use, if nothing uses it now; tell whether it is closed."""
        with self._gate:
            if self._users or self._file is None:
                return False
            resting, self._idle = self._idle, []
        for connection in resting:
            connection.close()
        return True

    def close(self) -> None:
        """Close the file once what is running has ended; nothing new begins."""
        with self._gate:
            self._closed = True
            self._gate.wait_for(lambda: not self._users, timeout=_LONGEST_USE_S)
            resting, self._idle = self._idle, []
        for connection in resting:
            connection.close()
