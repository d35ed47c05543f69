"""Vector storages by URL: the scheme names the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.base.registry import Registry
from llmspell.errors import InvalidArgument
from llmspell.vectors.settings import index_settings

if TYPE_CHECKING:
    from pathlib import Path

    from llmspell.config.model import VectorStorage as Settings
    from llmspell.vectors.engines._base import VectorStorage

APART = "storage.d"  # a dot is in no name of a collection: retrieval does not see it
ENGINES = Registry("llmspell.vectors.engines")


def open(url: str, **options: Any) -> VectorStorage:  # noqa: A001 - reads as what it does: vectors.open(url)
    """Open a storage: `hnsw:///folder`, `memory://`. options: of the engine. Raises InvalidArgument."""
    scheme, separator, _ = url.partition("://")
    engine = ENGINES.get(scheme) if separator else None
    if engine is None:
        known = ENGINES.names()
        raise InvalidArgument(
            f"no vector storage {url[:60]!r}: expected one of {', '.join(f'{name}://' for name in known)}",
            details={"name": "url", "value": url[:200], "allowed": known},
        )
    storage: VectorStorage = engine.open(url, **options)
    return storage


def open_configured(config: Settings, *, home: Path) -> VectorStorage:
    """Open the storage of the section `rag.vector_storage`; home: its `vectors/` is the default."""
    from pathlib import Path

    if config.backend == "memory":
        return open("memory://", metric=config.hnsw.metric)
    from llmspell.vectors.engines.hnsw import HnswVectors

    folder = Path(config.persistence_path).expanduser() if config.persistence_path else home / "vectors"
    return HnswVectors(
        folder / APART,
        metric=config.hnsw.metric,
        dimensions=config.dimensions,
        durability=config.durability,
        max_memory_mb=config.max_memory_mb,
        max_open_tenants=config.max_open_tenants,
        index=index_settings(config.hnsw),
    )
