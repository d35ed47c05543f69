"""Whole paragraphs, packed up to `chunk_size`; one that is larger is cut at sentences."""

from __future__ import annotations

import re

from llmspell.rag.chunkers._base import Options, Span, pack, spans, split_windows, units

_BLANK = re.compile(r"\n[ \t\r]*\n\s*")


def chunk(text: str, options: Options) -> list[Span]:
    """Return packed paragraphs."""
    edges = [found.end() for found in _BLANK.finditer(text)]
    return spans(pack(text, units(text, edges), options, split_windows(text, options)))
