"""`Rag`: documents by place, ingested, found, counted, removed. One per process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell import embedders
from llmspell._core import count_tokens
from llmspell.base.offload import offload
from llmspell.errors import ConfigurationError, EmbedderMismatch, InvalidArgument
from llmspell.rag import chunking, documents, folders, sessions, stats
from llmspell.rag.ingest import Ingestion
from llmspell.rag.place import SESSION_COLLECTION, Place, scope_text, session_of
from llmspell.rag.retrieve import Retrieval
from llmspell.vectors.catalog import Catalog
from llmspell.vectors.records import Recorded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llmspell import config as configuration
    from llmspell.embedders._base import Embedder
    from llmspell.rag.results import Chunk, IngestResult, SearchResult
    from llmspell.vectors.collection import Collection

METRICS = {"l2": "euclidean", "ip": "inner_product", "innerproduct": "inner_product", "l1": "manhattan"}
KNOWN_METRICS = ("cosine", "euclidean", "inner_product", "manhattan")


class Rag:
    """config: the section `rag`. home: its `vectors/` holds the collections unless the configuration names a folder."""

    def __init__(self, config: configuration.model.Rag, *, home: Path) -> None:
        self.config = config
        storage = config.vector_storage
        folder = Path(storage.persistence_path).expanduser() if storage.persistence_path else home / "vectors"
        self._catalog = Catalog(
            folder,
            memory=storage.backend == "memory",
            durability=storage.durability,
            max_bytes=storage.max_memory_mb * 1_048_576,
        )
        self._embedders: dict[tuple[str, int | None], Embedder] = {}
        self._counters: Counter[tuple[str, str, str]] = Counter()

    def _check_enabled(self) -> None:
        if not self.config.enabled:
            raise ConfigurationError(
                "retrieval is switched off: set rag.enabled = true", details={"key": "rag.enabled"}
            )

    def embedder(self, name: str | None = None, dimensions: int | None = None) -> Embedder:
        """Return an embedder; defaults are the configuration's."""
        wanted = (name or self.config.embedding.default_provider, dimensions or self.config.embedding.dimensions)
        if wanted not in self._embedders:
            self._embedders[wanted] = embedders.find(wanted[0], dimensions=wanted[1])
        return self._embedders[wanted]

    def place(
        self,
        *,
        collection: str | None = None,
        scope: str | None = None,
        scope_id: str | None = None,
        tenant_id: str | None = None,
        session_id: str | None = None,
    ) -> Place:
        """Return where documents are meant to be. The collection of a session is the session's scope."""
        self._check_enabled()
        text = scope_text(scope, scope_id, tenant_id=tenant_id, session_id=session_id)
        name = self.config.default_collection if collection is None else collection
        session = session_of(name)
        base = self._catalog.find(self.config.default_collection) if session is not None else None
        if session is not None and base is not None and sessions.find(base, session) is not None:
            if text not in ("global", f"session:{session}"):
                raise InvalidArgument(
                    f"the collection {name!r} belongs to session {session!r}", details={"name": "scope"}
                )
            return Place(self.config.default_collection, f"session:{session}")
        return Place(name, text)

    def _collection_embedder(self, found: Collection, name: str | None, dimensions: int | None) -> Embedder:
        """Return the embedder a collection was made with. Raises EmbedderMismatch when another is asked for."""
        recorded = found.recorded
        own = self.embedder(recorded.embedder, recorded.dimensions)
        asked = (
            own
            if name is None and dimensions is None
            else self.embedder(name or recorded.embedder, dimensions or own.dim)
        )
        for given in (own, asked):
            if given.id != recorded.embedder_id:
                raise EmbedderMismatch(
                    f"the collection {found.name!r} was made with {recorded.embedder_id}, not with {given.id}: "
                    "use another collection, or delete this one and ingest again",
                    details={"collection": found.name, "recorded": recorded.embedder_id, "given": given.id},
                )
        return own

    def _made(
        self, name: str, *, embedder: str | None = None, dimensions: int | None = None, metric: str | None = None
    ) -> tuple[Collection, Embedder, bool]:
        """Return a collection, made when there is none, its embedder, and whether it is new."""
        found = self._catalog.find(name)
        if found is None:
            chosen = self.embedder(embedder, dimensions)
            recorded = Recorded(
                embedder=chosen.name,
                embedder_id=chosen.id,
                dimensions=chosen.dim,
                metric=metric or self.config.vector_storage.hnsw.metric,
                created=time.time(),
            )
            return self._catalog.make(name, recorded), chosen, True
        if metric is not None and metric != found.recorded.metric:
            raise InvalidArgument(
                f"the collection {name!r} exists with metric {found.recorded.metric}, not {metric}",
                details={"name": "metric", "value": metric},
            )
        return found, self._collection_embedder(found, embedder, dimensions), False

    async def ingest(
        self,
        docs: Any,
        *,
        chunking: Mapping[str, Any] | None = None,  # noqa: A002,RUF100 - the documented name
        embedder: str | None = None,
        dimensions: int | None = None,
        batch_size: int | None = None,
        on_progress: Any = None,
        on_error: str = "raise",
        **place: Any,
    ) -> IngestResult:
        """Store documents: a text, a table, or a list of them. The same id replaces, equal content is skipped.

        place: collection, scope, scope_id, tenant_id, session_id. on_progress: called with IngestProgress, may be
        async; raising from it stops. on_error: raise, or skip, which lists failures.
        Raises ValidationError, EmbedderMismatch.
        """
        where = self.place(**place)
        given = documents.normalised(docs)
        if on_error not in ("raise", "skip"):
            raise InvalidArgument(f"on_error is 'raise' or 'skip', got {on_error!r}", details={"name": "on_error"})
        recipe = _recipe(self.config.chunking, chunking)
        found, chosen, _ = await offload(lambda: self._made(where.collection, embedder=embedder, dimensions=dimensions))
        session = self._session(where)
        running = Ingestion(
            found,
            where.scope,
            chosen,
            recipe=recipe,
            on_progress=on_progress,
            skip_errors=on_error == "skip",
            batch_size=batch_size,
            life=session.get("vector_ttl"),
            max_vectors=session.get("max_vectors"),
        )
        result = await running.run(given)
        self._count(where, "embeddings_generated", result.vectors_created)
        self._count(where, "embedding_tokens", result.total_tokens)
        return result

    def _session(self, where: Place) -> dict[str, Any]:
        if not where.scope.startswith("session:"):
            return {}
        base = self._catalog.find(self.config.default_collection)
        return (sessions.find(base, where.scope.partition(":")[2]) if base is not None else None) or {}

    def _count(self, where: Place, what: str, amount: int) -> None:
        self._counters[where.collection, where.scope, what] += amount

    async def search(
        self, query: str, *, embedder: str | None = None, dimensions: int | None = None, **options: Any
    ) -> SearchResult:
        """Return the chunks that answer a query, best first.

        options: place (collection, scope, scope_id, tenant_id, session_id), k, mode (hybrid, vector, keyword), filters,
        threshold, fusion (rrf, weighted), weights, rerank, candidates, event_time_range, ingestion_time_range,
        exclude_expired, include_content, include_vector. Raises InvalidArgument.
        """
        names = ("collection", "scope", "scope_id", "tenant_id", "session_id")
        where = self.place(**{name: options.pop(name) for name in names if name in options})
        running = Retrieval(self.config.retrieval, where, query, **options)
        self._session(where)
        found = self._catalog.find(where.collection)
        chosen = (
            self.embedder(embedder, dimensions)
            if found is None
            else self._collection_embedder(found, embedder, dimensions)
        )
        self._count(where, "searches_performed", 1)
        if running.uses_vectors:
            self._count(where, "embedding_tokens", count_tokens(query))
        return await running.run(found, chosen)

    async def embed(
        self, texts: Sequence[str], *, embedder: str | None = None, dimensions: int | None = None
    ) -> NDArray[Any]:
        """Return float32 of shape (n, dim)."""
        self._check_enabled()
        return await self.embedder(embedder, dimensions).embed(texts)

    def check_search(self, **options: Any) -> None:
        """Raise what a search with these options would."""
        Retrieval(self.config.retrieval, Place(self.config.default_collection, "global"), "query", **options)

    def read_files(self, given: Sequence[Any], access: Any, *, extra_roots: Sequence[Path] = ()) -> list[Any]:
        """Return documents with the text of those that have a `path`; access: a `security.FileAccess`."""
        return folders.expanded(given, access, extra_roots=extra_roots)

    def chunk(self, text: str, **given: Any) -> list[Chunk]:
        """Return the chunks of a text; given: strategy, chunk_size, overlap, min_chunk_size, max_chunk_size."""
        return chunking.chunks(text, _recipe(self.config.chunking, given))

    def get(self, ident: str, **place: Any) -> dict[str, Any] | None:
        """Return a document with its text, or None."""
        where = self.place(**place)
        found = self._catalog.find(where.collection)
        return None if found is None else found.get(where.scope, ident)

    def list_documents(self, *, limit: int = 100, after: str | None = None, **place: Any) -> list[dict[str, Any]]:
        """Return documents without text, by id."""
        where = self.place(**place)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= documents.MAX_DOCUMENTS:
            raise InvalidArgument(
                f"limit is a whole number from 1 to {documents.MAX_DOCUMENTS}", details={"name": "limit"}
            )
        found = self._catalog.find(where.collection)
        return [] if found is None else found.documents(where.scope, limit=limit, after=after)

    def update_metadata(self, ident: str, metadata: Any, *, merge: bool = True, **place: Any) -> bool:
        """Change metadata of a document, key by key unless `merge` is off; tell whether the document is there."""
        where = self.place(**place)
        given = documents.checked_metadata(metadata, f"document {ident}")
        found = self._catalog.find(where.collection)
        old = None if found is None else found.get(where.scope, ident)
        if found is None or old is None:
            return False
        merged = documents.checked_metadata({**old["metadata"], **given} if merge else given, f"document {ident}")
        event, life = documents.event_time(given), documents.life(given)
        return found.set_metadata(
            where.scope,
            ident,
            merged,
            event_time=old.get("event_time") if event is None else event,
            expires=old.get("expires_at") if life is None else time.time() + life,
        )

    async def delete(self, ids: str | Sequence[str], **place: Any) -> int:
        """Remove documents; return how many were there."""
        where = self.place(**place)
        listed = [ids] if isinstance(ids, str) else list(ids)
        found = self._catalog.find(where.collection)
        return 0 if found is None else await offload(found.delete, where.scope, listed)

    def create_collection(self, name: str, **settings: Any) -> dict[str, Any]:
        """Make a collection, or return the one that is there, which other settings refuse.

        settings: metric, embedder, dimensions. Raises InvalidArgument, EmbedderMismatch.
        """
        self._check_enabled()
        metric = settings.pop("metric", None)
        metric = METRICS.get(str(metric), metric)
        if metric is not None and metric not in KNOWN_METRICS:
            raise InvalidArgument(
                f"there is no metric {metric!r}; there are: {', '.join(KNOWN_METRICS)}",
                details={"name": "metric", "value": metric, "allowed": list(KNOWN_METRICS)},
            )
        found, chosen, new = self._made(name, metric=metric, **settings)
        return {
            "name": name,
            "embedder": chosen.name,
            "dimensions": found.recorded.dimensions,
            "created": new,
            "metric": found.recorded.metric,
        }

    def list_collections(self) -> list[dict[str, Any]]:
        """Return the collections with their settings and counts, by name; those of sessions are among them."""
        self._check_enabled()
        listed = []
        for name in self._catalog.names():
            found = self._catalog.find(name)
            if found is None:
                continue
            counts = found.stats()
            listed.append(stats.listed(name, found, counts))
            if name == self.config.default_collection:
                for session in sessions.names(found):
                    counts = found.stats(f"session:{session}")
                    listed.append(stats.listed(f"{SESSION_COLLECTION}{session}", found, counts))
        return sorted(listed, key=lambda item: str(item["name"]))

    async def drop_collection(self, name: str) -> int:
        """Remove a collection; return how many vectors it had, 0 where there is none."""
        where = self.place(collection=name)
        if where.scope.startswith("session:"):
            return self.cleanup_scope(where.scope)
        return await offload(self._catalog.drop, name)

    def _base(self) -> Collection:
        return self._made(self.config.default_collection)[0]

    def create_session_collection(
        self, session_id: str, ttl: float | None = sessions.DEFAULT_TTL_S, *, max_vectors: int | None = None
    ) -> dict[str, Any]:
        """Make the collection of a session. ttl: seconds, None for ever."""
        self._check_enabled()
        session, life = sessions.check_id(session_id), sessions.seconds(ttl, "ttl")
        base = self._base()
        old = sessions.find(base, session)
        expires = None if life is None else time.time() + life
        record = {**(old or {}), "ttl": life, "expires_at": expires, "max_vectors": _limit(max_vectors)}
        sessions.write(base, session, record)
        name = f"{SESSION_COLLECTION}{session}"
        return {"session_id": session, "namespace": name, "name": name, **record, "created": old is None}

    def configure_session(
        self,
        session_id: str,
        *,
        vector_ttl: float | None = sessions.DEFAULT_TTL_S,
        auto_ingest: bool = False,
        persist: bool = True,
        max_vectors: int | None = None,
    ) -> dict[str, Any]:
        """Say how long vectors of a session live, how many there may be, and whether they outlive the process."""
        self._check_enabled()
        if auto_ingest:
            raise ConfigurationError(
                "auto_ingest is not available: ingest what the session needs with ingestSession",
                details={"key": "auto_ingest"},
            )
        session = sessions.check_id(session_id)
        base = self._base()
        record = {
            "vector_ttl": sessions.seconds(vector_ttl, "vector_ttl"),
            "persist": bool(persist),
            "max_vectors": _limit(max_vectors),
        }
        sessions.write(base, session, {**(sessions.find(base, session) or {}), **record})
        return {"session_id": session, **record, "auto_ingest": False, "configured": True}

    def get_stats(
        self, scope: str | None = None, scope_id: str | None = None, *, collection: str | None = None
    ) -> dict[str, Any]:
        """Return counts of a scope, or of a whole collection when only that is named; unknown places give zeros.

        A text that names a collection and no scope of the default one counts that collection.
        """
        self._check_enabled()
        if collection is None and scope is not None and scope_id is None and not self._is_scope(scope):
            collection, scope = scope, None
        if scope is None and collection is None:
            scope = "global"
        where = self.place(collection=collection, scope=scope, scope_id=scope_id)
        whole = scope is None and where.scope == "global"
        found = self._catalog.find(where.collection)
        counts: dict[str, Any] = {} if found is None else found.stats(None if whole else where.scope)
        used = stats.used(self._counters, where, whole=whole)
        return stats.counted(found, counts, used, self.config.embedding)

    def _is_scope(self, text: str) -> bool:
        if text == "global" or ":" in text:
            return True
        base = self._catalog.find(self.config.default_collection)
        known = base is not None and scope_text(text) in base.scopes()
        return known or (session_of(text) is None and self._catalog.find(text) is None)

    def cleanup_scope(self, scope: str, scope_id: str | None = None) -> int:
        """Remove a scope from every collection; return how many vectors went."""
        return self.remove_scope(scope, scope_id)["vectors"]

    def remove_scope(self, scope: str, scope_id: str | None = None) -> dict[str, int]:
        """Remove a scope from every collection; return counts: documents, vectors, bytes."""
        where = self.place(scope=scope, scope_id=scope_id)
        total = {"documents": 0, "vectors": 0, "bytes": 0}
        for name in self._catalog.names():
            found = self._catalog.find(name)
            if found is None:
                continue
            for what, amount in found.delete_scope(where.scope).items():
                total[what] += amount
            if where.scope.startswith("session:"):
                sessions.remove(found, where.scope.partition(":")[2])
        return total

    def list_providers(self) -> list[dict[str, Any]]:
        """Return the embedders: name, available, dimensions, models."""
        listed = []
        for name in embedders.names():
            module = embedders.module(name)
            listed.append(
                {"name": name, "available": True, "dimensions": module.DIMENSIONS, "models": list(module.MODELS)}
            )
        return listed

    def save(self) -> None:
        """Put everything on the disk; collections in memory are written to the vectors folder."""
        self._catalog.save()

    def load(self) -> None:
        """Take what the vectors folder holds into collections in memory."""
        self._catalog.load()

    def close(self) -> None:
        """Forget sessions that do not persist and close the files. Safe to call twice."""
        base = self._catalog.opened(self.config.default_collection)
        if base is not None:
            sessions.remove_passing(base)
        self._catalog.close()


def _recipe(config: configuration.model.Chunking, given: Mapping[str, Any] | None) -> chunking.Recipe:
    return chunking.recipe(config, given)


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgument(f"max_vectors is a whole number above 0, got {value!r}", details={"name": "max_vectors"})
    return value
