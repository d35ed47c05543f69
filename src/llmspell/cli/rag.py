"""`rag search`, `stats`, `collections`, `delete`, `export`, `import`, `reindex`."""

from __future__ import annotations

from llmspell.cli.grammar import UsageError
from llmspell.cli.start import closing, pair, real, run_async, start, whole
from llmspell.errors import ConfigurationError, InvalidArgument, LLMSpellError, NotFound, ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output
    from llmspell.rag import Rag


def search(call: Call, out: Output) -> int:
    """Search documents; best first."""
    options: dict[str, Any] = {
        "mode": call.get("mode"),
        "threshold": real(call, "threshold", above=None),
        "filters": _filters(call.get("filter") or ()),
        "k": whole(call, "top_k"),
    }
    app = started(call, out)
    options["k"] = options["k"] or app.config.rag.retrieval.top_k
    options["mode"] = options["mode"] or app.config.rag.retrieval.mode
    stated = {name: value for name, value in options.items() if value is not None}
    try:
        found = plain(run_async(closing(app, app.rag.search(call.args[0], **stated, **place(call)))))
    except InvalidArgument as error:  # what is searched for stands on the command line
        raise UsageError(error.message) from error
    for warning in found.get("warnings", ()):
        out.warn(str(warning))
    results = [
        {
            "id": item["id"],
            "score": item["score"],
            "text": item.get("content", item.get("text")),
            "source": item.get("source"),
            "metadata": item.get("metadata") or {},
        }
        for item in found["results"]
    ]
    payload = {
        "results": results,
        "exhausted": found["exhausted"],
        "embedder": found.get("embedder") or app.config.rag.embedding.default_provider,
        "duration_ms": found["duration_ms"],
    }
    rows = [(f"{item['score']:.4f}", item["id"], " ".join(str(item["text"]).split())[:160]) for item in results]
    out.emit(payload, lambda: out.table(("SCORE", "ID", "TEXT"), rows) if rows else "nothing found", items="results")
    return 0


def stats(call: Call, out: Output) -> int:
    """Show vectors, documents and bytes of a place, or of a collection with each of its scopes."""
    where = place(call)

    async def work(rag: Rag) -> dict[str, Any]:
        if where.keys() - {"collection"}:
            return rag.get_stats(rag.place(**where).scope, collection=where.get("collection"))
        name = where.get("collection") or rag.config.default_collection
        return {**rag.get_stats(collection=name), "scopes": rag.list_scopes(collection=name)}

    found = _with(call, out, work)
    scopes = [(item["scope"], item["documents"], item["vectors"], item["bytes"]) for item in found.get("scopes", ())]

    def shown() -> str:
        facts = out.table(("WHAT", "VALUE"), [(name, value) for name, value in found.items() if name != "scopes"])
        return f"{facts}\n\n{out.table(('SCOPE', 'DOCUMENTS', 'VECTORS', 'BYTES'), scopes)}" if scopes else facts

    out.emit(found, shown)
    return 0


def collections(call: Call, out: Output) -> int:
    """List collections with their embedders and sizes."""

    async def work(rag: Rag) -> list[dict[str, Any]]:
        return rag.list_collections()

    found = _with(call, out, work)
    rows = [
        (item["name"], item["embedder"], item["dimensions"], item["metric"], item["documents"], item["vectors"])
        for item in found
    ]
    headers = ("NAME", "EMBEDDER", "DIMENSIONS", "METRIC", "DOCUMENTS", "VECTORS")
    out.emit({"collections": found, "count": len(found)}, lambda: out.table(headers, rows), items="collections")
    return 0


def delete(call: Call, out: Output) -> int:
    """Remove documents, or with `--collection` and nothing else a whole collection."""
    where, filters, source = place(call), _filters(call.get("filter") or ()), call.get("source")
    ids = list(call.args) or None
    whole_one = ids is None and source is None and filters is None
    if whole_one and set(where) != {"collection"}:
        raise UsageError("rag delete needs ID, --source, --filter, or --collection alone")

    async def work(rag: Rag) -> dict[str, Any]:
        if whole_one:
            name = where["collection"]
            if all(item["name"] != name for item in rag.list_collections()):
                raise NotFound(f"there is no collection {name!r}", details={"what": "collection", "id": name})
            return {"collection": name, "documents": 0, "vectors": await rag.drop_collection(name)}
        removed = await rag.delete(ids, source=source, filters=filters, **where)
        if not removed and ids is not None:
            raise NotFound(f"there is no document {', '.join(ids)}", details={"what": "document", "id": ids[0]})
        return {"documents": removed}

    done = _with(call, out, work)
    text = f"removed the collection {done['collection']}" if whole_one else f"removed {done['documents']} documents"
    out.emit(done, text)
    return 0


def export(call: Call, out: Output) -> int:
    """Write the documents of a place to a file, with their vectors."""
    counts = _with(call, out, lambda rag: rag.export(call.args[0], **place(call)))
    out.emit({"file": call.args[0], **counts}, f"{counts['documents']} documents, {counts['vectors']} vectors")
    return 0


def import_file(call: Call, out: Output) -> int:
    """Store the documents of a file that `rag export` wrote."""
    reembed = bool(call.get("reembed"))
    counts = _with(call, out, lambda rag: rag.import_documents(call.args[0], reembed=reembed, **place(call)))
    out.emit({"file": call.args[0], **counts}, f"{counts['documents']} documents, {counts['vectors']} vectors")
    return 0


def reindex(call: Call, out: Output) -> int:
    """Embed a collection anew, with its own embedder or another one."""
    asked = {name: call.get(name) for name in ("embedder", "model")}
    dimensions = whole(call, "dimensions")
    done = _with(call, out, lambda rag: rag.reindex(call.get("collection"), dimensions=dimensions, **asked))
    text = f"{done['documents']} documents, {done['vectors']} vectors of {done['dimensions']} by {done['embedder']}"
    out.emit(done, text)
    return 0


def started(call: Call, out: Output) -> App:
    """Return the App of the call. Raises ConfigurationError where retrieval is switched off."""
    app = start(call, out)
    if not app.config.rag.enabled:
        raise ConfigurationError("retrieval is switched off: set rag.enabled = true", details={"key": "rag.enabled"})
    return app


def place(call: Call) -> dict[str, Any]:
    """Return the place that the options name. Raises UsageError for one that cannot be."""
    from llmspell.rag.place import scope_text
    from llmspell.vectors.catalog import folder_name

    stated = {"collection": call.get("collection"), "scope": call.get("scope"), "tenant_id": call.get("tenant")}
    try:
        scope_text(stated["scope"], tenant_id=stated["tenant_id"])
        if stated["collection"] is not None:
            folder_name(stated["collection"])
    except ValidationError as error:
        raise UsageError(error.message) from error
    return {name: value for name, value in stated.items() if value is not None}


def plain(value: Any) -> dict[str, Any]:
    """Return a result of the service as plain data."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(value)
    return found


def _with(call: Call, out: Output, work: Callable[[Rag], Coroutine[Any, Any, Any]]) -> Any:
    app = started(call, out)

    async def run() -> Any:
        return await work(app.rag)

    return run_async(closing(app, run()))


def _filters(items: list[str] | tuple[()]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for item in items:
        if item.lstrip().startswith("{"):
            from llmspell.base.jsontext import loads

            try:
                found |= loads(item)
            except LLMSpellError as error:
                raise UsageError(f"--filter: {error.message}") from error
        else:
            name, value = pair("--filter", item)
            found[name] = value
    return found or None
