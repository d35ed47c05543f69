"""What a place or a collection holds, and what this process did there, as plain tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell.config.model import Embedding
    from llmspell.embedders._base import Spent
    from llmspell.rag.place import Place
    from llmspell.vectors.collection import Collection

COUNTS = ("documents", "chunks", "vectors", "bytes", "scopes")
COUNTERS = ("embeddings_generated", "embedding_tokens", "searches_performed", "cache_hits", "cache_misses")
COSTS = ("embedding_cost_usd", "unpriced_tokens")


def spent(what: Spent) -> dict[str, float]:
    """Return what embedding cost, by counter."""
    return {
        "embeddings_generated": what.embedded,
        "embedding_tokens": what.tokens,
        "embedding_cost_usd": what.cost_usd,
        "unpriced_tokens": what.unpriced,
        "cache_hits": what.hits,
        "cache_misses": what.misses,
    }


def used(
    counters: Mapping[tuple[str, str, str], float], where: Place, *, whole: bool, sees: Callable[[str], bool]
) -> dict[str, float]:
    """Return what this process did in a place, or in those scopes of the collection that `sees` lets through."""
    total: dict[str, float] = {**dict.fromkeys(COUNTERS, 0), **dict.fromkeys(COSTS, 0.0)}
    for (collection, scope, what), amount in list(counters.items()):
        if collection == where.collection and (sees(scope) if whole else scope == where.scope):
            total[what] += amount
    return {what: amount if what == "embedding_cost_usd" else int(amount) for what, amount in total.items()}


def counted(
    found: Collection | None, counts: Mapping[str, Any], done: Mapping[str, float], config: Embedding, dimensions: int
) -> dict[str, Any]:
    """Return the table of statistics; a place that is not there has zeros."""
    size = counts.get("bytes", 0)
    return {
        "total_vectors": counts.get("vectors", 0),
        "total_chunks": counts.get("chunks", 0),
        "total_documents": counts.get("documents", 0),
        "total_storage_bytes": size,
        "storage_bytes": size,
        "memory_bytes": counts.get("memory_bytes", 0),
        "namespace_count": counts.get("scopes", 0),
        "dimensions": dimensions if found is None else found.recorded.dimensions,
        "embedder": config.default_provider if found is None else found.recorded.embedder,
        **done,
        "embedding_cost_cents": done["embedding_cost_usd"] * 100,
        "last_ingest_at": counts.get("last_ingest_at"),
    }


def listed(name: str, found: Collection, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return one entry of the list of collections."""
    return {
        "name": name,
        "embedder": found.recorded.embedder,
        "dimensions": found.recorded.dimensions,
        "metric": found.recorded.metric,
        "created": found.recorded.created,
        "documents": counts["documents"],
        "vectors": counts["vectors"],
        "storage_bytes": counts["bytes"],
    }
