"""Windows of exactly `chunk_size` tokens, wherever that cuts, sharing `overlap` tokens."""

from __future__ import annotations

from llmspell.rag.chunkers._base import Options, Span, spans, windows


def chunk(text: str, options: Options) -> list[Span]:
    """Return the windows of a text; the last one is what is left."""
    return spans(windows(text, size=options.chunk_size, overlap=options.overlap, at="grapheme"))
