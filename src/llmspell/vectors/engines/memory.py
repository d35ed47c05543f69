"""`memory://`: vectors in the process, gone with it. Options of the URL: metric."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np

from llmspell._core import VectorIndex
from llmspell.errors import DimensionMismatch
from llmspell.vectors.engines import _base
from llmspell.vectors.engines._base import (
    Asked,
    Checked,
    StorageStats,
    VectorEntry,
    VectorQuery,
    VectorResult,
    VectorResults,
)


class _Space:
    """One scope: entries by key, and the index of their vectors."""

    def __init__(self, dim: int, metric: str, settings: Mapping[str, Any]) -> None:
        self.index = VectorIndex(dim, metric, **settings)
        self.keys: dict[str, int] = {}
        self.entries: dict[int, Checked] = {}
        self.times: dict[int, tuple[float, float]] = {}
        self.next = 0


class MemoryVectors:
    """Vectors in memory. metric: cosine, euclidean, inner_product, manhattan."""

    def __init__(self, *, metric: str = "cosine") -> None:
        self._metric = VectorIndex(2, metric).metric
        self._spaces: dict[str, _Space] = {}
        self._queries = 0
        self._query_s = 0.0
        self._generation = 0
        self._lock = threading.RLock()  # protects everything; an index is searched under it

    def store(self, entry: VectorEntry) -> str:
        """Store an entry, in place of the one of that id, and return its id."""
        return self.store_many([entry])[0]

    def store_many(self, entries: Sequence[VectorEntry]) -> list[str]:
        """Store entries of one scope, all or none, and return their ids."""
        checked = _base.check_entries(entries)
        if not checked:
            return []
        for entry in checked:
            _base.check_direction(entry.vector, self._metric)
        with self._lock:
            space = self._space(checked[0].scope, len(checked[0].vector))
            now = time.time()
            for entry in checked:
                self._put(space, entry, now)
            self._generation += 1
        return [entry.id for entry in checked]

    def _space(self, scope: str, dim: int) -> _Space:
        space = self._spaces.get(scope)
        if space is None:
            space = self._spaces[scope] = _Space(dim, self._metric, {})
        if space.index.dim != dim:
            raise DimensionMismatch(
                f"the scope {scope!r} has vectors of {space.index.dim} dimensions",
                details={"expected": space.index.dim, "got": dim},
            )
        return space

    def _put(self, space: _Space, entry: Checked, now: float) -> None:
        key = space.keys.get(entry.id)
        known = None if key is None else space.times[key][0]
        if key is None:
            key, space.next = space.next, space.next + 1
        space.index.add([key], entry.vector[None])
        space.keys[entry.id] = key
        space.entries[key] = entry
        space.times[key] = (known if known is not None else now if entry.created is None else entry.created, now)

    def search(self, query: VectorQuery) -> VectorResults:
        """Return the nearest entries that pass; an unknown scope holds nothing."""
        began = time.monotonic()
        asked = _base.check_query(query)
        _base.check_direction(asked.vector, self._metric)
        with self._lock:
            self._queries += 1
            space = self._spaces.get(asked.scope)
            if space is None or not len(space.index):
                return VectorResults([], exhausted=True, duration_ms=_since(began), visited=0)
            if space.index.dim != len(asked.vector):
                raise DimensionMismatch(
                    f"the scope {asked.scope!r} has vectors of {space.index.dim} dimensions",
                    details={"expected": space.index.dim, "got": len(asked.vector)},
                )
            hits = space.index.search(
                asked.vector,
                asked.k,
                ef=query.ef,
                allow=self._allowed(space, asked, expired=not query.exclude_expired),
                threshold=query.threshold,
                exact=query.exact,
            )
            found = [
                self._result(space, query, asked.scope, key, score, distance)
                for key, score, distance in zip(
                    hits.keys.tolist(), hits.scores.tolist(), hits.distances.tolist(), strict=True
                )
            ]
            found.sort(key=lambda hit: (-hit.score, hit.id))
            self._query_s += time.monotonic() - began
        return VectorResults(found, exhausted=hits.exhausted, duration_ms=_since(began), visited=hits.visited)

    def _allowed(self, space: _Space, asked: Asked, *, expired: bool) -> Any:
        now = time.time()
        kept = [
            key
            for key, entry in space.entries.items()
            if (expired or entry.expires is None or entry.expires > now)
            and _within(entry.event_time, asked.event_time)
            and _within(space.times[key][1], asked.ingested)
            and (asked.matches is None or asked.matches(entry.metadata))
        ]
        return None if len(kept) == len(space.entries) else np.asarray(kept, np.int64)

    def _result(
        self, space: _Space, query: VectorQuery, scope: str, key: int, score: float, distance: float
    ) -> VectorResult:
        entry = space.entries[key]
        created = _base.moment(space.times[key][0])
        assert created is not None
        return VectorResult(
            id=entry.id,
            score=score,
            distance=distance,
            scope=scope,
            created_at=created,
            event_time=_base.moment(entry.event_time),
            metadata=dict(entry.metadata) if query.include_metadata else None,
            text=entry.text if query.include_text else None,
            vector=entry.vector if query.include_vector else None,
        )

    def search_many(self, queries: Sequence[VectorQuery]) -> list[VectorResults]:
        """Search for each query."""
        return [self.search(query) for query in queries]

    def _find(self, ident: str, scope: str) -> tuple[_Space, int, Checked] | None:
        space = self._spaces.get(_base.scope_of(scope))
        key = None if space is None else space.keys.get(ident)
        if space is None or key is None:
            return None
        entry = space.entries[key]
        return None if entry.expires is not None and entry.expires <= time.time() else (space, key, entry)

    def get(self, ident: str, *, scope: str = "global") -> VectorEntry | None:
        """Return an entry, or None."""
        with self._lock:
            found = self._find(ident, scope)
            if found is None:
                return None
            space, key, entry = found
            created, updated = space.times[key]
        return VectorEntry(
            id=entry.id,
            embedding=entry.vector,
            metadata=dict(entry.metadata),
            scope=entry.scope,
            text=entry.text,
            created_at=_base.moment(created),
            updated_at=_base.moment(updated),
            event_time=_base.moment(entry.event_time),
            expires_at=_base.moment(entry.expires),
            tenant_id=entry.scope.partition(":")[2] if entry.scope.startswith("tenant:") else None,
        )

    def update_metadata(
        self, ident: str, metadata: Mapping[str, Any], *, scope: str = "global", merge: bool = True
    ) -> bool:
        """Change metadata, key by key unless `merge` is off; tell whether the entry is there."""
        given = _base.check_metadata(metadata)
        with self._lock:
            found = self._find(ident, scope)
            if found is None:
                return False
            space, key, entry = found
            merged = _base.check_metadata({**entry.metadata, **given} if merge else given)
            space.entries[key] = msgspec.structs.replace(entry, metadata=merged)
            self._generation += 1
            return True

    def delete(self, ident: str, *, scope: str = "global") -> bool:
        """Remove an entry; tell whether it was there."""
        return self.delete_many([ident], scope=scope) == 1

    def delete_many(self, idents: Sequence[str], *, scope: str = "global") -> int:
        """Remove entries; return how many were there."""
        with self._lock:
            space = self._spaces.get(_base.scope_of(scope))
            keys = [] if space is None else [key for key in map(space.keys.get, set(idents)) if key is not None]
            if space is not None:
                self._remove(space, keys)
        return len(keys)

    def _remove(self, space: _Space, keys: Sequence[int]) -> None:
        space.index.remove(np.asarray(keys, np.int64))
        for key in keys:
            del space.keys[space.entries.pop(key).id], space.times[key]
        self._generation += 1

    def delete_scope(self, scope: str) -> int:
        """Remove a scope; return how many entries went."""
        with self._lock:
            self._generation += 1
            space = self._spaces.pop(_base.scope_of(scope), None)
        return 0 if space is None else len(space.entries)

    def get_stats(self, scope: str | None = None) -> StorageStats:
        """Return counts of a scope, or of all."""
        now = time.time()
        with self._lock:
            known = self._spaces if scope is None else {scope: self._spaces.get(_base.scope_of(scope))}
            spaces = [space for space in known.values() if space is not None]
            stats = [space.index.stats() for space in spaces]
            entries = [entry for space in spaces for entry in space.entries.values()]
            return StorageStats(
                total_vectors=len(entries),
                memory_bytes=sum(int(item["memory_bytes"]) for item in stats),
                namespace_count=len(spaces),
                dimensions=spaces[0].index.dim if spaces else 0,
                removed=sum(int(item["removed"]) for item in stats),
                avg_query_time_ms=self._query_s * 1000 / self._queries if self._queries else 0.0,
                query_count=self._queries,
                expired=sum(entry.expires is not None and entry.expires <= now for entry in entries),
                generation=self._generation,
            )

    def namespaces(self) -> list[str]:
        """Return the scopes, sorted."""
        with self._lock:
            return sorted(self._spaces)

    def create_namespace(self, scope: str, **index: Any) -> None:
        """Make an empty scope. index: `dimensions`, and keys of `rag.vector_storage.hnsw`."""
        dim, settings = _base.check_index(index)
        with self._lock:
            self._spaces.setdefault(_base.scope_of(scope), _Space(dim, self._metric, settings))

    def optimize(self, scope: str | None = None) -> dict[str, int]:
        """Free what removed entries still hold; return removed, relinked, bytes_freed."""
        total = {"removed": 0, "relinked": 0, "bytes_freed": 0}
        with self._lock:
            for name, space in self._spaces.items():
                if scope is None or name == _base.scope_of(scope):
                    for what, amount in space.index.compact().items():
                        total[what] += amount
        return total

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._spaces.clear()
            self._generation += 1

    def persist(self) -> int:
        """Return 0: nothing outlives the process. Expired entries go."""
        self.sweep()
        return 0

    def sweep(self) -> int:
        """Remove expired entries; return how many."""
        now, removed = time.time(), 0
        with self._lock:
            for space in self._spaces.values():
                due = [key for key, item in space.entries.items() if item.expires is not None and item.expires <= now]
                self._remove(space, due)
                removed += len(due)
        return removed

    def close(self) -> None:
        """Forget everything."""
        self.clear()


def open(url: str, **options: Any) -> MemoryVectors:  # noqa: A001 - the word of the contract
    """Open a storage in memory: `memory://`, `memory://?metric=euclidean`."""
    return MemoryVectors(**{**dict(parse_qsl(urlsplit(url).query)), **options})


def _within(moment: float | None, window: tuple[float | None, float | None] | None) -> bool:
    start, end = window or (None, None)
    if start is None and end is None:
        return True
    return moment is not None and (start is None or moment >= start) and (end is None or moment < end)


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000
