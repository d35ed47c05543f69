"""Retrieval: documents in, the pieces that answer a query out."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.rag.documents import Document
    from llmspell.rag.place import Place
    from llmspell.rag.results import Chunk, IngestProgress, IngestResult, SearchItem, SearchResult
    from llmspell.rag.service import Rag

__all__ = ["Chunk", "Document", "IngestProgress", "IngestResult", "Place", "Rag", "SearchItem", "SearchResult"]

_HOMES = {
    "Chunk": "results",
    "Document": "documents",
    "IngestProgress": "results",
    "IngestResult": "results",
    "Place": "place",
    "Rag": "service",
    "SearchItem": "results",
    "SearchResult": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
