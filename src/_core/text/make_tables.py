"""Write `tables_data.inc`: the Unicode facts that folding, grapheme clusters and token estimates need, as C++ arrays.

Run by hand when the Unicode version should move: `python src/_core/text/make_tables.py`. Its output is committed, so a
build needs neither this script nor the `regex` package, and every platform and Python version folds text alike.
Moving the version changes vectors of the built-in embedder: it is a new embedder id.
"""

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import regex

CODE_POINTS = range(0x110000)
BLOCK = 128
# The order is that of the enum Cluster in tables.hpp.
CLUSTERS = [
    "CR",
    "LF",
    "Control",
    "Extend",
    "ZWJ",
    "Regional_Indicator",
    "Prepend",
    "SpacingMark",
    "L",
    "V",
    "T",
    "LV",
    "LVT",
]
WORD, IDEOGRAPH, DROPPED, NFKD, FOLD, SECOND = 1, 2, 4, 8, 16, 32


def numbers(values: Iterable[int], per_line: int = 40) -> str:
    """Return the body of an array."""
    items = [str(value) for value in values]
    return "\n".join(",".join(items[i : i + per_line]) + "," for i in range(0, len(items), per_line))


def array(kind: str, name: str, values: Iterable[int]) -> str:
    """Return one array definition."""
    values = list(values)
    return f"constexpr {kind} {name}[{len(values)}] = {{\n{numbers(values)}\n}};\n"


def two_stage(name: str, values: list[int]) -> str:
    """Return a table of bytes as an index of blocks and the distinct blocks."""
    blocks: dict[tuple[int, ...], int] = {}
    index = []
    for start in range(0, len(values), BLOCK):
        block = tuple(values[start : start + BLOCK])
        index.append(blocks.setdefault(block, len(blocks)))
    flat = [value for block in blocks for value in block]
    return array("std::uint16_t", f"{name}_index", index) + array("std::uint8_t", f"{name}_blocks", flat)


def mapping(name: str, pairs: list[tuple[int, str]]) -> str:
    """Return a map from code point to code points: sorted keys, where each text starts, and the pool of texts."""
    starts, pool = [0], list[int]()
    for _, text in pairs:
        pool.extend(map(ord, text))
        starts.append(len(pool))
    return (
        array("std::uint32_t", f"{name}_keys", (key for key, _ in pairs))
        + array("std::uint16_t", f"{name}_starts", starts)
        + array("std::uint32_t", f"{name}_pool", pool)
    )


def is_hangul(code: int) -> bool:
    """Tell whether the code point is a Hangul syllable, which decomposes by arithmetic."""
    return 0xAC00 <= code <= 0xD7A3


def fold(char: str) -> str:
    """Return the fixed point of case folding and compatibility decomposition."""
    text = unicodedata.normalize("NFKD", char)
    while True:
        again = unicodedata.normalize("NFKD", text.casefold())
        if again == text:
            return text
        text = again


def facts() -> tuple[list[tuple[int, str]], list[tuple[int, str]], list[tuple[int, int, int]]]:
    """Return the decompositions, the foldings and the compositions."""
    decompositions, foldings, compositions = [], [], []
    for code in CODE_POINTS:
        char = chr(code)
        if is_hangul(code) or 0xD800 <= code <= 0xDFFF:
            continue
        decomposed = unicodedata.normalize("NFKD", char)
        if decomposed != char:
            decompositions.append((code, decomposed))
        elif code >= 128 and fold(char) != char:
            foldings.append((code, fold(char)))
        canonical = unicodedata.decomposition(char)
        if canonical and not canonical.startswith("<") and len(canonical.split()) == 2:
            first, second = (int(part, 16) for part in canonical.split())
            if unicodedata.normalize("NFC", chr(first) + chr(second)) == char:
                compositions.append((first, second, code))
    # What a decomposition yields is folded part by part, so the parts need their own entries.
    return decompositions, foldings, sorted(compositions)


def flags(code: int, mapped: set[int], folded: set[int], seconds: set[int]) -> int:
    """Return the bits of one code point."""
    category = unicodedata.category(chr(code))
    bits = WORD if category[0] in "LNM" else 0
    if regex.match(r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]", chr(code)):
        bits |= IDEOGRAPH if category[0] == "L" else 0
    if category == "Cf" or 0xFE00 <= code <= 0xFE0F:
        bits |= DROPPED
    return bits | (NFKD if code in mapped else 0) | (FOLD if code in folded else 0) | (SECOND if code in seconds else 0)


def cluster_kinds() -> list[int]:
    """Return for each code point its grapheme cluster class, and in the high bits its part in Indic conjuncts."""
    kinds = [0] * 0x110000
    text = "".join(map(chr, CODE_POINTS))
    for number, name in enumerate(CLUSTERS, 1):
        for found in regex.finditer(rf"\p{{Grapheme_Cluster_Break={name}}}", text):
            kinds[found.start()] = number
    for found in regex.finditer(r"\p{Extended_Pictographic}", text):
        kinds[found.start()] = len(CLUSTERS) + 1
    for bits, name in ((16, "Consonant"), (32, "Linker"), (48, "Extend")):
        for found in regex.finditer(rf"\p{{InCB={name}}}", text):
            kinds[found.start()] |= bits
    return kinds


def main() -> None:
    """Write the tables beside this script."""
    decompositions, foldings, compositions = facts()
    mapped, folded = {key for key, _ in decompositions}, {key for key, _ in foldings}
    seconds = {second for _, second, _ in compositions}
    parts = [
        "// Generated by make_tables.py; do not edit. clang-format off\n",
        f"// Unicode {unicodedata.unidata_version} of Python {sys.version_info.major}.{sys.version_info.minor}; "
        f"grapheme clusters of regex {regex.__version__}.\n",
        f"constexpr unsigned block_size = {BLOCK};\n",
        two_stage("flag", [flags(code, mapped, folded, seconds) for code in CODE_POINTS]),
        two_stage("order", [unicodedata.combining(chr(code)) for code in CODE_POINTS]),
        two_stage("cluster", cluster_kinds()),
        mapping("nfkd", decompositions),
        mapping("fold", foldings),
        array("std::uint32_t", "compose_first", (first for first, _, _ in compositions)),
        array("std::uint32_t", "compose_second", (second for _, second, _ in compositions)),
        array("std::uint32_t", "compose_result", (result for _, _, result in compositions)),
    ]
    Path(__file__).with_name("tables_data.inc").write_text("".join(parts), encoding="ascii")


if __name__ == "__main__":
    main()
