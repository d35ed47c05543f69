"""By heading: a section with its heading is a piece; fences and tables stay whole up to `max_chunk_size`.

`metadata.headings` is the path of headings above a piece. A heading with nothing below it joins the section after it.
Headings are those of CommonMark, of both kinds; front matter is no heading.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from llmspell._core import count_tokens
from llmspell.rag.chunkers._base import Options, Pair, Span, join_small, split_windows

_FRONT = re.compile(r"\A---[ \t]*\r?\n.*?^(?:---|\.\.\.)[ \t]*\r?$\n?", re.S | re.M)
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})$")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_TABLE_RULE = re.compile(r"[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)+$")
_NO_TITLE = (">", "-", "*", "+", "|")


class Block(NamedTuple):
    """Characters `start` to `end`, blank lines after it included. level: of a heading, else 0."""

    start: int
    end: int
    kind: str
    level: int = 0
    title: str = ""


class Section(NamedTuple):
    """Blocks below one heading, and the path to it."""

    blocks: list[Block]
    path: list[str]


def chunk(text: str, options: Options) -> list[Span]:
    """Return sections, large ones in parts."""
    return [
        Span(left, right, {"headings": section.path} if section.path else None)
        for section in _sections(_Scan(text).blocks())
        for left, right in _parts(text, section.blocks, options)
    ]


class _Scan:
    """One pass over the lines of a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[Block] = []  # their ends are not known yet
        self._kind = ""  # of the block the last line belongs to, "" after a blank line or what ends with its line
        self._line = 0  # where the last line began

    def blocks(self) -> list[Block]:
        """Return the blocks of the text; they cover it."""
        front = _FRONT.match(self._text)
        at = front.end() if front is not None else 0
        if front is not None:
            self._found.append(Block(0, 0, "front"))
        fence = ""
        for line in self._text[at:].splitlines(keepends=True):
            mark = _FENCE.match(line)
            if fence:
                if mark is not None and mark[1].startswith(fence) and line.strip() == mark[1]:
                    fence = self._kind = ""
            elif mark is not None:
                fence = mark[1]
                self._begin(at, "fence")
            else:
                self._one_line(at, line.rstrip())
            self._line = at
            at += len(line)
        ends = [block.start for block in self._found[1:]] + [len(self._text)]
        return [block._replace(end=end) for block, end in zip(self._found, ends, strict=True)]

    def _one_line(self, at: int, line: str) -> None:
        heading = _HEADING.match(line)
        single = self._kind == "text" and self._found[-1].start == self._line
        if not line:
            if not self._found:
                self._begin(at, "text")
            self._kind = ""
        elif heading is not None:
            title = (heading[2] or "").strip().rstrip("#").rstrip()
            self._found.append(Block(at, at, "heading", len(heading[1]), title))
            self._kind = ""
        elif single and _UNDERLINE.match(line) and not self._text[self._line : at].lstrip().startswith(_NO_TITLE):
            title = self._text[self._line : at].strip()
            self._found[-1] = Block(self._line, at, "heading", 1 if "=" in line else 2, title)
            self._kind = ""
        elif self._kind == "text" and _TABLE_RULE.match(line):
            if single:
                self._found.pop()
            self._begin(self._line, "table")
        elif line.lstrip().startswith("|") or (self._kind == "table" and "|" in line):
            self._begin(at, "table", new=self._kind != "table")
        else:
            self._begin(at, "text", new=self._kind != "text")

    def _begin(self, at: int, kind: str, *, new: bool = True) -> None:
        if new:
            self._found.append(Block(at, at, kind))
        self._kind = kind


def _sections(blocks: list[Block]) -> list[Section]:
    found: list[Section] = []
    path: list[Block] = []
    for block in blocks:
        if block.level:
            path = [*(above for above in path if above.level < block.level), block]
            before = found[-1] if found else None
            titles = [heading.title for heading in path]
            bare = before is not None and before.blocks[-1].level
            if before is not None and bare and titles[:-1][: len(before.path)] == before.path:
                found[-1] = Section([*before.blocks, block], titles)
            else:
                found.append(Section([block], titles))
        elif found:
            found[-1].blocks.append(block)
        else:
            found.append(Section([block], []))
    return found


def _parts(text: str, blocks: list[Block], options: Options) -> list[Pair]:
    """Fill chunks with whole blocks; what stands before a larger one and is short goes with it."""
    packed: list[Pair] = []
    used = 0
    largest = max(options.max_chunk_size, options.chunk_size)
    for block in blocks:
        size = count_tokens(text[block.start : block.end])
        if packed and used + size <= options.chunk_size:
            packed[-1] = (packed[-1][0], block.end)
            used += size
            continue
        start, size = (packed.pop()[0], used + size) if packed and used < options.least else (block.start, size)
        if size <= (largest if block.kind in ("fence", "table") else options.chunk_size):
            packed.append((start, block.end))
            used = size
        else:
            packed += split_windows(text, options)((start, block.end))
            used = count_tokens(text[packed[-1][0] : packed[-1][1]])
    return join_small(text, packed, options)
