"""The document as one chunk."""

from __future__ import annotations

from llmspell.rag.chunkers._base import Options, Span


def chunk(text: str, options: Options) -> list[Span]:
    """Return the whole text."""
    return [Span(0, len(text))]
