"""The contract of a chunker: one file `chunkers/<name>.py` with

    def chunk(text: str, options: Options) -> list[Span]

text: not empty. Spans are ascending character offsets, none empty; they cover the text, so that pieces concatenated
without their overlap are the text. None begins or ends inside a grapheme cluster. A short tail joins its neighbour.
A trailing underscore in a file name, where the name is a word of Python, is not part of the strategy's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from llmspell._core import count_tokens, cut


class Options(NamedTuple):
    """Sizes in tokens. overlap is less than chunk_size. name: of the file or language, "" if that is not known."""

    chunk_size: int = 512
    overlap: int = 64
    min_chunk_size: int = 100
    max_chunk_size: int = 2048
    name: str = ""

    @property
    def least(self) -> int:
        """Tokens below which a piece joins its neighbour: never more than a quarter of a chunk."""
        return min(self.min_chunk_size, self.chunk_size // 4)


class Span(NamedTuple):
    """One piece: characters `start` to `end`, and what is known about it."""

    start: int
    end: int
    metadata: dict[str, Any] | None = None


Pair = tuple[int, int]


def windows(text: str, *, size: int, overlap: int, at: str = "sentence") -> list[Pair]:
    """Return windows of `size` tokens as character offsets."""
    found = cut(text, size=size, overlap=overlap, unit="tokens", at=at).tolist()
    if text.isascii():
        return [(start, end) for start, end in found]
    raw = text.encode()
    place: dict[int, int] = {}
    at_byte = at_char = 0
    for edge in sorted({edge for pair in found for edge in pair}):
        at_char += len(raw[at_byte:edge].decode())
        at_byte = edge
        place[edge] = at_char
    return [(place[start], place[end]) for start, end in found]


def merge_tail(text: str, pairs: list[Pair], options: Options) -> list[Pair]:
    """Join a last piece that is too short to the one before it."""
    if len(pairs) < 2:
        return pairs
    start = pairs[-1][0]
    if count_tokens(text[max(start, pairs[-2][1]) : pairs[-1][1]]) >= options.least:
        return pairs
    joined = (pairs[-2][0], pairs[-1][1])
    if count_tokens(text[joined[0] : joined[1]]) > max(options.max_chunk_size, options.chunk_size):
        return pairs
    return [*pairs[:-2], joined]


def join_small(text: str, pairs: Sequence[Pair], options: Options) -> list[Pair]:
    """Join pieces that are too short to a neighbour where both fit in a chunk, and a short last piece in any case."""
    joined: list[Pair] = []
    before = 0
    for left, right in pairs:
        size = count_tokens(text[left:right])
        if joined and min(before, size) < options.least and before + size <= options.chunk_size:
            joined[-1] = (joined[-1][0], right)
            before += size
        else:
            joined.append((left, right))
            before = size
    return merge_tail(text, joined, options)


def may_split(text: str, at: int) -> bool:
    """Tell whether a text may be cut at an offset after white space or punctuation. Source: Unicode Annex 29."""
    if at >= len(text) or (text[at] < "\x7f" and text[at - 1 : at + 1] != "\r\n"):
        return True
    return len(cut(text[at - 1 : at + 1], size=1, unit="chars", at="grapheme")) > 1


def units(text: str, edges: Sequence[int], start: int = 0, end: int | None = None) -> list[Pair]:
    """Return the pieces of text[start:end] between edges; an edge inside a grapheme cluster is left out."""
    stop = len(text) if end is None else end
    inner = [edge for edge in dict.fromkeys(edges) if start < edge < stop and may_split(text, edge)]
    places = [start, *inner, stop]
    return [(left, right) for left, right in pairwise(places) if right > left]


def pack(text: str, pieces: Sequence[Pair], options: Options, split: Callable[[Pair], list[Pair]]) -> list[Pair]:
    """Fill chunks with whole pieces up to the chunk size; a larger one is split, with what is short before it."""
    packed: list[Pair] = []
    start, used = -1, 0
    for left, right in pieces:
        size = count_tokens(text[left:right])
        if size > options.chunk_size and start >= 0 and used < options.least:
            packed += split((start, right))
            start, used = -1, 0
            continue
        if start >= 0 and used + size > options.chunk_size:
            packed.append((start, left))
            start, used = -1, 0
        if size > options.chunk_size:
            packed += split((left, right))
            continue
        if start < 0:
            start = left
        used += size
    if start >= 0:
        packed.append((start, pieces[-1][1]))
    return join_small(text, packed, options)


def split_windows(text: str, options: Options) -> Callable[[Pair], list[Pair]]:
    """Return a function that cuts a large piece into windows that end with sentences."""

    def split(piece: Pair) -> list[Pair]:
        left, right = piece
        return [(left + a, left + b) for a, b in windows(text[left:right], size=options.chunk_size, overlap=0)]

    return split


def spans(pairs: Sequence[Pair]) -> list[Span]:
    """Return pairs as spans."""
    return [Span(start, end) for start, end in pairs]
