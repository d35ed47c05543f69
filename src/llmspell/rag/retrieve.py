"""One search: its options checked, the query embedded once, both arms asked, another order or groups if wished."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.base.offload import offload
from llmspell.errors import InvalidArgument
from llmspell.rag.documents import check_text, window
from llmspell.rag.rerank import Order, Rerank
from llmspell.rag.results import SearchItem, SearchResult
from llmspell.vectors.filters import compile_filter, required_texts
from llmspell.vectors.records import Query

if TYPE_CHECKING:
    from llmspell.config.model import Retrieval as Settings
    from llmspell.embedders._source import Run
    from llmspell.rag.place import Place
    from llmspell.vectors.collection import Collection
    from llmspell.vectors.records import Found

MODES = ("hybrid", "vector", "keyword")
MAX_K = 10_000
MAX_DEPTH = 50_000
ALIASES = {
    "top_k": "k",
    "limit": "k",
    "max_results": "k",
    "min_score": "threshold",
    "metadata_filter": "filters",
    "filter": "filters",
}
SIDE_WEIGHTS = {"metadata": 0.05, "recency": 0.05}


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
        group_by: str | None = None,
        rerank_required: bool = False,
    ) -> None:
        if not isinstance(query, str) or not query.strip():
            raise InvalidArgument("the query is a text that is not empty", details={"name": "query"})
        check_text(query, "the query")
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
        self._filters = filters or None
        self._matches = compile_filter(filters) if filters else None
        _check_plain(filters)
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
        if group_by is not None and (not isinstance(group_by, str) or not group_by):
            raise InvalidArgument(f"group_by is the name of a field, got {group_by!r}", details={"name": "group_by"})
        self._group_by = group_by
        self._required = rerank_required
        self.until: float | None = None
        """When the next document of the place expires, known after `run`."""

    @property
    def uses_vectors(self) -> bool:
        """Whether the query is embedded."""
        return self.mode != "keyword"

    def key(self, embedder_id: str) -> bytes | None:
        """Return what tells this search from every other, None when its answer is nobody else's: it runs a function."""
        if self._order.fn is not None:
            return None
        asked = [
            self.where, self.query, self.k, self.mode, self._filters, self._threshold, self._weights, self._order.kind,
            self._order.weight, self._candidates, self._event_time, self._ingested, self._expired, self._content,
            self._vector, self._group_by, self._required, embedder_id,
        ]  # fmt: skip
        return msgspec.json.encode(asked, order="sorted")

    async def run(self, collection: Collection | None, embedder: Run) -> SearchResult:
        """Return the result; a collection that is not there holds nothing."""
        began = time.monotonic()
        items: list[SearchItem] = []
        vectors: list[Any] = []
        complete = True
        if collection is not None:
            vector = (await embedder.embed([self.query]))[0] if self.uses_vectors else None
            items, vectors, complete = await offload(self._found, collection, vector)
        ordered, warnings = await self._order.apply(
            self.query, items, vectors, timeout_s=self._settings.timeout_seconds, required=self._required
        )
        ordered = self._grouped(ordered)
        return SearchResult(
            results=[self._shown(item) for item in ordered[: self.k]],
            total=min(len(ordered), self.k),
            exhausted=complete and len(ordered) <= self.k,
            query=self.query,
            mode=self.mode,
            embedder=embedder.name,
            duration_ms=(time.monotonic() - began) * 1000,
            embedding_tokens=embedder.spent.tokens,
            warnings=warnings,
        )

    def _found(self, collection: Collection, vector: Any) -> tuple[list[SearchItem], list[Any], bool]:
        """Return the hits, their vectors and whether they are all; of groups enough hits for k of them."""
        depth = self.k if self._order.kind == "none" else max(self.k, self._candidates)
        self.until = collection.next_expiry(self.where.scope)
        while True:
            found, complete, vectors = collection.search(self.where.scope, self._asked(vector, depth))
            items = [self._item(hit, vectors) for hit in found]
            if self._group_by is None or complete or depth >= MAX_DEPTH or len(self._grouped(items)) >= self.k:
                return items, [vectors.get(hit.key) for hit in found], complete
            depth *= 4

    def _grouped(self, items: list[SearchItem]) -> list[SearchItem]:
        """Return the best item of every value of the field; items without it stand alone."""
        if self._group_by is None:
            return items
        best: dict[str, SearchItem] = {}
        for item in items:
            best.setdefault(_group(item, self._group_by), item)
        return list(best.values())

    def _shown(self, item: SearchItem) -> SearchItem:
        return item if self._content else msgspec.structs.replace(item, content=None, text=None)

    def _asked(self, vector: Any, depth: int) -> Query:
        return Query(
            k=depth,
            vector=vector,
            words=None if self.mode == "vector" else self.query,
            matches=self._matches,
            filters=self._filters,
            texts=self._texts,
            threshold=self._threshold,
            event_time=self._event_time,
            ingested=self._ingested,
            expired=self._expired,
            candidates=self._candidates,
            rrf_k=self._settings.rrf_k,
            weights=self._weights,
            vectors=self._vector or self._order.kind == "mmr",
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


def plain_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options under their own names. Raises InvalidArgument when two names of one option differ."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        own = ALIASES.get(name, name)
        if value is None and own in options:
            continue
        if found.get(own) is not None and found[own] != value:
            raise InvalidArgument(f"{name} and {own} are one option, given twice", details={"name": name})
        found[own] = value
    return found


def _check_plain(filters: Any) -> None:
    try:
        msgspec.json.encode(filters, order="sorted")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"filters hold what metadata cannot: {error}", details={"name": "filters"}) from error


def _group(item: SearchItem, field: str) -> str:
    """Return what tells the group of an item: a part of the hit, or a field of its metadata, dotted where nested."""
    if field in ("document", "document_id", "source", "collection", "scope"):
        value: Any = item.document_id if field.startswith("document") else getattr(item, field)
    else:
        value = item.metadata.get(field)
        if value is None:
            value = item.metadata
            for part in field.removeprefix("metadata.").split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
    return f"alone {item.id}" if value is None else f"group {msgspec.json.encode(value, order='sorted').decode()}"


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
    weights = {"vector": settings.vector_weight, "keyword": settings.keyword_weight, **SIDE_WEIGHTS}
    if given is not None:
        if not isinstance(given, Mapping):
            raise InvalidArgument("weights is a table of arms", details={"name": "weights"})
        unknown = sorted(str(name) for name in set(given) - set(weights))
        if unknown:
            raise InvalidArgument(
                f"weights: there is no arm {unknown[0]!r}; there are: {', '.join(weights)}",
                details={"name": "weights", "allowed": list(weights)},
            )
        weights = {name: given.get(name, 0) for name in weights}
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e9:
            raise InvalidArgument(
                f"weights: {name} is a number of at least 0, got {weight!r}", details={"name": "weights"}
            )
    if not any(weights.values()):
        raise InvalidArgument("weights: at least one is above 0", details={"name": "weights"})
    return {name: float(weight) for name, weight in weights.items()}
