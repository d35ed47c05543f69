"""The vector indexes of a collection: derived from its rows, one per scope, made at the first search of the scope.

Not locked: the collection that owns them holds its lock around every call.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from llmspell._core import VectorIndex

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray


# Loading builds the index anew, and a graph takes a fifth of a millisecond per vector to build where a scan takes a
# tenth of a microsecond to pass it: up to this many vectors an exact scan answers sooner than a graph would be there.
EXACT_BELOW = 1_000_000


class Indexes:
    """VectorIndexes by scope. max_bytes: of all loaded ones; the least recently used leave first."""

    def __init__(self, connection: sqlite3.Connection, *, dim: int, metric: str, max_bytes: int) -> None:
        self._connection = connection
        self._dim = dim
        self._metric = metric
        self._max_bytes = max_bytes
        self._loaded: OrderedDict[int, VectorIndex] = OrderedDict()
        self._stamp = self._changes()

    def _changes(self) -> int:
        """Return a number that changes with every commit of another connection, and with none of ours."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def refresh(self) -> None:
        """Forget everything if another process wrote."""
        stamp = self._changes()
        if stamp != self._stamp:
            self._stamp = stamp
            self.clear()

    def of(self, scope: int) -> VectorIndex:
        """Return the index of a scope, loading it from the rows when needed."""
        index = self._loaded.get(scope)
        if index is None:
            index = self._loaded[scope] = self._load(scope)
        self._loaded.move_to_end(scope)
        while len(self._loaded) > 1 and self._bytes() > self._max_bytes:
            self._loaded.popitem(last=False)[1].close()
        return index

    def _load(self, scope: int) -> VectorIndex:
        rows = self._connection.execute(
            "SELECT key, data FROM vectors WHERE scope = ? ORDER BY key", (scope,)
        ).fetchall()
        index = VectorIndex(self._dim, self._metric, exact_below=EXACT_BELOW)
        if rows:
            keys = np.fromiter((row[0] for row in rows), np.int64, len(rows))
            data = np.frombuffer(b"".join([row[1] for row in rows]), np.float32)
            index.add(keys, data.reshape(len(rows), self._dim))
        return index

    def _bytes(self) -> int:
        return sum(int(index.stats()["memory_bytes"]) for index in self._loaded.values())

    def add(self, scope: int, keys: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Add rows to the index of a scope, if that is loaded."""
        index = self._loaded.get(scope)
        if index is not None and len(keys):
            index.add(np.asarray(keys, np.int64), vectors)

    def remove(self, scope: int, keys: Sequence[int]) -> None:
        """Remove rows from the index of a scope, if that is loaded."""
        index = self._loaded.get(scope)
        if index is not None and len(keys):
            index.remove(np.asarray(keys, np.int64))

    def drop(self, scope: int) -> None:
        """Forget the index of a scope."""
        index = self._loaded.pop(scope, None)
        if index is not None:
            index.close()

    def clear(self) -> None:
        """Forget all indexes."""
        for scope in list(self._loaded):
            self.drop(scope)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the loaded indexes."""
        return self._bytes()
