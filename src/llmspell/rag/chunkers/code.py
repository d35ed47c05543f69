"""By definitions at the left edge, with comments and decorators above them; `metadata.lines` is the first and the last.

The language is recognised by content. Text of an unknown language is cut at blank lines.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from llmspell.rag.chunkers._base import Options, Span, pack, split_windows, units

_BEGINS = {
    "python": re.compile(r"^(?:async def|def|class|@\w)", re.M),
    "lua": re.compile(r"^(?:local )?function\b|^local \w+ *= *function\b|^[\w.]+ *= *function\b", re.M),
    "go": re.compile(r"^(?:func|type|var|const)\b", re.M),
    "javascript": re.compile(
        r"^(?:export\b|(?:async )?function\b|class\b|(?:const|let|var) \w+ *=|interface\b|type \w+ *=)", re.M
    ),
    "java": re.compile(r"^ {0,4}(?:public|private|protected|static|abstract|final|class|interface|enum)\b", re.M),
    "shell": re.compile(r"^(?:function )?[\w-]+ *\(\) *\{?|^function [\w-]+", re.M),
    "braces": re.compile(
        r"^[A-Za-z_][\w:<>,*& \t]{0,200}\([^;\n]*$"
        r"|^(?:struct|class|enum|union|namespace|template|impl|fn|pub|trait|mod)\b",
        re.M,
    ),
}
_SIGNS = (
    ("python", re.compile(r"^(?:def|class) \w+.*:[ \t]*$|^(?:from \w[\w.]* )?import \w", re.M)),
    ("lua", re.compile(r"^[ \t]*local \w+|^[ \t]*end[ \t]*$|\bthen[ \t]*$", re.M)),
    ("go", re.compile(r"^package \w+[ \t]*$|^func ", re.M)),
    (
        "java",
        re.compile(
            r"^import java|^[ \t]*public (?:static |final |abstract )*(?:class|interface|void|int|String)\b", re.M
        ),
    ),
    ("javascript", re.compile(r"=>|\bconst \w+ *=|\bfunction *\w*\(|^import .* from ", re.M)),
    ("shell", re.compile(r"\A#!.*sh\b|^[ \t]*(?:fi|done|esac)[ \t]*$", re.M)),
    ("braces", re.compile(r"^#include|\{[ \t]*$", re.M)),
)
_ABOVE = ("#", "//", "--", "/*", "*", "@")
_BLANK = re.compile(r"\n[ \t\r]*\n\s*")
_LOOK_BACK = 60


def language(text: str) -> str | None:
    """Return the language whose signs are most frequent in the beginning of a text."""
    counts = [(len(signs.findall(text[:20_000])), -place) for place, (_, signs) in enumerate(_SIGNS)]
    most, place = max(counts)
    return _SIGNS[-place][0] if most else None


def chunk(text: str, options: Options) -> list[Span]:
    """Return definitions, packed."""
    known = language(text)
    edges = [_above(text, found.start()) for found in _BEGINS[known].finditer(text)] if known else []
    if not edges:
        edges = [found.end() for found in _BLANK.finditer(text)]
    pairs = pack(text, units(text, sorted(set(edges))), options, split_windows(text, options))
    breaks = [found.start() for found in re.finditer("\n", text)]
    return [
        Span(left, right, {"lines": [bisect_right(breaks, left - 1) + 1, bisect_right(breaks, right - 2) + 1]})
        for left, right in pairs
    ]


def _above(text: str, at: int) -> int:
    """Return where the comments and decorators right above an offset begin."""
    for _ in range(_LOOK_BACK):
        start = text.rfind("\n", 0, at - 1) + 1 if at else 0
        if start == at or not text[start : start + 80].lstrip(" \t").startswith(_ABOVE):
            break
        at = start
    return at
