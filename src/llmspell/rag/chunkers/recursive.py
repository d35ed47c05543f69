"""Headings, then paragraphs, then sentences, then words: the coarsest cut whose pieces fit, small neighbours joined."""

from __future__ import annotations

import re

from llmspell._core import count_tokens
from llmspell.rag.chunkers._base import Options, Pair, Span, pack, spans, split_windows, units
from llmspell.rag.sentences import sentence_edges

_HEADING = re.compile(r"^(?=#{1,6} )", re.M)
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")


def chunk(text: str, options: Options) -> list[Span]:
    """Return the pieces of a text."""
    return spans(_split(text, (0, len(text)), 0, options))


def _edges(text: str, level: int) -> list[int]:
    if level == 0:
        return [found.start() for found in _HEADING.finditer(text)]
    if level == 1:
        return [found.end() for found in _PARAGRAPH.finditer(text)]
    return sentence_edges(text)


def _split(text: str, piece: Pair, level: int, options: Options) -> list[Pair]:
    left, right = piece
    part = text[left:right]
    if level > 2:
        return split_windows(text, options)(piece)
    if count_tokens(part) <= options.chunk_size:
        return [piece]
    pieces = units(text, [left + edge for edge in _edges(part, level)], left, right)
    return pack(text, pieces, options, lambda larger: _split(text, larger, level + 1, options))
