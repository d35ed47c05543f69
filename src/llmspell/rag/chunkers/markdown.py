"""By heading: a section with its heading is a piece; fences and tables stay whole up to `max_chunk_size`.

`metadata.headings` is the path of headings above a piece. Small sections below the same heading are joined.
"""

from __future__ import annotations

import re

from llmspell._core import count_tokens
from llmspell.rag.chunkers._base import Options, Pair, Span, merge_tail, split_windows, units

_HEADING = re.compile(r"(#{1,6})[ \t]+(.*)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
Section = tuple[int, int, list[str]]


def chunk(text: str, options: Options) -> list[Span]:
    """Return sections, large ones in parts."""
    sections, blocks = _scan(text)
    found: list[Span] = []
    for start, end, headings in _joined(text, sections, options):
        for left, right in _parts(text, (start, end), blocks, options):
            found.append(Span(left, right, {"headings": headings} if headings else None))
    return found


def _scan(text: str) -> tuple[list[Section], list[int]]:
    """Return the sections, and the offsets at which a section may be cut: before blocks."""
    sections: list[Section] = []
    edges: list[int] = []
    path: list[tuple[int, str]] = []
    start = at = 0
    fence = ""
    blank = True
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            if mark is not None and mark[1].startswith(fence):
                fence, blank = "", True
            at += len(line)
            continue
        heading = None if mark is not None else _HEADING.match(line)
        if mark is not None:
            fence = mark[1]
            edges.append(at)
        elif heading is not None:
            if at > start:
                sections.append((start, at, [name for _, name in path]))
            path = [entry for entry in path if entry[0] < len(heading[1])] + [
                (len(heading[1]), heading[2].strip().rstrip("#").rstrip())
            ]
            start, blank = at, False
        elif not line.strip():
            blank = True
        elif blank:
            edges.append(at)
            blank = False
        at += len(line)
    if at > start:
        sections.append((start, at, [name for _, name in path]))
    return sections, edges


def _joined(text: str, sections: list[Section], options: Options) -> list[Section]:
    """Join short sections to the one before, when both lie below the same heading; the path is then that heading's."""
    found: list[Section] = []
    for start, end, path in sections:
        if found:
            before = found[-1]
            shared = [a for a, b in zip(before[2], path, strict=False) if a == b]
            small = (
                count_tokens(text[before[0] : before[1]]) < options.least
                or count_tokens(text[start:end]) < options.least
            )
            fits = count_tokens(text[before[0] : end]) <= options.chunk_size
            if small and fits and (shared or not before[2]):
                found[-1] = (before[0], end, shared or path)
                continue
        found.append((start, end, path))
    return found


def _parts(text: str, section: Pair, blocks: list[int], options: Options) -> list[Pair]:
    start, end = section
    if count_tokens(text[start:end]) <= options.chunk_size:
        return [section]
    packed: list[Pair] = []
    for left, right in units(text, [edge for edge in blocks if start < edge < end], start, end):
        size = count_tokens(text[left:right])
        whole = text[left:right].lstrip().startswith(("```", "~~~", "|"))
        if packed and count_tokens(text[packed[-1][0] : right]) <= options.chunk_size:
            packed[-1] = (packed[-1][0], right)
        elif size <= options.chunk_size or (whole and size <= options.max_chunk_size):
            packed.append((left, right))
        else:
            packed += split_windows(text, options)((left, right))
    return merge_tail(text, packed, options)
