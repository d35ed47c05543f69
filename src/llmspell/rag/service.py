"""`Rag`: documents by place, ingested, found, counted, removed. One per process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.base.offload import offload
from llmspell.config.model import Rag as Section
from llmspell.config.terminal import home_folder
from llmspell.errors import EmbedderMismatch, InvalidArgument, LLMSpellError
from llmspell.rag import documents, folders, rerankers
from llmspell.rag.cache import Cache
from llmspell.rag.chunking import chunks, recipe
from llmspell.rag.defaults import configured, in_force
from llmspell.rag.embedding import Wanted
from llmspell.rag.ingest import Ingestion
from llmspell.rag.place import Place
from llmspell.rag.results import SearchResult
from llmspell.rag.retrieve import Retrieval, plain_names
from llmspell.rag.transfers import Transfers
from llmspell.security.policies import denied
from llmspell.vectors import documents as vectors
from llmspell.vectors.filters import compile_filter

if TYPE_CHECKING:
    from llmspell.embedders._base import Services
    from llmspell.embedders._source import Run
    from llmspell.rag.results import Chunk, IngestResult
    from llmspell.tenancy import Gate
    from llmspell.vectors.collection import Collection

PLACE = ("collection", "scope", "scope_id", "tenant_id", "session_id")
MAX_SEARCH_BYTES = 1 << 26
MAX_KEPT = 100_000
PAGE = 500


class Rag(Transfers):
    """Documents of all places. Its collections: `Collections`, `SessionCollections`, `Transfers`.

    config: the section `rag`, without it the defaults. home: its `vectors/` holds the collections unless the
    configuration names a folder; without it the usual home.
    gate: the rules for the caller.
    """

    def __init__(
        self,
        config: Section | None = None,
        *,
        home: str | Path | None = None,
        services: Callable[[], Services] | None = None,
        gate: Gate | None = None,
    ) -> None:
        config = Section() if config is None else config
        folder = Path(home_folder() if home is None else home)
        super().__init__(config, home=folder, services=services, gate=gate)
        self._searches = Cache(
            max_entries=config.cache_search_cache_size,
            max_bytes=MAX_SEARCH_BYTES,
            ttl_s=config.cache_search_cache_ttl_seconds,
        )
        self._documents = Cache(max_entries=MAX_KEPT, max_bytes=config.cache_document_cache_size_mb * 1_048_576)

    async def ingest(
        self,
        docs: Any,
        *,
        chunking: Mapping[str, Any] | None = None,  # noqa: A002,RUF100 - the documented name
        embedder: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        cache: bool = True,
        batch_size: int | None = None,
        on_progress: Any = None,
        on_error: str = "raise",
        reembed: bool = False,
        **place: Any,
    ) -> IngestResult:
        """Store documents: a text, a table, or a list of them. The same id replaces, equal content is skipped.

        place: collection, scope, scope_id, tenant_id, session_id. cache: whether vectors of texts seen before may
        serve. on_progress: called with IngestProgress, may be async; raising from it stops. on_error: raise, or skip,
        which lists failures. reembed: where the collection has another embedder, `reindex` it first.
        Raises ValidationError, EmbedderMismatch.
        """
        wanted = Wanted(embedder, model, dimensions)
        options = {"chunking": chunking, "cache": cache, "batch_size": batch_size, "on_progress": on_progress}
        try:
            return await self._ingest(docs, wanted, **options, on_error=on_error, **place)
        except EmbedderMismatch:
            if not reembed:
                raise
        name = self.place(**place).collection
        await self.reindex(name, embedder=embedder, model=model, dimensions=dimensions)
        return await self._ingest(docs, wanted, **options, on_error=on_error, **place)

    async def _ingest(
        self,
        docs: Any,
        wanted: Wanted,
        *,
        chunking: Mapping[str, Any] | None,  # noqa: A002,RUF100 - the documented name
        cache: bool,
        batch_size: int | None,
        on_progress: Any,
        on_error: str,
        **place: Any,
    ) -> IngestResult:
        where = self.place(**place)
        given = documents.normalised(docs)
        if on_error not in ("raise", "skip"):
            raise InvalidArgument(f"on_error is 'raise' or 'skip', got {on_error!r}", details={"name": "on_error"})
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise InvalidArgument(
                f"batch_size is a whole number above 0, got {batch_size!r}", details={"name": "batch_size"}
            )
        recipe(self.config.chunking, chunking)
        limits = self._enter("insert", where)
        began = time.monotonic()
        with self._lasting(where):
            found, chosen = await self._holder(where, wanted, cache=cache and self.config.embedding.cache_enabled)
            made = recipe(self.config.chunking, {**self._chunking_of(found, where), **(chunking or {})})
        session = self._session(where)
        running = Ingestion(
            found,
            where.scope,
            chosen,
            recipe=made,
            on_progress=on_progress,
            skip_errors=on_error == "skip",
            batch_size=batch_size,
            life=session.get("vector_ttl"),
            max_vectors=session.get("max_vectors"),
            reserve=partial(self._reserve, where) if self._counts_for(where) else None,
            shows=None if limits is None else self._shows(limits),
        )
        try:
            with self._lasting(where):
                return await running.run(given)
        finally:
            self._count_spent(where, chosen)
            self._charge(where, began)

    async def search(
        self,
        query: str,
        *,
        embedder: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        cache: bool = True,
        **options: Any,
    ) -> SearchResult:
        """Return the chunks that answer a query, best first.

        options: place (collection, scope, scope_id, tenant_id, session_id), k, mode (hybrid, vector, keyword), filters,
        threshold, fusion (rrf, weighted), weights, rerank, rerank_required, candidates, event_time_range,
        ingestion_time_range, exclude_expired, include_content, include_vector, group_by. Aliases: `retrieve.ALIASES`.
        Raises InvalidArgument.
        """
        options = plain_names(options)
        where = self.place(**{name: options.pop(name) for name in PLACE if name in options})
        limits = self._enter("search", where, query=True)
        if limits is not None:
            options["filters"] = {"and": [options["filters"], limits]} if options.get("filters") else limits
        ask = self.config.retrieval.rerank if options.get("rerank") is None else options["rerank"]
        if rerankers.named(ask) is not None:
            options["rerank"] = rerankers.reranker(ask, self.config.embedding, self._services)
        running = Retrieval(self.config.retrieval, where, query, **options)
        began = time.monotonic()
        with self._lasting(where):
            found = self._catalog.find(where.collection, where.scope)
            made = found or self._settings_of(*where)
            wanted = Wanted(embedder, model, dimensions)
            source = self.embedder(*wanted) if made is None else await self._asked_of(made, wanted)
        keeps = cache and self.config.embedding.cache_enabled
        chosen = self._working(found, source, where.scope, query=True, cache=keeps)
        self._count(where, "searches_performed", 1)
        try:
            with self._lasting(where):
                return await self._answer(running, found, chosen, cache=cache)
        finally:
            self._count_spent(where, chosen)
            self._charge(where, began, chosen.spent, query_count=1)

    async def _answer(
        self, running: Retrieval, found: Collection | None, embedder: Run, *, cache: bool
    ) -> SearchResult:
        """Return what was found when the same was asked before and nothing was written since, else search."""
        began = time.monotonic()
        stamp = (
            None
            if found is None or not cache or not self.config.cache_search_cache_enabled
            else found.stamp(running.where.scope)
        )
        key = None if stamp is None else running.key(embedder.id)
        kept = None if key is None else self._searches.get(key, stamp)
        if kept is not None:
            embedder.spent.hits += running.uses_vectors
            again = msgspec.msgpack.decode(kept, type=SearchResult)
            took = (time.monotonic() - began) * 1000
            return msgspec.structs.replace(again, embedding_tokens=0, duration_ms=took)
        result = await running.run(found, embedder)
        if key is not None and not result.warnings:
            self._searches.put(key, msgspec.msgpack.encode(result), stamp=stamp, until=running.until)
        return result

    async def keep_turn(self, session_id: str, *, ident: str, agent: str, asked: str, answered: str) -> bool:
        """Store what an agent was asked and answered, if its session wants that; tell whether it did.

        A failure is logged: the answer of an agent does not depend on it.
        """
        if not self.config.enabled:
            return False
        try:
            if not self._session(self.place(session_id=session_id)).get("auto_ingest"):
                return False
            turn = {"id": ident, "content": f"{asked}\n\n{answered}", "metadata": {"agent": agent, "kind": "turn"}}
            await self.ingest(turn, session_id=session_id)
        except LLMSpellError as error:
            getLogger(__name__).warning("a turn was not kept", extra={"session": session_id, "reason": error.message})
            return False
        return True

    def configure(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Change what later calls do where they do not say; return what is in force. Raises InvalidArgument.

        options: provider, embedding_model, vector_dimensions, collection, chunking or its settings, threshold, k, mode,
        cache.
        """
        self.config, before = configured(self.config, options), self.config
        try:
            self.embedder()
            self.place()
            self.check_search()
        except LLMSpellError:
            self.config = before
            raise
        return in_force(self.config)

    def check_search(self, **options: Any) -> None:
        """Raise what a search with these options would."""
        Retrieval(self.config.retrieval, Place(self.config.default_collection, "global"), "query", **options)

    def read_files(self, given: Sequence[Any], access: Any, *, extra_roots: Sequence[Path] = ()) -> list[Any]:
        """Return documents with the text of those that have a `path`; access: a `security.FileAccess`."""
        return folders.expanded(given, access, extra_roots=extra_roots)

    def chunk(self, text: str, *, name: str = "", **given: Any) -> list[Chunk]:
        """Return the chunks of a text. name: of its file or language, for code.

        given: strategy, chunk_size, overlap, min_chunk_size, max_chunk_size. Raises InvalidArgument.
        """
        if not isinstance(text, str):
            raise InvalidArgument(f"a text to cut is a string, not {type(text).__name__}", details={"name": "text"})
        documents.check_text(text, "the text")
        return chunks(text, recipe(self.config.chunking, given), name)

    def get(self, ident: str, **place: Any) -> dict[str, Any] | None:
        """Return a document with its text, or None."""
        where = self.place(**place)
        limits = self._enter("search", where)
        found = self._catalog.find(where.collection, where.scope)
        document = None if found is None else self._document(found, where, documents.known_as(ident))
        return document if document is None or limits is None or self._shows(limits)(document) else None

    def _document(self, found: Collection, where: Place, name: str) -> dict[str, Any] | None:
        """Return a document, the one that is kept when nothing was written since."""
        stamp = found.stamp(where.scope) if self.config.cache_document_cache_enabled else None
        key = msgspec.json.encode([where, name])
        kept = None if stamp is None else self._documents.get(key, stamp)
        if kept is not None:
            again: dict[str, Any] = msgspec.msgpack.decode(kept)
            return again
        document = found.get(where.scope, name)
        if stamp is not None and document is not None:
            self._documents.put(key, msgspec.msgpack.encode(document), stamp=stamp, until=document.get("expires_at"))
        return document

    def list_documents(self, *, limit: int = 100, after: str | None = None, **place: Any) -> list[dict[str, Any]]:
        """Return documents without text, by id."""
        where = self.place(**place)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= documents.MAX_DOCUMENTS:
            raise InvalidArgument(
                f"limit is a whole number from 1 to {documents.MAX_DOCUMENTS}", details={"name": "limit"}
            )
        limits = self._enter("search", where)
        found = self._catalog.find(where.collection, where.scope)
        if found is None:
            return []
        if limits is None:
            return found.documents(where.scope, limit=limit, after=after)
        shows = self._shows(limits)
        listed: list[dict[str, Any]] = []
        while len(listed) < limit:
            page = found.documents(where.scope, limit=PAGE, after=after)
            listed += [document for document in page if shows(document)]
            if len(page) < PAGE:
                break
            after = page[-1]["id"]
        return listed[:limit]

    def update_metadata(self, ident: str, metadata: Any, *, merge: bool = True, **place: Any) -> bool:
        """Change metadata of a document, key by key unless `merge` is off; tell whether the document is there."""
        where = self.place(**place)
        given = documents.checked_metadata(metadata, f"document {ident}")
        shows = self._shows(self._enter("update", where))
        found = self._catalog.find(where.collection, where.scope)
        old = None if found is None else found.get(where.scope, documents.known_as(ident))
        if found is None or old is None or not shows(old):
            return False
        merged = documents.checked_metadata({**old["metadata"], **given} if merge else given, f"document {ident}")
        if not shows({"metadata": merged}):
            raise denied("update", where.scope, "the document would leave what is open")
        event, life = documents.event_time(given), documents.life(given)
        return found.set_metadata(
            where.scope,
            documents.known_as(ident),
            merged,
            event_time=old.get("event_time") if event is None else event,
            expires=old.get("expires_at") if life is None else time.time() + life,
        )

    async def delete(
        self,
        ids: str | Sequence[str] | None = None,
        *,
        source: str | None = None,
        filters: Mapping[str, Any] | None = None,
        **place: Any,
    ) -> int:
        """Remove the documents that meet every condition given; return how many. Raises InvalidArgument for none.

        source: as documents state it. filters: over the metadata of documents, as those of a search.
        """
        where = self.place(**place)
        if ids is None and source is None and not filters:
            raise InvalidArgument("delete needs ids, source or filters", details={"name": "ids"})
        listed = [ids] if isinstance(ids, str) else ids
        names = None if listed is None else [documents.known_as(ident) for ident in listed]
        limits = self._enter("delete", where)
        spec = [one for one in (filters, limits) if one]
        matches = compile_filter({"and": spec}) if spec else None
        began = time.monotonic()
        found = self._catalog.find(where.collection, where.scope)
        if found is None:
            return 0

        def remove() -> int:
            chosen = vectors.chosen(found, where.scope, ids=names, source=source, matches=matches)
            return found.delete(where.scope, chosen)

        removed = await offload(remove)
        self._charge(where, began, delete_count=removed)
        return removed
