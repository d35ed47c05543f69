"""Windows of `chunk_size` tokens that share `overlap` tokens; ends are moved back to the end of a sentence."""

from __future__ import annotations

from llmspell.rag.chunkers._base import Options, Span, merge_tail, spans, windows


def chunk(text: str, options: Options) -> list[Span]:
    """Return the windows of a text."""
    pairs = windows(text, size=options.chunk_size, overlap=options.overlap)
    return spans(merge_tail(text, pairs, options))
