"""Where sentences end, for the strategies that keep them whole."""

from __future__ import annotations

import re

_END = re.compile(
    r"""(?<![.!?\u2026])[.!?\u2026]+["'\u201d\u2019)\]]*\s+"""
    r"""|(?<![\u3002\uff01\uff1f])[\u3002\uff01\uff1f]+["\u201d\u300d\u300f)]*\s*"""
    r"""|\n[ \t\r]*\n\s*"""
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'])(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|vs|etc|e\.g|i\.e|cf|al|approx|dept|est|fig|Fig|Inc|Ltd|Co|Corp|"
    r"no|No|vol|pp|ed|eds|ca|bzw|z\.B|d\.h|usw|Nr|Abs|Bd)\.$"
)
_LOOK_BACK = 16


def sentence_edges(text: str) -> list[int]:
    """Return the offsets after each sentence and the white space that follows it.

    A point after an abbreviation or one letter, or before a small letter, ends nothing; decimals have no space.
    """
    edges = []
    for found in _END.finditer(text):
        mark = found.group()
        if mark[0] == ".":
            before = text[max(0, found.start() - _LOOK_BACK) : found.start() + 1]
            if mark[:2] != ".." and _ABBREVIATION.search(before) is not None and "\n\n" not in mark:
                continue
            if text[found.end() : found.end() + 1].islower():
                continue
        edges.append(found.end())
    return edges
