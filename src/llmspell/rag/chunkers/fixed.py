"""Windows of exactly `chunk_size` tokens, wherever that cuts, sharing `overlap` tokens."""

from __future__ import annotations

from llmspell.rag.chunkers._base import Options, Span, merge_tail, spans, windows


def chunk(text: str, options: Options) -> list[Span]:
    """Return the windows of a text; what is left joins the last one unless it is long enough."""
    pairs = windows(text, size=options.chunk_size, overlap=options.overlap, at="grapheme")
    return spans(merge_tail(text, pairs, options))
