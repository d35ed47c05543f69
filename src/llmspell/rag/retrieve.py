"""One search: its options checked, the query embedded once, both arms asked, another order if wished, plain results."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from llmspell._core import count_tokens
from llmspell.base.offload import offload
from llmspell.errors import InvalidArgument, LLMSpellError, ValidationError
from llmspell.rag.documents import window
from llmspell.rag.rerank import Order, Rerank, mmr
from llmspell.rag.results import SearchItem, SearchResult
from llmspell.vectors.filters import compile_filter, required_texts
from llmspell.vectors.records import Query

if TYPE_CHECKING:
    from llmspell.config.model import Retrieval as Settings
    from llmspell.embedders._base import Embedder
    from llmspell.rag.place import Place
    from llmspell.vectors.collection import Collection
    from llmspell.vectors.records import Found

MODES = ("hybrid", "vector", "keyword")
MAX_K = 10_000


class Retrieval:
    """One search of one place. Raises InvalidArgument for options that cannot be."""

    def __init__(
        self,
        settings: Settings,
        where: Place,
        query: str,
        *,
        k: int | None = None,
        mode: str | None = None,
        filters: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        fusion: str | None = None,
        weights: Mapping[str, Any] | None = None,
        rerank: Rerank = None,
        candidates: int | None = None,
        event_time_range: Any = None,
        ingestion_time_range: Any = None,
        exclude_expired: bool = True,
        include_content: bool = True,
        include_vector: bool = False,
    ) -> None:
        if not isinstance(query, str) or not query.strip():
            raise ValidationError("the query is a text that is not empty", details={"name": "query"})
        self.where = where
        self.query = query
        self.k = _whole("k", settings.top_k if k is None else k)
        self.mode = settings.mode if mode is None else mode
        if self.mode not in MODES:
            raise InvalidArgument(
                f"there is no mode {mode!r}; there are: {', '.join(MODES)}",
                details={"name": "mode", "value": mode, "allowed": list(MODES)},
            )
        self._settings = settings
        self._matches = compile_filter(filters) if filters else None
        self._texts = required_texts(filters) if filters else []
        self._threshold = _threshold(settings.threshold if threshold is None else threshold)
        self._weights = _weights(settings, fusion, weights)
        self._order = Order(settings.rerank if rerank is None else rerank)
        self._candidates = _whole("candidates", settings.candidates if candidates is None else candidates)
        self._event_time = window(event_time_range, "event_time_range")
        self._ingested = window(ingestion_time_range, "ingestion_time_range")
        self._expired = not exclude_expired
        self._content = include_content
        self._vector = include_vector
        self._warnings: list[str] = []

    @property
    def uses_vectors(self) -> bool:
        """Whether the query is embedded."""
        return self.mode != "keyword"

    async def run(self, collection: Collection | None, embedder: Embedder) -> SearchResult:
        """Return the result; a collection that is not there holds nothing."""
        began = time.monotonic()
        found: list[Found] = []
        complete = True
        vectors: dict[int, Any] = {}
        if collection is not None:
            vector = (await embedder.embed([self.query]))[0] if self.uses_vectors else None
            found, complete, vectors = await offload(collection.search, self.where.scope, self._asked(vector))
        items = [self._item(hit, vectors) for hit in found]
        ordered = await self._reordered(items, [vectors.get(hit.key) for hit in found])
        shown = ordered[: self.k]
        return SearchResult(
            results=shown
            if self._content
            else [msgspec.structs.replace(item, content=None, text=None) for item in shown],
            total=len(shown),
            exhausted=complete and len(ordered) <= self.k,
            query=self.query,
            mode=self.mode,
            embedder=embedder.name,
            duration_ms=(time.monotonic() - began) * 1000,
            embedding_tokens=count_tokens(self.query) if self.uses_vectors and collection is not None else 0,
            warnings=self._warnings,
        )

    def _asked(self, vector: Any) -> Query:
        return Query(
            k=self.k if self._order.kind == "none" else max(self.k, self._candidates),
            vector=vector,
            words=None if self.mode == "vector" else self.query,
            matches=self._matches,
            texts=self._texts,
            threshold=self._threshold,
            event_time=self._event_time,
            ingested=self._ingested,
            expired=self._expired,
            candidates=self._candidates,
            rrf_k=self._settings.rrf_k,
            weights=self._weights,
        )

    def _item(self, hit: Found, vectors: dict[int, Any]) -> SearchItem:
        return SearchItem(
            id=hit.id,
            document_id=hit.document,
            chunk_index=hit.index,
            score=hit.score,
            scores=hit.scores,
            metadata=hit.metadata,
            collection=self.where.collection,
            scope=self.where.scope,
            content=hit.text,
            text=hit.text,
            source=hit.source,
            event_time=hit.event_time,
            vector=vectors[hit.key].tolist() if self._vector and hit.key in vectors else None,
        )

    async def _reordered(self, items: list[SearchItem], vectors: list[Any]) -> list[SearchItem]:
        if self._order.kind == "mmr" and items and all(vector is not None for vector in vectors):
            matrix = np.stack(vectors)
            matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
            chosen = mmr([item.score for item in items], matrix, k=len(items), weight=self._order.weight)
            return [items[place] for place in chosen]
        if self._order.kind == "mmr" and items:
            self._warnings.append("rerank: mmr needs the vector arm; the order is that of the keyword arm")
        if self._order.fn is None:
            return items
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                given = self._order.fn(self.query, [msgspec.to_builtins(item) for item in items])
                answer = await given if inspect.isawaitable(given) else given
        except TimeoutError:
            self._warnings.append(
                f"rerank: no answer within {self._settings.timeout_seconds} s; the fused order is kept"
            )
            return items
        except LLMSpellError as error:
            if error.kind in ("cancelled", "resource_limit"):
                raise
            self._warnings.append(f"rerank: {error.message}; the fused order is kept")
            return items
        return self._answered(items, answer)

    def _answered(self, items: list[SearchItem], answer: Any) -> list[SearchItem]:
        """Return our items in the order of the answer, with its scores; what it left out is left out."""
        if answer == {}:
            answer = []
        if not isinstance(answer, list):
            self._warnings.append("rerank: the function returned no list; the fused order is kept")
            return items
        known = {item.id: item for item in items}
        ordered = []
        for entry in answer:
            ident = entry.get("id") if isinstance(entry, Mapping) else entry
            item = known.pop(ident, None) if isinstance(ident, str) else None
            if item is None:
                continue
            score = entry.get("score") if isinstance(entry, Mapping) else None
            if isinstance(score, int | float) and not isinstance(score, bool):
                item = msgspec.structs.replace(item, score=float(score), scores={**item.scores, "rerank": float(score)})
            ordered.append(item)
        return ordered


def _whole(name: str, value: Any) -> int:
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_K:
        raise InvalidArgument(
            f"{name} is a whole number from 1 to {MAX_K}, got {value!r}", details={"name": name, "value": value}
        )
    return number


def _threshold(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InvalidArgument(f"threshold is a number, got {value!r}", details={"name": "threshold"})
    return float(value)


def _weights(settings: Settings, fusion: str | None, given: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Return the weights of weighted fusion, None for reciprocal ranks; stated weights mean weighted."""
    chosen = fusion or ("weighted" if given else settings.fusion)
    if chosen not in ("rrf", "weighted"):
        raise InvalidArgument(f"fusion is 'rrf' or 'weighted', got {chosen!r}", details={"name": "fusion"})
    if chosen == "rrf":
        return None
    weights = {"vector": settings.vector_weight, "keyword": settings.keyword_weight}
    if given:
        weights = {name: given.get(name, 0) for name in weights}
        unknown = sorted(set(given) - set(weights))
        if unknown:
            raise InvalidArgument(f"weights: {unknown[0]!r} is neither vector nor keyword", details={"name": "weights"})
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e9:
            raise InvalidArgument(
                f"weights: {name} is a number of at least 0, got {weight!r}", details={"name": "weights"}
            )
    if not any(weights.values()):
        raise InvalidArgument("weights: at least one is above 0", details={"name": "weights"})
    return {name: float(weight) for name, weight in weights.items()}
