"""What a place or a collection holds, and what this process did there, as plain tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell.config.model import Embedding
    from llmspell.rag.place import Place
    from llmspell.vectors.collection import Collection

COUNTERS = ("embeddings_generated", "embedding_tokens", "searches_performed")


def used(counters: Mapping[tuple[str, str, str], int], where: Place, *, whole: bool) -> dict[str, int]:
    """Return what this process did in a place, or in the whole collection."""
    total = dict.fromkeys(COUNTERS, 0)
    for (collection, scope, what), amount in counters.items():
        if collection == where.collection and (whole or scope == where.scope):
            total[what] += amount
    return total


def counted(
    found: Collection | None, counts: Mapping[str, Any], done: Mapping[str, int], config: Embedding
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
        "dimensions": config.dimensions if found is None else found.recorded.dimensions,
        "embedder": config.default_provider if found is None else found.recorded.embedder,
        **done,
        "embedding_cost_usd": 0.0,
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
