"""`rag ingest`: files, folders, addresses and standard input become documents of a collection."""

from __future__ import annotations

import sys
from pathlib import Path

from llmspell.cli.exit_codes import FAILED
from llmspell.cli.rag import place, plain, started
from llmspell.cli.start import closing, duration, pair, run_async, whole
from llmspell.errors import LLMSpellError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from llmspell.app import App
    from llmspell.cli.grammar import Call
    from llmspell.cli.output import Output

MAX_FILE_BYTES = 52_428_800
BATCH_CHARS = 8_000_000
HIDDEN = "."
COUNTS = ("documents_processed", "documents_unchanged", "chunks_created", "vectors_created")


def ingest(call: Call, out: Output) -> int:
    """Add files, folders, addresses or standard input to a collection; what is there already is passed over."""
    sizes = {"chunk_size": whole(call, "chunk_size"), "overlap": whole(call, "overlap", 0)}
    chunking = {**sizes, "strategy": call.get("strategy")}
    metadata = dict(pair("--metadata", item) for item in call.get("metadata") or ())
    import asyncio

    from llmspell.base.offload import offload

    reading = _Reading(call, metadata, duration(call, "ttl"))
    app = started(call, out)
    options: dict[str, Any] = {
        "chunking": {name: value for name, value in chunking.items() if value is not None} or None,
        "on_error": "skip",
        **place(call),
    }
    shown = _Progress(out)
    if shown.wanted:
        options["on_progress"] = shown.tell
    total: dict[str, Any] = {**dict.fromkeys(COUNTS, 0), "duration_ms": 0}

    async def work() -> None:
        try:
            async for documents in reading.batches(app):
                shown.begin(total)
                result = plain(await app.rag.ingest(documents, **options))
                reading.skipped += [_failure(item) for item in result["errors"]]
                total["embedder"] = result.get("embedder")
                for name in (*COUNTS, "duration_ms"):
                    total[name] += result[name]
            if total["vectors_created"]:
                await offload(app.rag.build_indexes)
        except asyncio.CancelledError:
            shown.end()
            out.note("interrupted: what is stored stays, the same command goes on from there")
            raise
        finally:
            shown.end()

    run_async(closing(app, work()))
    if not reading.found and not reading.skipped:
        out.warn(f"no documents in {', '.join(call.args)}: no file there has a name that is read")
    payload = {
        "documents": total["documents_processed"],
        "chunks": total["chunks_created"],
        "vectors": total["vectors_created"],
        "unchanged": total["documents_unchanged"],
        "skipped": reading.skipped,
        "embedder": total.get("embedder") or app.config.rag.embedding.default_provider,
        "duration_ms": total["duration_ms"],
    }
    lines = [f"{payload['documents']} documents, {payload['chunks']} chunks, {payload['vectors']} vectors"]
    if payload["unchanged"]:
        lines[0] += f", {payload['unchanged']} unchanged"
    out.emit(payload, "\n".join([*lines, *(f"skipped {item['source']}: {item['reason']}" for item in reading.skipped)]))
    return FAILED if reading.skipped and not payload["documents"] else 0


