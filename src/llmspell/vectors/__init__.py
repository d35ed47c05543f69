"""Collections of documents with vectors and words, and storages of vectors alone that are opened by URL.

`open("hnsw:///folder")` or `open("memory://")` gives a `VectorStorage`; retrieval works on `Catalog` and `Collection`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.vectors.catalog import Catalog
    from llmspell.vectors.collection import Collection
    from llmspell.vectors.engines._base import StorageStats, VectorEntry, VectorQuery, VectorResult, VectorResults
    from llmspell.vectors.engines._base import VectorStorage as VectorStorage
    from llmspell.vectors.engines.hnsw import HnswVectors
    from llmspell.vectors.engines.memory import MemoryVectors
    from llmspell.vectors.filters import compile_filter
    from llmspell.vectors.records import Found, Part, Query, Recorded, Stored
    from llmspell.vectors.storages import open, open_configured

__all__ = [
    "Catalog", "Collection", "Found", "HnswVectors", "MemoryVectors", "Part", "Query", "Recorded", "StorageStats",
    "Stored", "VectorEntry", "VectorQuery", "VectorResult", "VectorResults", "VectorStorage", "compile_filter", "open",
    "open_configured",
]  # fmt: skip

_MODULES = {
    "catalog": ("Catalog",),
    "collection": ("Collection",),
    "engines._base": ("StorageStats", "VectorEntry", "VectorQuery", "VectorResult", "VectorResults", "VectorStorage"),
    "engines.hnsw": ("HnswVectors",),
    "engines.memory": ("MemoryVectors",),
    "filters": ("compile_filter",),
    "records": ("Found", "Part", "Query", "Recorded", "Stored"),
    "storages": ("open", "open_configured"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
