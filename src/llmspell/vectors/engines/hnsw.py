"""`hnsw:///folder`: vectors in SQLite files with a graph beside them, a file of its own for every tenant.

Options of the URL: collection, metric, dimensions (of a scope made without any), durability, max_memory_mb,
max_open_tenants.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from llmspell._core import VectorIndex
from llmspell.errors import InvalidArgument
from llmspell.vectors.catalog import Catalog
from llmspell.vectors.engines import _base
from llmspell.vectors.engines._base import (
    Checked,
    StorageStats,
    VectorEntry,
    VectorQuery,
    VectorResult,
    VectorResults,
)
from llmspell.vectors.filters import required_texts
from llmspell.vectors.records import IndexSettings, Part, Query, Recorded, Stored

if TYPE_CHECKING:
    from llmspell.vectors.collection import Collection
    from llmspell.vectors.records import Found


class HnswVectors:
    """Vectors in a folder. index: settings of its graphs. durability: none, normal, full."""

    def __init__(
        self,
        folder: str | Path,
        *,
        collection: str = "entries",
        metric: str = "cosine",
        dimensions: int = 384,
        durability: str = "normal",
        max_memory_mb: int = 500,
        max_open_tenants: int = 128,
        index: IndexSettings | None = None,
    ) -> None:
        self._name = collection
        self._metric = VectorIndex(2, metric).metric
        self._recorded = Recorded(
            embedder="", embedder_id="", dimensions=dimensions, metric=self._metric, created=time.time()
        )
        self._catalog = Catalog(
            Path(folder),
            memory=False,
            durability=durability,
            max_bytes=max_memory_mb << 20,
            max_tenants=max_open_tenants,
            index=index,
        )
        self._queries = 0
        self._query_s = 0.0
        self._lock = threading.Lock()  # protects the two counts

    def store(self, entry: VectorEntry) -> str:
        """Store an entry, in place of the one of that id, and return its id."""
        return self.store_many([entry])[0]

    def store_many(self, entries: Sequence[VectorEntry]) -> list[str]:
        """Store entries of one scope, all or none, and return their ids."""
        checked = _base.check_entries(entries)
        if not checked:
            return []
        scope, dim = checked[0].scope, len(checked[0].vector)
        for entry in checked:
            _base.check_direction(entry.vector, self._metric)
        found = self._made(scope, dim)
        if dim != found.recorded.dimensions:
            found.create_scope(scope, {"dimensions": dim})
        now = time.time()
        found.put(scope, [_stored(entry, now) for entry in checked])
        return [entry.id for entry in checked]

    def _made(self, scope: str, dim: int) -> Collection:
        """Return the collection that holds a scope. Raises InvalidArgument when it measures otherwise."""
        found = self._catalog.make(self._name, msgspec.structs.replace(self._recorded, dimensions=dim), scope)
        if VectorIndex(2, found.recorded.metric).metric != self._metric:
            raise InvalidArgument(
                f"the collection {self._name!r} measures by {found.recorded.metric}, not by {self._metric}",
                details={"name": "metric", "value": self._metric},
            )
        return found

    def search(self, query: VectorQuery) -> VectorResults:
        """Return the nearest entries that pass; an unknown scope holds nothing."""
        began = time.monotonic()
        asked = _base.check_query(query)
        _base.check_direction(asked.vector, self._metric)
        found = self._catalog.find(self._name, asked.scope)
        if found is None:
            return VectorResults([], exhausted=True, duration_ms=_since(began), visited=0)
        hits, exhausted, vectors, visited = found.answer(
            asked.scope,
            Query(
                k=asked.k,
                vector=asked.vector,
                matches=asked.matches,
                filters=query.filter or None,
                texts=required_texts(query.filter) if query.filter else [],
                threshold=query.threshold,
                event_time=asked.event_time,
                ingested=asked.ingested,
                expired=not query.exclude_expired,
                candidates=1,
                ef=query.ef,
                exact=query.exact,
                raw=True,
                vectors=query.include_vector,
            ),
        )
        results = [_result(hit, query, asked.scope, vectors) for hit in hits]
        took = time.monotonic() - began
        with self._lock:
            self._queries += 1
            self._query_s += took
        return VectorResults(results, exhausted=exhausted, duration_ms=took * 1000, visited=visited)

    def search_many(self, queries: Sequence[VectorQuery]) -> list[VectorResults]:
        """Search for each query."""
        return [self.search(query) for query in queries]

    def get(self, ident: str, *, scope: str = "global") -> VectorEntry | None:
        """Return an entry, or None."""
        text = _base.scope_of(scope)
        found = self._catalog.find(self._name, text)
        document = None if found is None else found.get(text, ident, vectors=True)
        if document is None:
            return None
        return VectorEntry(
            id=document["id"],
            embedding=document["vectors"][0],
            metadata=document["metadata"],
            scope=text,
            text=document["content"] or None,
            created_at=_base.moment(document["created_at"]),
            updated_at=_base.moment(document["ingested_at"]),
            event_time=_base.moment(document.get("event_time")),
            expires_at=_base.moment(document.get("expires_at")),
            tenant_id=text.partition(":")[2] if text.startswith("tenant:") else None,
        )

    def update_metadata(
        self, ident: str, metadata: Mapping[str, Any], *, scope: str = "global", merge: bool = True
    ) -> bool:
        """Change metadata, key by key unless `merge` is off; tell whether the entry is there."""
        given, text = _base.check_metadata(metadata), _base.scope_of(scope)
        found = self._catalog.find(self._name, text)

        def change(old: dict[str, Any]) -> dict[str, Any]:
            return _base.check_metadata({**old, **given}) if merge else given

        return found is not None and found.change_metadata(text, ident, change)

    def delete(self, ident: str, *, scope: str = "global") -> bool:
        """Remove an entry; tell whether it was there."""
        return self.delete_many([ident], scope=scope) == 1

    def delete_many(self, idents: Sequence[str], *, scope: str = "global") -> int:
        """Remove entries; return how many were there."""
        text = _base.scope_of(scope)
        found = self._catalog.find(self._name, text)
        return 0 if found is None else found.delete(text, list(idents))

    def delete_scope(self, scope: str) -> int:
        """Remove a scope; return how many entries went."""
        return self._catalog.drop_scope(self._name, _base.scope_of(scope))["vectors"]

    def get_stats(self, scope: str | None = None) -> StorageStats:
        """Return counts of a scope, or of all."""
        text = None if scope is None else _base.scope_of(scope)
        counts = self._catalog.stats(self._name, text)
        found = self._catalog.find(self._name, text or "global")
        with self._lock:
            queries, took = self._queries, self._query_s
        return StorageStats(
            total_vectors=counts["vectors"],
            storage_bytes=counts["bytes"],
            memory_bytes=counts["memory_bytes"],
            namespace_count=len(self.namespaces()) if text is None else int(found is not None and found.holds(text)),
            dimensions=0 if found is None else found.dimensions(text or "global"),
            removed=counts["removed"],
            index_build_time_ms=counts["build_ms"],
            avg_query_time_ms=took * 1000 / queries if queries else 0.0,
            query_count=queries,
            tokens_processed=counts["tokens"],
            expired=counts["expired"],
            generation=counts["generation"],
        )

    def namespaces(self) -> list[str]:
        """Return the scopes, sorted."""
        return self._catalog.scopes(self._name)

    def create_namespace(self, scope: str, **index: Any) -> None:
        """Make an empty scope. index: `dimensions`, and keys of `rag.vector_storage.hnsw`."""
        dim, settings = _base.check_index({"dimensions": self._recorded.dimensions, **index})
        text = _base.scope_of(scope)
        found = self._made(text, dim)
        found.create_scope(text, {"dimensions": dim, **settings})

    def optimize(self, scope: str | None = None) -> dict[str, int]:
        """Free what removed entries still hold; return removed, relinked, bytes_freed."""
        return self._catalog.compact(self._name, None if scope is None else _base.scope_of(scope))

    def clear(self) -> None:
        """Remove everything."""
        self._catalog.drop(self._name)

    def persist(self) -> int:
        """Put everything on the disk; return the bytes of indexes that were written."""
        self._catalog.find(self._name)
        return self._catalog.save()

    def sweep(self) -> int:
        """Remove expired entries; return how many."""
        return self._catalog.sweep()

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        self._catalog.close()


def open(url: str, **options: Any) -> HnswVectors:  # noqa: A001 - the word of the contract
    """Open a folder: `hnsw:///var/lib/vectors?metric=euclidean`; `hnsw://relative/folder` is relative."""
    parts = urlsplit(url)
    folder = unquote(parts.netloc + parts.path)
    if not folder:
        raise InvalidArgument("hnsw:// needs a folder: hnsw:///path", details={"name": "url", "value": url})
    given: dict[str, Any] = dict(parse_qsl(parts.query))
    for name in ("dimensions", "max_memory_mb", "max_open_tenants"):
        if name in given:
            given[name] = int(given[name])
    return HnswVectors(folder, **{**given, **options})


def _stored(entry: Checked, now: float) -> Stored:
    return Stored(
        id=entry.id,
        parts=[Part(entry.text or "", 0, len(entry.text or "") // 4)],
        vectors=entry.vector[None],
        digest=b"",
        metadata=entry.metadata,
        ingested=now,
        event_time=entry.event_time,
        expires=entry.expires,
        created=entry.created,
    )


def _result(hit: Found, query: VectorQuery, scope: str, vectors: Mapping[int, Any]) -> VectorResult:
    created = _base.moment(hit.created)
    assert created is not None
    assert hit.distance is not None
    return VectorResult(
        id=hit.document,
        score=hit.score,
        distance=hit.distance,
        scope=scope,
        created_at=created,
        event_time=_base.moment(hit.event_time),
        metadata=hit.metadata if query.include_metadata else None,
        text=(hit.text or None) if query.include_text else None,
        vector=vectors[hit.key] if query.include_vector else None,
    )


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000
