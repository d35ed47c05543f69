"""`rag ingest`, `search`, `stats`."""

from __future__ import annotations

import sys
from pathlib import Path

from llmspell.cli.exit_codes import FAILED
from llmspell.cli.grammar import UsageError
from llmspell.cli.start import closing, duration, pair, real, run_async, start, whole
from llmspell.errors import ConfigurationError, LLMSpellError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output

MAX_FILE_BYTES = 52_428_800
HIDDEN = "."


def ingest(call: Call, out: Output) -> int:
    """Add files, folders, addresses or standard input to a collection."""
    chunking = {
        "chunk_size": whole(call, "chunk_size"),
        "overlap": whole(call, "overlap", 0),
        "strategy": call.get("strategy"),
    }
    metadata = dict(pair("--metadata", item) for item in call.get("metadata") or ())
    ttl = duration(call, "ttl")
    app = _started(call, out)
    skipped: list[dict[str, str]] = []
    stated = {name: value for name, value in chunking.items() if value is not None}
    place = _place(call)

    async def work() -> dict[str, Any]:
        documents = [_document(source, text, metadata, ttl) for source, text in _local(call, skipped)]
        if not documents and not skipped and not any(_is_url(argument) for argument in call.args):
            out.warn(f"no documents in {', '.join(call.args)}: no file there has a name that is read")
        for address in (argument for argument in call.args if _is_url(argument)):
            try:
                documents.append(_document(address, await _fetched(app, address), metadata, ttl))
            except LLMSpellError as error:
                skipped.append({"source": address, "reason": error.message})
        return _plain(await app.rag.ingest(documents, chunking=stated or None, on_error="skip", **place))

    result = run_async(closing(app, work()))
    skipped += [_failure(item) for item in result.get("errors", ())]
    payload = {
        "documents": result["documents_processed"],
        "chunks": result["chunks_created"],
        "vectors": result["vectors_created"],
        "unchanged": result.get("documents_unchanged", 0),
        "skipped": skipped,
        "embedder": result.get("embedder") or app.config.rag.embedding.default_provider,
        "duration_ms": result["duration_ms"],
    }
    lines = [f"{payload['documents']} documents, {payload['chunks']} chunks, {payload['vectors']} vectors"]
    if payload["unchanged"]:
        lines[0] += f", {payload['unchanged']} unchanged"
    out.emit(payload, "\n".join([*lines, *(f"skipped {item['source']}: {item['reason']}" for item in skipped)]))
    return FAILED if skipped and not payload["documents"] and not payload["unchanged"] else 0


def search(call: Call, out: Output) -> int:
    """Search documents; best first."""
    options: dict[str, Any] = {
        "mode": call.get("mode"),
        "threshold": real(call, "threshold", above=None),
        "filters": _filters(call.get("filter") or ()),
        "k": whole(call, "top_k"),
    }
    app = _started(call, out)
    options["k"] = options["k"] or app.config.rag.retrieval.top_k
    options["mode"] = options["mode"] or app.config.rag.retrieval.mode
    stated = {name: value for name, value in options.items() if value is not None}
    found = _plain(run_async(closing(app, app.rag.search(call.args[0], **stated, **_place(call)))))
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
    """Show vectors, documents and bytes of a scope."""
    app = _started(call, out)

    async def work() -> dict[str, Any]:
        return _plain(app.rag.get_stats(call.get("scope") or "global"))

    found = run_async(closing(app, work()))
    out.emit(found, lambda: out.table(("WHAT", "VALUE"), list(found.items())))
    return 0


def _started(call: Call, out: Output) -> App:
    app = start(call, out)
    if not app.config.rag.enabled:
        raise ConfigurationError("retrieval is switched off: set rag.enabled = true", details={"key": "rag.enabled"})
    return app


def _place(call: Call) -> dict[str, Any]:
    stated = {"collection": call.get("collection"), "scope": call.get("scope")}
    return {name: value for name, value in stated.items() if value is not None}


def _document(source: str, text: str, metadata: dict[str, Any], ttl: float | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": source,
        "content": text,
        "source": source,
        "metadata": {"source": source, **metadata},
    }
    return {**document, "ttl_seconds": ttl} if ttl else document


def _local(call: Call, skipped: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (source, text) of standard input and of files; what is no text is skipped with the reason."""
    from llmspell.rag.readers import read_text

    for argument in call.args:
        if argument == "-":
            yield "stdin", sys.stdin.read()
        elif not _is_url(argument):
            for path in _files(Path(argument), call.get("glob") or (), recursive=bool(call.get("recursive"))):
                try:
                    if path.stat().st_size > MAX_FILE_BYTES:
                        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
                    yield str(path), read_text(str(path), path.read_bytes())
                except LLMSpellError as error:
                    skipped.append({"source": str(path), "reason": error.message.removeprefix(f"{path} is ")})
                except (OSError, ValueError) as error:
                    skipped.append({"source": str(path), "reason": str(error)})


def _files(path: Path, patterns: list[str] | tuple[()], *, recursive: bool) -> list[Path]:
    if not path.exists():
        raise NotFound(f"no file {path}", details={"path": str(path)})
    if not path.is_dir():
        return [path]
    found = [
        item for pattern in patterns or ("*",) for item in (path.rglob(pattern) if recursive else path.glob(pattern))
    ]
    seen = (
        item
        for item in found
        if item.is_file() and not any(part.startswith(HIDDEN) for part in item.relative_to(path).parts)
    )
    return sorted(set(seen))


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


async def _fetched(app: App, address: str) -> str:
    """Return the text of an address; of a page its visible text."""
    response = await app.http.request("GET", address)
    if response.status >= 400:
        raise NotFound(f"{address} answered {response.status}", details={"url": address})
    text = response.text()
    if "html" not in response.content_type:
        return text
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(text)
    page.strip_tags(["script", "style", "noscript", "template"])
    return str(page.body.text(separator="\n", strip=True) if page.body is not None else "")


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


def _failure(item: Any) -> dict[str, str]:
    plain = item if isinstance(item, dict) else {"reason": str(item)}
    source = plain.get("source") or plain.get("id") or ""
    return {
        "source": str(source),
        "reason": str(plain.get("reason") or plain.get("message") or plain.get("error") or ""),
    }


def _plain(value: Any) -> dict[str, Any]:
    """Return a result of the service as plain data."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(value)
    return found
