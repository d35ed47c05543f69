"""The pipeline: read documents, skip what is there already, chunk, embed, store; whole documents only.

Documents go through in batches, one transaction each. The steps of a batch run on a worker thread while progress is
told twice a second. What stopped in the middle is resumed by ingesting the same documents again: those that are there
are recognised by their digest and neither cut nor embedded.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from llmspell.base.offload import offload
from llmspell.errors import LimitExceeded, LLMSpellError
from llmspell.rag import chunking
from llmspell.rag.documents import read
from llmspell.rag.results import IngestProgress, IngestResult
from llmspell.security.policies import denied
from llmspell.vectors import claims
from llmspell.vectors.records import Part, Stored

if TYPE_CHECKING:
    from llmspell.embedders._source import Run
    from llmspell.rag.documents import Document
    from llmspell.tenancy import Reservation
    from llmspell.vectors.collection import Collection

BATCH_CHARS = 262_144
BATCH_DOCUMENTS = 512
TELL_EVERY_S = 0.4
T = TypeVar("T")
Progress = Callable[[Any], Any]
Prepared = tuple[list[tuple["Document", bytes]], list[list[Part]]]


class Ingestion:
    """One ingestion into one scope of one collection."""

    def __init__(
        self,
        collection: Collection,
        scope: str,
        embedder: Run,
        *,
        recipe: chunking.Recipe,
        on_progress: Progress | None,
        skip_errors: bool,
        batch_size: int | None = None,
        life: float | None = None,
        max_vectors: int | None = None,
        reserve: Callable[[dict[str, int], dict[str, int]], Reservation | None] | None = None,
        shows: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        self._collection = collection
        self._scope = scope
        self._embedder = embedder
        self._recipe = recipe
        self._tell = on_progress
        self._skip = skip_errors
        self._batch_size = batch_size or BATCH_DOCUMENTS
        self._life = life
        self._max_vectors = max_vectors
        self._reserve = reserve
        self._shows = shows
        self._held: Reservation | None = None
        self._began = time.monotonic()
        self._done = self._total = 0
        self._new = self._unchanged = self._chunks = self._tokens = 0
        self._errors: list[dict[str, Any]] = []
        self._stopped: BaseException | None = None  # what progress raised: it ends the whole, failures or not

    async def run(self, given: Sequence[Any]) -> IngestResult:
        """Ingest documents, texts or tables. Raises what is wrong with one of them, before anything is stored."""
        documents = await self._watched("read", offload(self._read, given))
        self._total = len(documents)
        if self._shows is not None:
            await offload(self._check_open, documents, self._shows)
        batches = self._batches(documents)
        if self._reserve is None:
            for batch in batches:
                await self._one_batch(batch)
        else:
            await self._all_or_nothing(list(batches), self._reserve)
        await self._progress("done")
        failed = {error.get("id") for error in self._errors}
        kept = [ident for ident in dict.fromkeys(document.id for document in documents) if ident not in failed]
        return IngestResult(
            documents_processed=self._new + self._unchanged,
            documents_unchanged=self._unchanged,
            documents_failed=len(self._errors),
            chunks_created=self._chunks,
            vectors_created=self._chunks,
            total_tokens=self._tokens,
            embedding_cost_usd=self._embedder.spent.cost_usd,
            ids=kept,
            document_ids=kept,
            errors=self._errors,
            embedder=self._embedder.name,
            duration_ms=(time.monotonic() - self._began) * 1000,
        )

    def _read(self, given: Sequence[Any]) -> list[Document]:
        documents = []
        for position, item in enumerate(given, 1):
            try:
                documents.append(read(item, position))
            except LLMSpellError as error:
                if not self._skip:
                    raise
                ident = item.get("id") if isinstance(item, dict) else None
                self._failed(None if ident is None else str(ident), item, error)
        return documents

    def _failed(self, ident: str | None, item: Any, error: LLMSpellError) -> None:
        source = item.get("source") if isinstance(item, dict) else getattr(item, "source", None)
        told = {"id": ident, "source": source or ident, "reason": error.message}
        self._errors.append({name: value for name, value in told.items() if value is not None})

    def _batches(self, documents: list[Document]) -> Iterator[list[Document]]:
        """Yield documents in order; one id never twice in a batch."""
        batch: dict[str, Document] = {}
        size = 0
        for document in documents:
            if batch and (size > BATCH_CHARS or len(batch) >= self._batch_size or document.id in batch):
                yield list(batch.values())
                batch, size = {}, 0
            batch[document.id] = document
            size += len(document.text)
        if batch:
            yield list(batch.values())

    def _check_open(self, documents: list[Document], shows: Callable[[Mapping[str, Any]], bool]) -> None:
        """Refuse documents beyond what is open to the caller, and the replacement of such."""
        for document in documents:
            old = self._collection.get(self._scope, document.id)
            if not shows({"metadata": document.metadata}) or (old is not None and not shows(old)):
                raise denied("insert", self._scope, f"the document {document.id} lies beyond what is open")

    async def _all_or_nothing(self, batches: list[list[Document]], reserve: Callable[..., Reservation | None]) -> None:
        """Cut everything, reserve what it will take, then store it. Raises QuotaExceeded before anything is stored."""
        ready = [await self._watched("chunk", offload(self._prepare, batch)) for batch in batches]
        amounts, credit = await offload(self._needs, ready)
        self._held = await offload(reserve, amounts, credit)
        try:
            for batch, prepared in zip(batches, ready, strict=True):
                await self._one_batch(batch, prepared)
        finally:
            if self._held is not None:
                spent, ident = self._embedder.spent, self._held.id
                self._held.settle(
                    insert_count=self._new,
                    documents_indexed=self._new,
                    embeddings_generated=spent.embedded,
                    embedding_tokens=spent.tokens,
                    cost_micros=round(spent.cost_usd * 1e6),
                )
                await offload(claims.forget, self._collection, ident)

    def _needs(self, ready: list[Prepared]) -> tuple[dict[str, int], dict[str, int]]:
        """Return what documents will take, and what those they replace took."""
        parts = [part for _, pieces in ready for one in pieces for part in one]
        ids = [document.id for fresh, _ in ready for document, _ in fresh]
        dimensions = self._collection.recorded.dimensions
        amounts = {
            "vectors": len(parts),
            "storage_bytes": claims.size_of((part.text for part in parts), len(parts), dimensions),
            "documents": len(ids),
            "embedding_tokens": sum(part.tokens for part in parts),
            "dimensions": dimensions if parts else 0,
        }
        return amounts, claims.weigh(self._collection, self._scope, ids)

    async def _one_batch(self, batch: list[Document], ready: Prepared | None = None) -> None:
        """Store a batch. Where failures are passed over, one that lies in a document costs that document alone."""
        try:
            await self._store(batch, ready)
        except LLMSpellError as error:
            if not self._skip or error is self._stopped or error.kind in ("cancelled", "security"):
                raise
            if len(batch) > 1 and not error.retryable:
                for document in batch:
                    await self._one_batch([document])
                return
            for document in batch:
                self._failed(document.id, document, error)
        self._done += len(batch)
        await self._progress("store")

    async def _store(self, batch: list[Document], ready: Prepared | None) -> None:
        if ready is None:
            ready = await self._watched("chunk", offload(self._prepare, batch))
        fresh, pieces = ready
        await self._progress("chunk")
        vectors = await self._embed([part.text for parts in pieces for part in parts])
        entries = self._entries(fresh, pieces, vectors)
        if entries:
            await self._watched("store", offload(self._put, entries))
        self._new += len(entries)
        self._unchanged += len(batch) - len(entries)
        self._chunks += len(vectors)
        self._tokens += sum(part.tokens for parts in pieces for part in parts)

    def _put(self, entries: list[Stored]) -> None:
        if self._max_vectors is not None:
            self._check_room(entries, self._max_vectors)
        if self._held is None:
            self._collection.put(self._scope, entries)
            return
        self._held.check()
        self._collection.put(self._scope, entries, claim=self._held.id)

    def _entries(self, fresh: list[tuple[Document, bytes]], pieces: list[list[Part]], vectors: Any) -> list[Stored]:
        now, at = time.time(), 0
        entries = []
        for (document, digest), parts in zip(fresh, pieces, strict=True):
            life = self._life if document.life is None else document.life
            entries.append(_entry(document, digest, parts, vectors[at : at + len(parts)], now, life))
            at += len(parts)
        return entries

    def _check_room(self, entries: list[Stored], most: int) -> None:
        replaced = claims.weigh(self._collection, self._scope, [entry.id for entry in entries])["vectors"]
        used = int(self._collection.stats(self._scope)["vectors"]) - replaced
        vectors = sum(len(entry.parts) for entry in entries)
        if used + vectors > most:
            raise LimitExceeded(
                f"{self._scope} may hold {most} vectors: {used} are there, {vectors} would come",
                details={"resource": "vectors", "limit": most, "used": used},
            )

    def _prepare(self, batch: list[Document]) -> Prepared:
        """Return the documents that are not there already, with their digests and chunks."""
        known = self._collection.digests(self._scope, [document.id for document in batch])
        fresh, pieces = [], []
        for document in batch:
            digest = document.digest(self._recipe)
            if known.get(document.id) == digest:
                continue
            fresh.append((document, digest))
            pieces.append(chunking.parts(document.text, self._recipe, document.source or ""))
        return fresh, pieces

    async def _embed(self, texts: list[str]) -> Any:
        """Return a vector per text; equal texts are embedded once."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        distinct = list(places)
        blocks = []
        start = size = 0
        for end, text in enumerate(distinct, 1):
            size += len(text)
            if size > BATCH_CHARS or end == len(distinct):
                blocks.append(await self._watched("embed", self._embedder.embed(distinct[start:end])))
                start, size = end, 0
                await self._progress("embed")
        if not blocks:
            return np.zeros((0, self._embedder.dim), np.float32)
        rows = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return rows if len(distinct) == len(texts) else rows[[places[text] for text in texts]]

    async def _watched(self, stage: str, work: Awaitable[T]) -> T:
        """Wait for work and tell progress meanwhile; what progress raises ends the waiting."""
        if self._tell is None:
            return await work
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=TELL_EVERY_S))[0]:
                await self._progress(stage)
            return task.result()
        finally:
            task.cancel()

    async def _progress(self, stage: str) -> None:
        if self._tell is None:
            return
        took = time.monotonic() - self._began
        now = IngestProgress(
            stage=stage,
            documents_done=self._done,
            documents_total=self._total,
            chunks_done=self._chunks,
            tokens=self._tokens,
            rate=self._tokens / took if took > 0 else 0.0,
            eta=took / self._done * (self._total - self._done) if self._done else None,
        )
        try:
            told = self._tell(now)
            if inspect.isawaitable(told):
                await told
        except BaseException as error:
            self._stopped = error
            raise


def _entry(
    document: Document, digest: bytes, parts: list[Part], vectors: Any, now: float, life: float | None
) -> Stored:
    return Stored(
        id=document.id,
        parts=parts,
        vectors=vectors,
        digest=digest,
        metadata=document.metadata,
        source=document.source,
        ingested=now,
        event_time=document.event_time,
        expires=None if life is None else now + life,
    )
