"""Whole sentences, packed up to `chunk_size`; one that is larger is cut by windows."""

from __future__ import annotations

from llmspell.rag.chunkers._base import Options, Span, pack, spans, split_windows, units
from llmspell.rag.sentences import sentence_edges


def chunk(text: str, options: Options) -> list[Span]:
    """Return packed sentences."""
    return spans(pack(text, units(text, sentence_edges(text)), options, split_windows(text, options)))
