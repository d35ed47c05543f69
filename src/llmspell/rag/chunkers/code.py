"""By definitions at the left edge, with comments and decorators above them; `metadata.lines` is the first and the last.

The language is that of the file name, else recognised by content. Text of an unknown language is cut at blank lines.
A short definition joins its neighbour; a long one is cut at blank lines, then at the ends of lines.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from llmspell._core import count_tokens
from llmspell.rag.chunkers._base import Options, Pair, Span, join_small, pack, split_windows, units

_BEGINS = {
    "python": re.compile(r"^(?:async def|def|class|@\w)", re.M),
    "lua": re.compile(r"^(?:local )?function\b|^local \w+ *= *function\b|^[\w.]+ *= *function\b", re.M),
    "go": re.compile(r"^(?:func|type|var|const)\b", re.M),
    "javascript": re.compile(
        r"^(?:export\b|(?:async )?function\b|(?:abstract )?class\b|(?:const|let|var) [\w$]+|interface \w|type \w"
        r"|enum \w|namespace \w|declare \w|module\.exports\b|@\w)",
        re.M,
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
    ("python", re.compile(r"^(?:def|class) \w[^\n:]*:|^(?:from \w[\w.]* )?import \w", re.M)),
    ("lua", re.compile(r"^[ \t]*local \w+|^[ \t]*end[ \t]*$|(?<!; )\bthen[ \t]*$", re.M)),
    ("go", re.compile(r"^package \w+[ \t]*$|^func ", re.M)),
    (
        "java",
        re.compile(
            r"^import java|^[ \t]*public (?:static |final |abstract )*(?:class|interface|void|int|String)\b", re.M
        ),
    ),
    ("javascript", re.compile(r"=>|\bconst \w+ *=|\bfunction *\w*\(|^import .* from ", re.M)),
    ("shell", re.compile(r"^[ \t]*(?:fi|done|esac)\b|; (?:then|do)[ \t]*$|\$\{?\w", re.M)),
    ("braces", re.compile(r"^#(?:include|define)|^using \w|^(?:pub )?fn \w|^namespace \w", re.M)),
)
_INTERPRETER = re.compile(r"#!\S*?(?:/env[ \t]+)?(python|lua|node|bash|zsh|sh)\b")
_BRACE = re.compile(r"\{[ \t]*$", re.M)
_NAMES = {
    "python": ("py", "pyi", "pyw", "python"),
    "lua": ("lua",),
    "go": ("go", "golang"),
    "javascript": ("js", "node", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "javascript", "typescript"),
    "java": ("java",),
    "shell": ("sh", "bash", "zsh", "shell"),
    "braces": ("c", "h", "cc", "cpp", "cxx", "hh", "hpp", "cs", "rs", "kt", "swift", "scala", "php", "c++", "rust"),
}
_LANGUAGES = {name: known for known, names in _NAMES.items() for name in names}
_ABOVE = ("#", "//", "--", "/*", "*", "@")
_BLANK = re.compile(r"\n[ \t\r]*\n\s*")
_LINE = re.compile(r"\n")
_LOOK_BACK = 60


def language(text: str, name: str = "") -> str | None:
    """Return the language of a file name or language name, else the one whose signs are most frequent at the top."""
    top = text[:20_000]
    line = _INTERPRETER.match(top)
    stated = _LANGUAGES.get(name.rsplit(".", 1)[-1].lower()) or (_LANGUAGES[line[1]] if line is not None else None)
    if stated is not None:
        return stated
    counts = [(len(signs.findall(top)), -place) for place, (_, signs) in enumerate(_SIGNS)]
    most, place = max(counts)
    return _SIGNS[-place][0] if most else "braces" if _BRACE.search(top) else None


def chunk(text: str, options: Options) -> list[Span]:
    """Return definitions."""
    known = language(text, options.name)
    edges = _definitions(text, known) if known else []
    if edges:
        pairs: list[Pair] = []
        for left, right in units(text, sorted(set(edges))):
            pairs += _split(text, (left, right), options)
        pairs = join_small(text, pairs, options)
    else:
        pairs = _split(text, (0, len(text)), options)
    breaks = [found.start() for found in _LINE.finditer(text)]
    return [
        Span(left, right, {"lines": [bisect_right(breaks, left - 1) + 1, bisect_right(breaks, right - 2) + 1]})
        for left, right in pairs
    ]


def _definitions(text: str, known: str) -> list[int]:
    """Return where definitions begin; decorators begin the definition below them."""
    edges, decorated = [], False
    for found in _BEGINS[known].finditer(text):
        if not decorated:
            edges.append(_above(text, found.start()))
        decorated = found.group().startswith("@")
    return edges


def _split(text: str, piece: Pair, options: Options, pattern: re.Pattern[str] | None = _BLANK) -> list[Pair]:
    """Return the piece if it fits, else its parts between blank lines, then between lines, then windows."""
    left, right = piece
    if pattern is None:
        return split_windows(text, options)(piece)
    if count_tokens(text[left:right]) <= options.chunk_size:
        return [piece]
    finer = _LINE if pattern is _BLANK else None
    edges = [found.end() for found in pattern.finditer(text, left, right)]
    return pack(text, units(text, edges, left, right), options, lambda larger: _split(text, larger, options, finer))


def _above(text: str, at: int) -> int:
    """Return where the comments and decorators right above an offset begin."""
    for _ in range(_LOOK_BACK):
        start = text.rfind("\n", 0, at - 1) + 1 if at else 0
        if start == at or not text[start : start + 80].lstrip(" \t").startswith(_ABOVE):
            break
        at = start
    return at
