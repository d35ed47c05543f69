"""Graphs built and saved aside: one thread per collection that needs one, gone when there is nothing to do."""

from __future__ import annotations

import atexit
import threading
import time
from logging import getLogger
from typing import TYPE_CHECKING
from weakref import WeakSet

from llmspell.vectors import rows
from llmspell.vectors.attributes import Columns
from llmspell.vectors.indexes import Live

if TYPE_CHECKING:
    from llmspell.vectors.connections import Connections
    from llmspell.vectors.indexes import Indexes

_SAVE_AFTER = 5000  # changes, or a fifth of the index when that is more
_SAVE_AT_END = 256  # changes; fewer are applied again at the next opening
_PATIENCE_S = 0.1
_log = getLogger(__name__)
_busy: WeakSet[Worker] = WeakSet()  # workers that ever had a thread
_building = threading.Semaphore(2)  # graphs that the process builds at once


class Worker:
    """durability: `none` saves without waiting for the disk."""

    def __init__(self, indexes: Indexes, connections: Connections, *, durability: str) -> None:
        self._indexes = indexes
        self._connections = connections
        self._sync = durability != "none"
        self._jobs: list[int] = []
        self._failed: set[int] = set()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.build_ms = 0.0  # time spent building
        self._written = 0
        self._lock = threading.Lock()  # protects the jobs and the thread
        indexes.on_load = self.consider

    def consider(self, number: int) -> None:
        """Have the graph of a scope built or saved, when it is time."""
        live = self._indexes.get(number)
        if live is not None and number not in self._failed and self._is_due(live):
            self._want(number)

    def _want(self, number: int) -> None:
        with self._lock:
            if number not in self._jobs and not self._stop.is_set():
                self._jobs.append(number)
                if self._thread is None:
                    _busy.add(self)
                    self._thread = threading.Thread(target=self._run, name="llmspell-graph", daemon=True)
                    self._thread.start()

    def saves_first(self) -> bool:
        """Tell whether graphs are built or have to be saved, which then begins, before their file may rest."""
        for number, live in self._indexes.loaded():
            if live.is_graph and live.unsaved > _SAVE_AT_END and number not in self._failed:
                self._want(number)
        return self._thread is not None

    def _is_due(self, live: Live) -> bool:
        size = len(live.index)
        if not live.is_graph:
            return size > self._indexes.settings.exact_below
        return self._indexes.folder is not None and live.unsaved > max(_SAVE_AFTER, size // 5)

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._stop.is_set() or not self._jobs:
                    self._thread = None
                    return
                number = self._jobs[0]
            try:
                self._do(number)
            except Exception:
                self._failed.add(number)
                _log.exception("the graph of a scope could not be built or saved; searches stay exact")
            with self._lock:
                self._jobs.remove(number)

    def _do(self, number: int) -> None:
        live = self._indexes.get(number)
        if live is not None and not live.is_graph:
            while not _building.acquire(timeout=_PATIENCE_S):
                if self._stop.is_set():
                    return
            try:
                began = time.monotonic()
                self.build(number)
                self.build_ms += (time.monotonic() - began) * 1000
            finally:
                _building.release()
        self._save(number)

    def _save(self, number: int) -> None:
        self._written += self._indexes.save(number, sync=self._sync)

    def build(self, number: int) -> None:
        """Build the graph of a scope from its rows and put it in use; searches and writes go on meanwhile."""
        built: Live | None = None
        while not self._stop.is_set():
            with self._connections.read() as connection:
                place = rows.place(connection, number)
                if place is None:
                    return
                if built is None or built.seq < place.floor:
                    index = self._indexes.make(place, graph=True)
                    built = Live(place.name, index, 0, place.seq, Columns())
                dim, settings = self._indexes.settings_of(place)
                batch = next(rows.vectors(connection, number, built.top, place.top, dim, rows=True), None)
                if batch is None:
                    self._indexes.exchange(connection, place, built)
                    return
            keys, vectors, found = batch
            built.index.add(keys, vectors, attrs=built.attributes(found), threads=settings.num_threads)
            built.top = int(keys[-1])

    def persist(self) -> int:
        """Build what is missing, wait for what is running, and save all graphs; return the bytes written."""
        before = self._written
        with self._connections.read() as connection:
            statement = "SELECT scope FROM vectors GROUP BY scope HAVING count(*) > ?"
            large = [row[0] for row in connection.execute(statement, (self._indexes.settings.exact_below,))]
            for number in large:
                place = rows.place(connection, number)
                if place is not None and not self._indexes.is_saved(place):
                    self._indexes.of(connection, place)
        for number in large:
            self.consider(number)
        self.settle()
        for number, _ in self._indexes.loaded():
            self._save(number)
        return self._written - before

    def settle(self) -> None:
        """Wait for what is running."""
        thread = self._thread
        while thread is not None:
            thread.join()
            thread = self._thread

    def abandon(self) -> None:
        """End what is running and save nothing: the interpreter ends, and its threads must not be in the core then."""
        self._stop.set()
        self.settle()

    def stop(self, *, save: bool) -> None:
        """End what is running as soon as it can, and save graphs that changed much."""
        self._stop.set()
        self.settle()
        for number, live in self._indexes.loaded() if save else ():
            if live.unsaved > _SAVE_AT_END:
                self._save(number)


@atexit.register
def _abandon() -> None:
    for worker in list(_busy):
        worker.abandon()