class _Reading:
    """Reads what the arguments name. skipped: what is no text, with the reason. Raises NotFound for absent paths."""

    def __init__(self, call: Call, metadata: dict[str, Any], ttl: float | None) -> None:
        self._args = call.args
        self._patterns: list[str] = call.get("glob") or []
        self._recursive = bool(call.get("recursive"))
        self._metadata = metadata
        self._ttl = ttl
        self.skipped: list[dict[str, str]] = []
        self.found = 0
        for argument in self._args:
            if argument != "-" and not _is_url(argument) and not Path(argument).exists():
                raise NotFound(f"no file {argument}", details={"path": argument})

    async def batches(self, app: App) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield documents, some megabytes at a time, so that a large folder is never in memory as a whole."""
        batch: list[dict[str, Any]] = []
        size = 0
        async for source, text in self._texts(app):
            batch.append(self._document(source, text))
            size += len(text)
            if size >= BATCH_CHARS:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    async def _texts(self, app: App) -> AsyncIterator[tuple[str, str]]:
        from llmspell.rag.readers import read_text

        for argument in self._args:
            if argument == "-":
                if (text := self._read("stdin", lambda: read_text("stdin", _standard_input()))) is not None:
                    yield "stdin", text
            elif _is_url(argument):
                if (text := await self._page(app, argument)) is not None:
                    yield argument, text
            else:
                for path in self._files(Path(argument)):
                    if (text := self._read(str(path), lambda at=path: _file_text(at))) is not None:  # type: ignore[misc]  # a default binds the loop's value
                        yield str(path), text

    def _read(self, source: str, read: Callable[[], str]) -> str | None:
        try:
            text = read()
        except LLMSpellError as error:
            self._skip(source, error.message.removeprefix(f"{source} is "))
        except (OSError, ValueError) as error:
            self._skip(source, str(getattr(error, "strerror", None) or error))
        else:
            self.found += 1
            return text
        return None

    async def _page(self, app: App, address: str) -> str | None:
        from llmspell.rag.readers import html_text, read_text

        try:
            response = await app.http.request("GET", address)
        except LLMSpellError as error:
            self._skip(address, error.message)
            return None
        if response.status >= 400:
            self._skip(address, f"answered {response.status}")
            return None
        if "html" in response.content_type:
            return self._read(address, lambda: html_text(response.text()))
        if response.body.startswith(b"%PDF-"):
            return self._read(address, lambda: read_text(address, response.body))
        return self._read(address, response.text)

    def _skip(self, source: str, reason: str) -> None:
        self.skipped.append({"source": source, "reason": reason})

    def _document(self, source: str, text: str) -> dict[str, Any]:
        document: dict[str, Any] = {
            "id": source if len(source.encode("utf-8", "replace")) <= 256 else None,
            "content": text,
            "source": source,
            "metadata": {"source": source, **self._metadata},
        }
        return {**document, "ttl_seconds": self._ttl} if self._ttl else document

    def _files(self, path: Path) -> Iterator[Path]:
        if not path.is_dir():
            yield path
            return
        found = {
            item
            for pattern in self._patterns or ("*",)
            for item in (path.rglob(pattern) if self._recursive else path.glob(pattern))
        }
        for item in sorted(found):
            if item.is_file() and not any(part.startswith(HIDDEN) for part in item.relative_to(path).parts):
                yield item


class _Progress:
    """One line on a terminal that tells how far an ingestion is."""

    def __init__(self, out: Output) -> None:
        self.wanted = out.level != "off" and sys.stderr.isatty()
        self._before = 0
        self._written = False

    def begin(self, total: dict[str, Any]) -> None:
        """Count on from what earlier batches did."""
        self._before = total["documents_processed"]

    def tell(self, now: Any) -> None:
        """Rewrite the line."""
        left = "" if now.eta is None else f", {now.eta:.0f} s left"
        text = f"{self._before + now.documents_done} documents, {now.chunks_done} chunks, {now.rate:.0f} tokens/s{left}"
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()
        self._written = True

    def end(self) -> None:
        """Take the line away."""
        if self._written:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self._written = False


def _file_text(path: Path) -> str:
    from llmspell.rag.readers import read_text

    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    return read_text(str(path), path.read_bytes())


def _standard_input() -> bytes:
    stream: Any = getattr(sys.stdin, "buffer", None)
    raw: bytes = sys.stdin.read(MAX_FILE_BYTES + 1).encode() if stream is None else stream.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    return raw


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _failure(item: Any) -> dict[str, str]:
    given = item if isinstance(item, dict) else {"reason": str(item)}
    return {"source": str(given.get("source") or given.get("id") or ""), "reason": str(given.get("reason") or "")}
