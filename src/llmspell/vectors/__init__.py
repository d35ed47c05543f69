"""Collections of documents with vectors and words: one SQLite file each, searched by likeness, by words, or by both."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.vectors.catalog import Catalog
    from llmspell.vectors.collection import Collection
    from llmspell.vectors.filters import compile_filter
    from llmspell.vectors.records import Found, Part, Query, Recorded, Stored

__all__ = ["Catalog", "Collection", "Found", "Part", "Query", "Recorded", "Stored", "compile_filter"]

_HOMES = {
    "Catalog": "catalog",
    "Collection": "collection",
    "Stored": "records",
    "Found": "records",
    "Part": "records",
    "Query": "records",
    "Recorded": "records",
    "compile_filter": "filters",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
