"""The vector indexes of a collection, one per scope, derived from its rows.

An index is loaded at the first search of its scope: from its file, and then what changed since, else from the rows.
What the rows have is compared by two numbers (`Place.top`, `Place.seq`), so that commits of other processes are noticed
and applied too. A writer adds rows just before its commit and removes them just after: searches drop what their own
snapshot has not, and tell by `Indexes.removals` when they must look again.

Without a graph an index answers by exact scan. Above `exact_below` vectors the worker builds the graph and puts it in
the place of the scan.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from llmspell._core import VectorIndex
from llmspell.vectors import graph_files, rows
from llmspell.vectors.attributes import Columns, Row
from llmspell.vectors.graph_files import Tag

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from numpy.typing import NDArray

    from llmspell.vectors.records import IndexSettings, Place, Recorded

NO_GRAPH = 1_000_000_000  # as exact_below: graphs are built by the worker, not by the add that passes a line
_TOO_OLD = 20_000  # rows to add to a loaded graph at once; with more it is built anew, aside
_COMPARED = 8
_log = getLogger(__name__)


class Change:
    """What one transaction does to a scope: rows added, keys gone, attributes of rows that stay."""

    def __init__(self, before: Place) -> None:
        self.before = before
        self.keys: list[int] = []
        self.vectors: list[NDArray[np.float32]] = []
        self.rows: list[Row] = []
        self.gone: list[int] = []
        self.changed: dict[int, Row] = {}
        self.emptied = False  # every row of the scope went; `gone` does not name them
        self.top = before.top
        self.seq = before.seq


class Live:
    """An index in use. top, seq: the state of the rows it holds.

    view: the index, and its columns: None until a filter asks for attributes; they are exchanged together. stamp: odd
    while it is being changed. lock: held to change it.
    """

    def __init__(self, name: str, index: VectorIndex, top: int, seq: int, columns: Columns | None) -> None:
        self.name = name
        self.view = (index, columns)
        self.top = top
        self.seq = seq
        self.saved: tuple[int, int] | None = None
        self.lock = threading.RLock()
        self.stamp = 0

    @property
    def index(self) -> VectorIndex:
        """The index."""
        return self.view[0]

    @property
    def columns(self) -> Columns | None:
        """Which fields of the rows are attributes."""
        return self.view[1]

    def shows(self, place: Place) -> bool:
        """Tell whether it holds the rows of one state, no more and no fewer."""
        return not self.stamp % 2 and (self.top, self.seq) == (place.top, place.seq)

    @property
    def is_graph(self) -> bool:
        """Whether it has a graph."""
        return self.index.mode == "graph"

    @property
    def unsaved(self) -> int:
        """Changes that its file has not."""
        top, seq = self.saved or (0, 0)
        return max(self.top - top, 0) + max(self.seq - seq, 0)

    def attributes(self, found: list[Row] | None) -> list[dict[str, Any]] | None:
        """Return attributes for `add`."""
        return None if self.columns is None or found is None else [self.columns.attributes(row) for row in found]


class Indexes:
    """folder: of their files, None in memory. max_bytes: of all loaded; the least recently used leave first."""

    def __init__(self, recorded: Recorded, *, settings: IndexSettings, folder: Path | None, max_bytes: int) -> None:
        self._recorded = recorded
        self.settings = settings
        self.folder = folder
        self._max_bytes = max_bytes
        self._loaded: OrderedDict[int, Live] = OrderedDict()
        self._table = threading.Lock()  # protects _loaded
        self._loading = threading.Lock()  # one load at a time
        self.on_load: Callable[[int], object] = lambda _: None  # told the number of a scope whose index was loaded
        self.removals = 0  # grows whenever rows left an index or changed in it

    def settings_of(self, place: Place) -> tuple[int, IndexSettings]:
        """Return the dimensions of a scope and how its index is made."""
        if place.settings is None:
            return self._recorded.dimensions, self.settings
        own = msgspec.json.decode(place.settings)
        dim = own.pop("dimensions", self._recorded.dimensions)
        return dim, msgspec.structs.replace(self.settings, **own)

    def make(self, place: Place, *, graph: bool) -> VectorIndex:
        """Return an empty index for a scope."""
        dim, chosen = self.settings_of(place)
        return VectorIndex(
            dim,
            self._recorded.metric,
            m=chosen.m,
            ef_construction=max(chosen.ef_construction, chosen.m),
            ef_search=chosen.ef_search,
            quantization=chosen.quantization,
            keep_f32=chosen.keep_f32,
            exact_below=chosen.exact_below if graph else NO_GRAPH,
            seed=chosen.seed,
        )

    def get(self, number: int) -> Live | None:
        """Return the index of a scope if it is loaded."""
        with self._table:
            return self._loaded.get(number)

    def loaded(self) -> list[tuple[int, Live]]:
        """Return the indexes in use."""
        with self._table:
            return list(self._loaded.items())

    def of(self, connection: sqlite3.Connection, place: Place) -> Live:
        """Return the index of a scope, with at least the rows that the connection sees."""
        live = self._current(connection, place)
        if live is not None:
            return live
        with self._loading:
            live = self._current(connection, place)
            if live is None:
                live = self._from_file(connection, place) or self._from_rows(connection, place)
                with self._table:
                    self._loaded[place.number] = live
                    self._shrink()
                self.on_load(place.number)
        return live

    def _current(self, connection: sqlite3.Connection, place: Place) -> Live | None:
        with self._table:
            live = self._loaded.get(place.number)
            if live is None or live.seq < place.floor:
                return None
            self._loaded.move_to_end(place.number)
        if live.top < place.top or live.seq < place.seq:
            with live.lock:
                self.catch_up(connection, live, place)
        return live

    def _shrink(self) -> None:
        """Let the least recently used go; who searches one of them just now keeps it to the end of the search."""
        while len(self._loaded) > 1 and self._bytes() > self._max_bytes:
            self._loaded.popitem(last=False)

    def _bytes(self) -> int:
        return sum(int(live.index.stats()["memory_bytes"]) for live in self._loaded.values())

    @property
    def memory_bytes(self) -> int:
        """Bytes of the loaded indexes."""
        with self._table:
            return self._bytes()

    @property
    def removed(self) -> int:
        """Removed vectors that loaded indexes still hold a slot of."""
        return sum(int(live.index.stats()["removed"]) for _, live in self.loaded())

    def compact(self, scope: str | None) -> dict[str, int]:
        """Free what removed vectors hold, in one scope or all that are loaded; return counts."""
        total = {"removed": 0, "relinked": 0, "bytes_freed": 0}
        for _, live in self.loaded():
            if scope is None or live.name == scope:
                with live.lock:
                    for what, amount in live.index.compact().items():
                        total[what] += amount
        return total

    def _from_rows(self, connection: sqlite3.Connection, place: Place) -> Live:
        live = Live(place.name, self.make(place, graph=False), 0, place.seq, None)
        self.catch_up(connection, live, place)
        return live

    def _from_file(self, connection: sqlite3.Connection, place: Place) -> Live | None:
        file = None if self.folder is None else graph_files.path_of(self.folder, place.name)
        if file is None or not file.exists():
            return None
        found = graph_files.load(file)
        why = found if isinstance(found, str) else self._unfit(*found, place)
        if isinstance(found, str) or why:
            _log.warning("vectors.rebuilt: %s: %s", file, why, extra={"path": str(file), "reason": why})
            return None
        index, tag = found
        live = Live(place.name, index, tag.top, tag.seq, tag.columns)
        live.saved = (tag.top, tag.seq)
        later = "SELECT count(*) FROM vectors WHERE scope = ? AND key > ?"
        if connection.execute(later, (place.number, tag.top)).fetchone()[0] > _TOO_OLD:
            return None
        self.catch_up(connection, live, place)
        if len(index) != rows.count(connection, place.number):
            self._reconcile(connection, live, place)
        if not self._agrees(connection, index):
            _log.warning("vectors.rebuilt: %s: it holds other vectors than the rows", file, extra={"path": str(file)})
            return None
        return live

    def _unfit(self, index: VectorIndex, tag: Tag, place: Place) -> str:
        """Return why a saved index does not belong to these rows, or is not made as it now should be."""
        dim, chosen = self.settings_of(place)
        stats = index.stats()
        if (tag.created, tag.number) != (self._recorded.created, place.number):
            return "it was saved for other rows"
        if tag.top > place.top or not place.floor <= tag.seq <= place.seq:
            return "it is of another state of the rows"
        made = (index.dim, index.metric, stats["m"], stats["ef_construction"], index.quantization)
        wanted = VectorIndex(2, self._recorded.metric, quantization=chosen.quantization)
        if made != (dim, wanted.metric, chosen.m, max(chosen.ef_construction, chosen.m), wanted.quantization):
            return "it was made with other settings"
        return ""

    def _agrees(self, connection: sqlite3.Connection, index: VectorIndex) -> bool:
        """Tell whether some vectors of an index are those of the rows: a data file of another day has others."""
        keys = index.keys()[:: max(len(index) // _COMPARED, 1)]
        stored = rows.stored(connection, keys.tolist())
        return all(
            key in stored and np.allclose(vector, stored[key], rtol=0, atol=0.01 * float(np.abs(stored[key]).max()))
            for key, vector in zip(keys.tolist(), index.get(keys), strict=True)
        )

    def _reconcile(self, connection: sqlite3.Connection, live: Live, place: Place) -> None:
        """Make an index hold exactly the keys of the rows: one was saved in the middle of a write that never ended."""
        statement = "SELECT key FROM vectors WHERE scope = ? ORDER BY key"
        wanted = np.asarray([row[0] for row in connection.execute(statement, (place.number,))], np.int64)
        live.index.remove(np.setdiff1d(live.index.keys(), wanted, assume_unique=True))
        for key in np.setdiff1d(wanted, live.index.keys(), assume_unique=True).tolist():
            self._add(connection, live, place, key - 1, key)

    def catch_up(self, connection: sqlite3.Connection, live: Live, place: Place) -> None:
        """Apply what the rows have and an index has not. The caller holds its lock, or is alone in having it."""
        live.stamp += 1
        try:
            if live.seq < place.seq:
                self._apply_touched(connection, live, place)
                live.seq = place.seq
            if live.top < place.top:
                self._add(connection, live, place, live.top, place.top)
                live.top = place.top
        finally:
            live.stamp += 1

    def _add(self, connection: sqlite3.Connection, live: Live, place: Place, after: int, to: int) -> None:
        dim, chosen = self.settings_of(place)
        wanted = live.columns is not None
        for keys, data, found in rows.vectors(connection, place.number, after, to, dim, rows=wanted):
            live.index.add(keys, data, attrs=live.attributes(found), threads=chosen.num_threads)

    def _apply_touched(self, connection: sqlite3.Connection, live: Live, place: Place) -> None:
        keys = rows.touched(connection, place.number, live.seq, place.seq)
        here = rows.present(connection, keys)
        self.removals += 1
        live.index.remove(np.asarray([key for key in keys if key not in here], np.int64))
        if live.columns is not None and here:
            self._set_attributes(live, rows.filterable(connection, sorted(key for key in here if key <= live.top)))
        self.removals += 1

    def _set_attributes(self, live: Live, found: dict[int, Row]) -> None:
        assert live.columns is not None
        if found:
            attributes = [live.columns.attributes(row) for row in found.values()]
            live.index.set_attrs(np.asarray(list(found), np.int64), attributes, merge=False)

    def commit(self, connection: sqlite3.Connection, change: Change) -> None:
        """Commit a transaction and apply its change to the index of the scope, if that is loaded."""
        live = self.get(change.before.number)
        if live is None or live.seq < change.before.floor or change.emptied:
            self.removals += change.emptied
            self.drop(change.before.number)
            connection.execute("COMMIT")
            return
        with live.lock:
            try:
                self.catch_up(connection, live, change.before)
                live.stamp += 1
                self._commit(connection, live, change)
            except BaseException:
                self.drop(change.before.number)  # it may hold rows that were not committed
                raise
            finally:
                live.stamp += live.stamp % 2

    def _commit(self, connection: sqlite3.Connection, live: Live, change: Change) -> None:
        gone = set(change.gone)
        added = [at for at, key in enumerate(change.keys) if key not in gone]
        if added:
            threads = self.settings_of(change.before)[1].num_threads
            live.index.add(
                np.asarray([change.keys[at] for at in added], np.int64),
                np.stack([change.vectors[at] for at in added]),
                attrs=live.attributes([change.rows[at] for at in added]),
                threads=threads if len(added) > 64 else 1,
            )
        live.top = change.top
        connection.execute("COMMIT")
        if gone or change.changed:
            self.removals += 1
            live.index.remove(np.asarray(sorted(gone), np.int64))
            if live.columns is not None:
                self._set_attributes(live, {key: row for key, row in change.changed.items() if key not in gone})
            self.removals += 1
        live.seq = change.seq

    def attributed(self, live: Live, connection: sqlite3.Connection, place: Place) -> bool:
        """Give the rows of an index attributes, if they have none; tell whether they have.

        They do not when the connection sees an older state than the index has: then it is left for another search.
        """
        if live.columns is None:
            with live.lock:
                self.catch_up(connection, live, place)
                if live.columns is None and live.shows(place):
                    live.view = (live.index, self._attribute(live.index, connection))
        return live.columns is not None

    def _attribute(self, index: VectorIndex, connection: sqlite3.Connection) -> Columns:
        columns = Columns()
        keys = index.keys().tolist()
        for start in range(0, len(keys), rows.BATCH):
            found = rows.filterable(connection, keys[start : start + rows.BATCH])
            if found:
                attributes = [columns.attributes(row) for row in found.values()]
                index.set_attrs(np.asarray(list(found), np.int64), attributes, merge=False)
        return columns

    def exchange(self, connection: sqlite3.Connection, place: Place, built: Live) -> None:
        """Put another index of a scope in use."""
        self.catch_up(connection, built, place)
        live = self.get(place.number)
        if live is None:
            with self._table:
                self._loaded[place.number] = built
                self._shrink()
            return
        with live.lock:
            live.stamp += 1
            live.view, live.top, live.seq, live.saved = built.view, built.top, built.seq, built.saved
            self.removals += 1  # it may lack what the old one had; the next search applies that
            live.stamp += 1

    def save(self, number: int, *, sync: bool) -> int:
        """Write the graph of a scope to its file, if it has changed; return the bytes written."""
        live = self.get(number)
        if live is None or self.folder is None or not live.is_graph or not live.unsaved:
            return 0
        with graph_files.saving(self.folder) as mine:
            if not mine:
                return 0
            with live.lock:
                index, state = live.index, (live.top, live.seq)
                tag = Tag(
                    created=self._recorded.created, number=number, top=state[0], seq=state[1], columns=live.columns
                ).encode()
            written = index.save(graph_files.path_of(self.folder, live.name), sync=sync, tag=tag)
            live.saved = state
        return written

    def is_saved(self, place: Place) -> bool:
        """Tell whether the graph of a scope that is not loaded has a file."""
        return self.folder is not None and graph_files.path_of(self.folder, place.name).exists()

    def drop(self, number: int) -> None:
        """Forget the index of a scope."""
        with self._table:
            self._loaded.pop(number, None)

    def reset(self, recorded: Recorded) -> None:
        """Forget all indexes: the rows were exchanged, and so was what the collection was made with."""
        self._recorded = recorded
        self.clear()
        self.removals += 1

    def clear(self) -> None:
        """Forget all indexes."""
        with self._table:
            self._loaded.clear()
