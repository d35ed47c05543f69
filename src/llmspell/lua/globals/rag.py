"""The global `RAG`: documents in, the pieces that answer a query out. Its results and `RAG.config`: see `rag.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from llmspell.errors import InvalidArgument, ValidationError
from llmspell.lua.globals._base import Tagged, check_options, pick

if TYPE_CHECKING:
    from llmspell.app import App, Lane
    from llmspell.lua.globals._base import Function

PLACE = frozenset(("collection", "scope", "scope_id", "tenant_id", "session_id"))
EMBEDDER = ("provider", "embedder", "embedding_model", "model", "cache")
CHUNKING = ("strategy", "chunk_size", "overlap", "chunk_overlap", "min_chunk_size", "max_chunk_size")
INGEST = PLACE | {"chunking", *CHUNKING, *EMBEDDER, "on_progress", "on_error", "batch_size", "reembed"}
SEARCH = PLACE | {
    "query", "k", "top_k", "limit", "max_results", "threshold", "min_score", "filters", "metadata_filter", "filter",
    "mode", "weights", "fusion", "rerank", "candidates", "event_time_range", "ingestion_time_range", "exclude_expired",
    "include_content", "include_vector", "group_by", "rerank_required", *EMBEDDER,
}  # fmt: skip
DELETE = PLACE | {"source", "filters", "filter", "metadata_filter"}
CONFIGURE = frozenset((
    "provider", "embedding_provider", "embedding_model", "vector_dimensions", "collection", "chunking", "threshold",
    "k", "search_limit", "mode", "cache", *CHUNKING,
))  # fmt: skip
PASSED = (
    "weights", "fusion", "rerank", "candidates", "event_time_range", "ingestion_time_range", "exclude_expired",
    "include_content", "include_vector", "group_by", "rerank_required",
)  # fmt: skip


class Global:
    """Functions of the table `RAG`."""

    aliases: ClassVar[dict[str, str]] = {
        "createCollection": "create_collection",
        "listCollections": "list_collections",
        "deleteCollection": "delete_collection",
        "createSessionCollection": "create_session_collection",
        "configureSession": "configure_session",
        "ingestSession": "ingest_session",
        "searchSession": "search_session",
        "setScope": "set_scope",
        "cleanupScope": "cleanup_scope",
        "ingest_batch": "ingest",
        "listProviders": "list_providers",
        "getStats": "get_stats",
        "listDocuments": "list_documents",
        "updateMetadata": "update_metadata",
        "migrateSessionToTenant": "migrate_session_to_tenant",
    }

    def __init__(self, app: App, lane: Lane) -> None:
        self._app = app
        self._lane = lane
        self._scope: dict[str, Any] = {}
        self._stated: dict[str, Any] = {}

    def _known(self, options: dict[str, Any], known: frozenset[str] | set[str], function: str) -> None:
        """Warn of options that do nothing, each once; raise in strict mode."""
        check_options(self._lane, options, known, f"RAG.{function}")

    def _place(self, options: dict[str, Any], **more: Any) -> dict[str, Any]:
        given = {name: options[name] for name in PLACE if options.get(name) is not None}
        given.update({name: value for name, value in more.items() if value is not None})
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise ValidationError(f"{name} is a text, not {type(value).__name__}", details={"name": name})
        placed = {name: str(value) for name, value in given.items()}
        if not placed.keys() & {"scope", "tenant_id", "session_id"}:
            placed |= self._scope
        if "collection" not in placed and "session_id" not in placed and self._stated.get("collection"):
            placed["collection"] = self._stated["collection"]
        return placed

    def _embedding(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return which embedder is asked for; what `configure` states holds for collections made after it."""
        stated = self._stated
        provider = pick(options, "provider", "embedder")
        model = pick(options, "embedding_model", "model")
        if provider is None:
            provider, model = stated.get("provider"), stated.get("embedding_model") if model is None else model
        found = {
            "embedder": None if provider is None else str(provider),
            "model": None if model is None else str(model),
            "dimensions": stated.get("vector_dimensions"),
            "cache": pick(options, "cache", default=stated.get("cache")),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _chunking(self, options: dict[str, Any]) -> dict[str, Any] | None:
        return {**self._stated.get("chunking", {}), **_cutting(options)} or None

    async def ingest(self, docs: Any = None, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Store documents and return what was done."""
        return await self._ingest(docs, options or {})

    async def _ingest(self, docs: Any, options: dict[str, Any], **more: Any) -> dict[str, Any]:
        from msgspec import to_builtins

        self._known(options, INGEST, "ingest")
        place = self._place(options, **more)
        tell: Function | None = options.get("on_progress")

        async def progress(step: Any) -> None:
            if tell is not None:
                await tell(_present(to_builtins(step)))

        result = await self._app.rag.ingest(
            await self._read(docs),
            chunking=self._chunking(options),
            on_progress=progress if tell is not None else None,
            on_error=options.get("on_error", "raise"),
            batch_size=options.get("batch_size"),
            reembed=options.get("reembed") is True,
            **self._embedding(options),
            **place,
        )
        plain: dict[str, Any] = to_builtins(result)
        return plain

    async def _read(self, docs: Any) -> Any:
        """Return documents with the text of those that name a file or folder, opened as the script's own files are."""
        listed = docs if isinstance(docs, list) else [docs]
        if not any(isinstance(item, dict) and item.get("path") is not None for item in listed):
            return docs
        from llmspell.base.offload import offload

        access, roots = self._app.security.script, tuple(self._lane.roots)
        return await offload(lambda: self._app.rag.read_files(listed, access, extra_roots=roots))

    async def search(self, query: Any = None, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Return the chunks that answer a query: `search(query, options)` or `search{query = ...}`."""
        given = options or {}
        if isinstance(query, dict):
            given = {**query, **given}
            query = given.get("query")
        return await self._search(query, given)

    async def _search(self, query: Any, options: dict[str, Any], **more: Any) -> Tagged:
        from msgspec import to_builtins

        self._known(options, SEARCH, "search")
        stated = {
            "k": pick(options, "k", "top_k", "limit", "max_results", default=self._stated.get("k")),
            "threshold": pick(options, "threshold", "min_score", default=self._stated.get("threshold")),
            "mode": pick(options, "mode", default=self._stated.get("mode")),
            **{name: options[name] for name in PASSED if options.get(name) is not None},
        }
        filters = pick(options, "filters", "metadata_filter", "filter")
        if filters is not None and not isinstance(filters, dict):
            raise ValidationError("filters is a table of fields", details={"name": "filters"})
        stated["filters"] = filters
        result = await self._app.rag.search(query, **stated, **self._embedding(options), **self._place(options, **more))
        return Tagged("rag_result", to_builtins(result))

    async def get(self, id: str, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # noqa: A002 - the documented name
        """Return a document with its text, or nil."""
        return self._app.rag.get(id, **self._place(options or {}))

    async def delete(self, ids: Any = None, options: dict | None = None) -> int:  # type: ignore[type-arg]  # a word of the converter
        """Remove a document, a list of them, or those of `{source?, filters?}`; return how many were there."""
        given = {**ids, **(options or {})} if isinstance(ids, dict) and ids else options or {}
        self._known(given, DELETE, "delete")
        filters = pick(given, "filters", "metadata_filter", "filter")
        if filters is not None and not isinstance(filters, dict):
            raise ValidationError("filters is a table of fields", details={"name": "filters"})
        named = None if ids is None or (isinstance(ids, dict) and ids) else _texts(ids, "delete")
        return await self._app.rag.delete(named, source=given.get("source"), filters=filters, **self._place(given))

    def list_documents(self, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Return documents without their text, by id."""
        given = options or {}
        self._known(given, PLACE | {"limit", "after"}, "list_documents")
        limit = given.get("limit", 100)
        return self._app.rag.list_documents(limit=limit, after=given.get("after"), **self._place(given))

    def update_metadata(self, id: str, metadata: dict, options: dict | None = None) -> bool:  # type: ignore[type-arg]  # noqa: A002 - the documented name
        """Change metadata key by key; tell whether the document is there."""
        return self._app.rag.update_metadata(id, metadata, **self._place(options or {}))

    def configure(self, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Change what later calls of this interpreter do; return the effective settings."""
        given = options or {}
        self._known(given, CONFIGURE, "configure")
        stated = dict(self._stated)
        simple = {
            "provider": pick(given, "provider", "embedding_provider"),
            "embedding_model": given.get("embedding_model"),
            "vector_dimensions": given.get("vector_dimensions"),
            "cache": given.get("cache"),
            "collection": given.get("collection"),
            "threshold": given.get("threshold"),
            "k": pick(given, "k", "search_limit"),
            "mode": given.get("mode"),
        }
        stated |= {name: value for name, value in simple.items() if value is not None}
        if simple["provider"] is not None and simple["embedding_model"] is None:
            stated.pop("embedding_model", None)
        chunking = self._chunking(given)
        if chunking:
            stated["chunking"] = chunking
        self._check(stated)
        self._stated = stated
        return self.effective()

    def _check(self, stated: dict[str, Any]) -> None:
        """Raise what a later call with these settings would."""
        rag = self._app.rag
        if not isinstance(stated.get("cache", True), bool):
            raise InvalidArgument("cache is true or false", details={"name": "cache", "value": stated["cache"]})
        rag.embedder(stated.get("provider"), stated.get("embedding_model"), stated.get("vector_dimensions"))
        rag.chunk("", **stated.get("chunking", {}))
        rag.check_search(k=stated.get("k"), mode=stated.get("mode"), threshold=stated.get("threshold"))
        rag.place(**self._place({"collection": stated.get("collection")}))

    def effective(self) -> Any:
        """Return the settings in force for this interpreter."""
        from msgspec import to_builtins

        config, stated = self._app.config.rag, self._stated
        chunking = to_builtins(config.chunking)
        found = {
            "enabled": config.enabled,
            "provider": stated.get("provider", config.embedding.default_provider),
            "model": stated.get("embedding_model", config.embedding.model),
            "dimensions": stated.get("vector_dimensions")
            or self._app.rag.dimensions_of(stated.get("provider"), stated.get("embedding_model")),
            "cache": stated.get("cache", config.embedding.cache_enabled),
            "multi_tenant": self._app.multi_tenant,
            "collection": stated.get("collection", config.default_collection),
            "scope": self._scope.get("scope", "global"),
            "backend": config.vector_storage.backend,
            "chunking": {**chunking, **stated.get("chunking", {})},
            "threshold": stated.get("threshold", config.retrieval.threshold),
            "k": stated.get("k", config.retrieval.top_k),
            "mode": stated.get("mode", config.retrieval.mode),
        }
        return _present(found)

    def list_providers(self) -> Any:
        """Return the embedders: name, available, dimensions, models."""
        return [Tagged("rag_provider", entry) for entry in self._app.rag.list_providers()]

    def get_stats(self, scope: Any = None, scope_id: Any = None) -> Any:
        """Return counts of a scope, or of a collection given as `{collection = ...}` or by its name alone."""
        if isinstance(scope, dict):
            self._known(scope, set(PLACE), "get_stats")
            scope, scope_id, collection = scope.get("scope"), scope.get("scope_id"), scope.get("collection")
        else:
            collection = None
        if scope is None and collection is None:
            collection, scope = self._stated.get("collection"), self._scope.get("scope")
        ident = None if scope_id is None else str(scope_id)
        found = self._app.rag.get_stats(None if scope is None else str(scope), ident, collection=collection)
        return _present(found)

    def create_collection(self, name: str, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Make a collection; one that exists with other settings raises."""
        given = options or {}
        dimensions = pick(given, "dimensions", "vector_dimensions")
        known = {"metric", "dimensions", "vector_dimensions", "chunking", *CHUNKING, *EMBEDDER}
        self._known(given, known, "create_collection")
        wanted = {**self._embedding(given), **({} if dimensions is None else {"dimensions": dimensions})}
        wanted.pop("cache", None)
        chunking = _cutting(given) or None
        return self._app.rag.create_collection(name, metric=given.get("metric"), chunking=chunking, **wanted)

    def list_collections(self) -> Any:
        """Return the collections with settings and counts, by name."""
        return self._app.rag.list_collections()

    async def delete_collection(self, name: str) -> int:
        """Remove a collection; return how many vectors it had."""
        return await self._app.rag.drop_collection(name)

    def create_session_collection(self, session: str, options: Any = None) -> Any:
        """Make the collection of a session. options: its life in seconds, or `{ttl, max_vectors}`."""
        given = options if isinstance(options, dict) else {"ttl": options}
        self._known(given, {"ttl", "max_vectors"}, "create_session_collection")
        kept = {name: given[name] for name in ("ttl", "max_vectors") if given.get(name) is not None}
        return _present(self._app.rag.create_session_collection(session, **kept))

    def configure_session(self, session: Any, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Say how long vectors of a session live and how many there may be."""
        given = dict(options or {})
        if isinstance(session, dict):
            given = {**session, **given}
            session = given.pop("session_id", None)
        known = ("vector_ttl", "auto_ingest", "persist", "max_vectors")
        self._known(given, set(known), "configure_session")
        kept = {name: given[name] for name in known if given.get(name) is not None}
        return _present(self._app.rag.configure_session(session, **kept))

    async def ingest_session(self, session: str, docs: Any = None, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Store documents in the scope of a session."""
        return await self._ingest(docs, options or {}, session_id=session)

    async def search_session(self, session: str, query: Any = None, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Search the scope of a session."""
        return await self._search(query, options or {}, session_id=session)

    def set_scope(self, scope: Any = None, id: Any = None) -> None:  # noqa: A002 - the documented name
        """Set the place of later calls of this interpreter; nil is the global one."""
        if scope is not None and not isinstance(scope, str):
            raise ValidationError("bad argument #1 to 'RAG.set_scope' (string expected)")
        self._scope = (
            {}
            if scope is None
            else {"scope": self._app.rag.place(scope=scope, scope_id=None if id is None else str(id)).scope}
        )

    def cleanup_scope(self, scope: Any, scope_id: Any = None) -> Any:
        """Remove a scope; return how many vectors went, or for the form of a table `{success, stats}`."""
        if not isinstance(scope, dict):
            if not isinstance(scope, str):
                raise ValidationError("bad argument #1 to 'RAG.cleanup_scope' (string or table expected)")
            return self._app.rag.cleanup_scope(scope, None if scope_id is None else str(scope_id))
        self._known(scope, {"scope", "scope_id", "confirm"}, "cleanup_scope")
        if not isinstance(scope.get("scope"), str):
            raise ValidationError("RAG.cleanup_scope: 'scope' is missing", details={"name": "scope"})
        ident = scope.get("scope_id")
        gone = self._app.rag.remove_scope(scope["scope"], None if ident is None else str(ident))
        stats = {
            "documents_removed": gone["documents"],
            "vectors_removed": gone["vectors"],
            "storage_freed_mb": gone["bytes"] / 1_048_576,
        }
        return {"success": True, "stats": stats}

    async def embed(self, texts: Any, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Return the vector of a text, or the vectors of a list of texts."""
        given = options or {}
        self._known(given, PLACE | {"dimensions", "input_type", *EMBEDDER}, "embed")
        kind = given.get("input_type", "document")
        if kind not in ("document", "query"):
            raise InvalidArgument("input_type is 'document' or 'query'", details={"name": "input_type", "value": kind})
        wanted = self._embedding(given)
        if given.get("dimensions") is not None:
            wanted["dimensions"] = given["dimensions"]
        scope = self._app.rag.place(**self._place(given)).scope
        listed = _texts(texts, "embed")
        found = (await self._app.rag.embed(listed, query=kind == "query", scope=scope, **wanted)).tolist()
        return found[0] if isinstance(texts, str) else found

    def chunk(self, text: str, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # a word of the converter
        """Return the pieces a text would be cut into: `{content, index, token_count, metadata, ...}`."""
        from msgspec import to_builtins

        given = options or {}
        self._known(given, {"chunking", "name", *CHUNKING}, "chunk")
        name = str(given.get("name") or "")
        return [to_builtins(piece) for piece in self._app.rag.chunk(text, name=name, **(self._chunking(given) or {}))]

    async def reindex(self, options: Any = None) -> Any:
        """Embed a collection anew, `reindex(name)` or `reindex{collection, provider, embedding_model, dimensions}`."""
        given = {"collection": options} if isinstance(options, str) else options or {}
        known = {"collection", "provider", "embedder", "embedding_model", "model", "dimensions", "vector_dimensions"}
        self._known(given, known, "reindex")
        provider, model = pick(given, "provider", "embedder"), pick(given, "embedding_model", "model")
        dimensions = pick(given, "dimensions", "vector_dimensions")
        name = given.get("collection") or self._stated.get("collection")
        return await self._app.rag.reindex(name, embedder=provider, model=model, dimensions=dimensions)

    async def migrate_session_to_tenant(self, session: str, tenant: str) -> int:
        """Hand the documents of a session to a tenant; return how many vectors moved."""
        return await self._app.rag.migrate_session_to_tenant(session, tenant)

    async def save(self) -> None:
        """Put everything on the disk."""
        from llmspell.base.offload import offload

        await offload(self._app.rag.save)

    async def load(self) -> None:
        """Take what is on the disk."""
        from llmspell.base.offload import offload

        await offload(self._app.rag.load)


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value: what is absent is nil to a script, not null."""
    return {name: value for name, value in fields.items() if value is not None}


def _cutting(options: dict[str, Any]) -> dict[str, Any]:
    """Return settings of chunking that stand in a table of their own or among the others."""
    nested = options.get("chunking")
    if nested is not None and not isinstance(nested, dict):
        raise ValidationError("chunking is a table", details={"name": "chunking"})
    unknown = sorted(set(nested or {}) - set(CHUNKING))
    if unknown:
        raise InvalidArgument(f"chunking: unknown setting {unknown[0]!r}", details={"name": "chunking"})
    return {**_flat(nested or {}), **_flat(options)}


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    found = {name: options[name] for name in CHUNKING if options.get(name) is not None}
    if "chunk_overlap" in found:
        found.setdefault("overlap", found.pop("chunk_overlap"))
    return found


def _texts(value: Any, function: str) -> list[str]:
    listed = [value] if isinstance(value, str) else [] if value == {} else value
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ValidationError(f"bad argument #1 to 'RAG.{function}' (string or list of strings expected)")
    return listed
