"""Change, cut, wrap, split, count and clean text."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, Literal

from llmspell.tools._base import Case, P, Result, ToolFailure, ToolHeader, operation, violation

MAX_SIZE = 10 * 1024 * 1024
MAX_PATTERN = 4096
REGEX_TIMEOUT_S = 1.0
_INVISIBLE = frozenset("\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f]+(?=\s|$)")

Input = Annotated[str, P("The text, at most 10 MB")]


def _case(name: str, text: str, result: Any, **options: Any) -> Case:
    return Case(name, {"operation": name, "input": text, **options}, {"result": {"result": result}})


TOOL = ToolHeader(
    category="utility",
    level="safe",
    aliases=("text",),
    inline=True,
    options=True,
    text="result",
    tags=("string",),
    tests=(
        _case("uppercase", "a\u00e9", "A\u00c9"),
        _case("lowercase", "AB", "ab"),
        _case("capitalize", "hello World", "Hello world"),
        _case("title_case", "hello don't", "Hello Don't"),
        _case("reverse", "abc", "cba"),
        _case("trim", " a ", "a"),
        _case("trim_start", " a ", "a "),
        _case("trim_end", " a ", " a"),
        _case("dedent", "  a\n    b", "a\n  b"),
        _case("normalize_whitespace", " a \n b ", "a b"),
        _case("snake_case", "HTTPServer name", "http_server_name"),
        _case("camel_case", "some text here", "someTextHere"),
        _case("pascal_case", "some-text", "SomeText"),
        _case("kebab_case", "someText", "some-text"),
        _case("slugify", "Caf\u00e9 & Bar!", "cafe-bar"),
        _case("replace", "a.b", "a-b", options={"from": ".", "to": "-"}),
        _case("substring", "hello", "ell", start=1, end=-1),
        _case("split", "a,b", ["a", "b"], delimiter=","),
        _case("join", '["a","b"]', "a+b", delimiter="+"),
        _case("sanitize", " a\u202e\x00b ", "ab"),
        _case("truncate", "abcdefgh", "ab...", max_length=5),
        _case("indent", "a\nb", "  a\n  b", spaces=2),
        _case("word_wrap", "aa bb", "aa\nbb", width=3),
        _case("pad", "7", "007", width=3, fill="0", side="left"),
        _case("repeat", "ab", "abab", count=2),
        Case("count", {"operation": "count", "input": "a b."}, {"result": {"words": 2, "sentences": 1}}),
    ),
)


def _simple(name: str, change: Callable[[str], str], *, aliases: tuple[str, ...] = (), doc: str) -> Any:
    """Return an operation without options."""

    def run(input: Input) -> dict[str, Any]:  # noqa: A002 - the parameter's published name
        return _answer(name, _checked(input), change(input))

    run.__doc__ = doc
    return operation(name, aliases=aliases)(run)


def _words(text: str) -> list[str]:
    """Return the words of an identifier or a sentence: cut at other characters and where the case changes."""
    words: list[str] = []
    for chunk in re.split(r"[\W_]+", text):
        start = 0
        for at in range(1, len(chunk)):
            before, here = chunk[at - 1], chunk[at]
            follows = chunk[at + 1] if at + 1 < len(chunk) else ""
            if here.isupper() and (not before.isupper() or follows.islower()):
                words.append(chunk[start:at])
                start = at
        words.append(chunk[start:])
    return [word for word in words if word]


def _camel(text: str) -> str:
    joined = "".join(word.capitalize() for word in _words(text))
    return joined[:1].lower() + joined[1:]


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


uppercase = _simple("uppercase", str.upper, aliases=("upper",), doc="Write in capitals.")
lowercase = _simple("lowercase", str.lower, aliases=("lower",), doc="Write in small letters.")
capitalize = _simple("capitalize", str.capitalize, doc="First letter large, the others small.")
title_case = _simple(
    "title_case", lambda s: re.sub(r"\S+", lambda m: m[0].capitalize(), s), doc="First letter of every word large."
)
reverse = _simple("reverse", lambda s: s[::-1], doc="Reverse the code points.")
trim = _simple("trim", str.strip, doc="Drop white space at both ends.")
trim_start = _simple("trim_start", str.lstrip, doc="Drop white space at the start.")
trim_end = _simple("trim_end", str.rstrip, doc="Drop white space at the end.")
dedent = _simple("dedent", textwrap.dedent, doc="Drop the indentation that all lines share.")
normalize_whitespace = _simple(
    "normalize_whitespace", lambda s: " ".join(s.split()), doc="One blank in place of any white space."
)
snake_case = _simple("snake_case", lambda s: "_".join(_words(s)).lower(), doc="Write as snake_case.")
camel_case = _simple("camel_case", _camel, doc="Write as camelCase.")
pascal_case = _simple("pascal_case", lambda s: "".join(w.capitalize() for w in _words(s)), doc="Write as PascalCase.")
kebab_case = _simple("kebab_case", lambda s: "-".join(_words(s)).lower(), doc="Write as kebab-case.")
slugify = _simple("slugify", _slug, doc="Write as an ASCII slug.")


@operation("replace", inline=False)
def replace(
    input: Input,  # noqa: A002 - the parameter's published name
    from_: Annotated[str, P("What is replaced", min_length=1)],
    to: Annotated[str, P("What stands there then; with regex also \\1 and \\g<name>")],
    count: Annotated[int, P("At most so many, 0 for all", ge=0)] = 0,
    regex: Annotated[bool, P("`from` is a regular expression")] = False,
) -> dict[str, Any]:
    """Replace text."""
    _checked(input)
    if regex:
        return _answer("replace", input, _replace_matches(input, from_, to, count=count))
    hits = input.count(from_)
    hits = min(hits, count) if count else hits
    _room(len(input) + hits * (len(to) - len(from_)))
    return _answer("replace", input, input.replace(from_, to, count or -1))


@operation("substring")
def substring(
    input: Input,  # noqa: A002 - the parameter's published name
    start: Annotated[int, P("First code point, negative from the end")] = 0,
    end: Annotated[int | None, P("Code point after the last, negative from the end")] = None,
) -> dict[str, Any]:
    """Cut out a part."""
    return _answer("substring", _checked(input), input[start:end])


@operation("split")
def split(
    input: Input,  # noqa: A002 - the parameter's published name
    delimiter: Annotated[str, P("Where to cut; empty for every code point")] = " ",
    limit: Annotated[int | None, P("At most so many parts", ge=1)] = None,
) -> dict[str, Any]:
    """Split into a list."""
    _checked(input)
    if delimiter:
        parts = input.split(delimiter, -1 if limit is None else limit - 1)
    elif limit is None:
        parts = list(input)
    else:
        parts = [*input[: limit - 1], input[limit - 1 :]]
    return _answer("split", input, parts)


@operation("join")
def join(
    input: Annotated[Any, P("A list, or the text of a JSON array")] = None,  # noqa: A002 - the published name
    items: Annotated[list[str] | None, P("The parts")] = None,
    delimiter: Annotated[str, P("Between the parts")] = "",
) -> dict[str, Any]:
    """Join a list."""
    parts = items if items is not None else _list(input)
    texts = [part if isinstance(part, str) else _json(part) for part in parts]
    total = sum(map(len, texts))
    _room(total + len(delimiter) * max(0, len(texts) - 1))
    return {
        "result": delimiter.join(texts),
        "operation": "join",
        "original_length": total,
        "result_length": total + len(delimiter) * max(0, len(texts) - 1),
    }


@operation("sanitize")
def sanitize(
    input: Input,  # noqa: A002 - the parameter's published name
    allow_unicode: Annotated[bool, P("Keep characters beyond ASCII")] = True,
) -> dict[str, Any]:
    """Drop control, bidirectional and zero-width characters, and trim."""
    kept = [char for char in _checked(input) if _is_visible(char) and (allow_unicode or char.isascii())]
    return _answer("sanitize", input, "".join(kept).strip())


@operation("truncate")
def truncate(
    input: Input,  # noqa: A002 - the parameter's published name
    max_length: Annotated[int, P("Code points of the result, suffix included", ge=0)] = 100,
    suffix: Annotated[str, P("Marks what was cut", max_length=1000)] = "...",
    word_boundary: Annotated[bool, P("Cut between words")] = False,
) -> dict[str, Any]:
    """Shorten to a length."""
    if len(_checked(input)) <= max_length:
        return _answer("truncate", input, input)
    room = max_length - len(suffix)
    if room <= 0:
        return _answer("truncate", input, suffix[:max_length])
    head = input[:room]
    if word_boundary and not input[room].isspace():
        words = re.match(r"(?s)(.*\S)\s+\S*\Z", head)
        head = words[1] if words else head
    return _answer("truncate", input, head.rstrip() + suffix if word_boundary else head + suffix)


@operation("indent")
def indent(
    input: Input,  # noqa: A002 - the parameter's published name
    spaces: Annotated[int, P("Blanks before each line", ge=0, le=1000)] = 4,
    first_line: Annotated[bool, P("The first line too")] = True,
) -> dict[str, Any]:
    """Indent the lines that are not blank."""
    lines = _checked(input).splitlines(keepends=True)
    _room(len(input) + spaces * len(lines))
    margin = " " * spaces
    done = [margin + line if line.strip() and (first_line or index) else line for index, line in enumerate(lines)]
    return _answer("indent", input, "".join(done))


@operation("word_wrap", aliases=("wrap",))
def word_wrap(
    input: Input,  # noqa: A002 - the parameter's published name
    width: Annotated[int, P("Code points of a line", ge=1, le=1_000_000)] = 80,
) -> dict[str, Any]:
    """Break lines between words; longer words are cut."""
    lines: list[str] = []
    for line in _checked(input).split("\n"):
        lines.extend(_wrapped(line, width))
    return _answer("word_wrap", input, "\n".join(lines))


@operation("pad")
def pad(
    input: Input,  # noqa: A002 - the parameter's published name
    width: Annotated[int, P("Code points of the result", ge=0)],
    fill: Annotated[str, P("What to fill with", min_length=1, max_length=1000)] = " ",
    side: Annotated[Literal["left", "right", "both"], P("Where to fill")] = "right",
) -> dict[str, Any]:
    """Fill up to a width."""
    missing = max(0, width - len(_checked(input)))
    _room(len(input) + missing)
    left = missing if side == "left" else missing // 2 if side == "both" else 0
    right = missing - left
    return _answer("pad", input, _filled(fill, left) + input + _filled(fill, right))


@operation("repeat")
def repeat(
    input: Input,  # noqa: A002 - the parameter's published name
    count: Annotated[int, P("How often", ge=0, le=10_000)],
) -> dict[str, Any]:
    """Repeat the text."""
    _room(len(_checked(input)) * count)
    return _answer("repeat", input, input * count)


@operation("count")
def count(
    input: Input,  # noqa: A002 - the parameter's published name
    count_type: Annotated[Literal["chars", "words", "lines"] | None, P("Which number is `count`")] = None,
) -> Result:
    """Count characters, bytes, words, lines and sentences."""
    tail = _SENTENCE_END.split(_checked(input))[-1]
    numbers: dict[str, Any] = {
        "characters": len(input),
        "bytes": len(input.encode("utf-8", "surrogatepass")),
        "words": len(input.split()),
        "lines": len(input.splitlines()),
        "sentences": len(_SENTENCE_END.findall(input)) + bool(tail.strip()),
    }
    if count_type is not None:
        numbers["count"] = numbers["characters" if count_type == "chars" else count_type]
    return Result({**_answer("count", input, numbers), **numbers}, text=_json(numbers))


def _checked(text: str) -> str:
    _room(len(text))
    return text


def _room(size: int) -> None:
    if size > MAX_SIZE:
        raise ToolFailure("too_large", f"the text would have {size} characters, the limit is {MAX_SIZE}")


def _answer(name: str, original: str, result: Any) -> dict[str, Any]:
    return {"result": result, "operation": name, "original_length": len(original), "result_length": len(result)}


def _json(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        import msgspec

        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise violation("input", f"a JSON array expected: {error}", keyword="type") from error
    if value is None:
        message = "Missing required parameter 'input': Join operation requires it or 'items'"
        raise violation("input", message, keyword="required")
    if not isinstance(value, list):
        raise violation("input", "an array expected", keyword="type")
    return value


def _is_visible(char: str) -> bool:
    if char in "\n\t":
        return True
    return char not in _INVISIBLE and char not in _BIDI and unicodedata.category(char) not in ("Cc", "Cs")


def _filled(fill: str, size: int) -> str:
    return (fill * (size // len(fill) + 1))[:size]


def _wrapped(line: str, width: int) -> list[str]:
    """Return the lines one line becomes; a line that fits keeps its white space."""
    if len(line) <= width:
        return [line]
    margin = line[: len(line) - len(line.lstrip())]
    lines: list[str] = []
    current: list[str] = []
    used = 0
    if 0 < len(margin) < width:
        current, used = [margin], len(margin)
    blank = ""
    for word in line.split():
        for at in range(0, len(word), width):
            piece = word[at : at + width]
            if used and used + len(blank) + len(piece) > width:
                lines.append("".join(current))
                current, used, blank = [], 0, ""
            current += [blank, piece]
            used += len(blank) + len(piece)
            blank = ""
        blank = " "
    return [*lines, "".join(current)] if current else lines


def _replace_matches(text: str, pattern: str, to: str, *, count: int) -> str:
    """Replace by regular expression within one second; the size is watched while it grows."""
    import regex

    if len(pattern) > MAX_PATTERN:
        raise ToolFailure("bad_pattern", f"the pattern is longer than {MAX_PATTERN} characters")
    done: list[str] = []
    at = size = 0
    try:
        hits = regex.finditer(pattern, text, timeout=REGEX_TIMEOUT_S, concurrent=True)
        for number, hit in enumerate(hits, 1):
            piece = hit.expand(to)
            done += [text[at : hit.start()], piece]
            size += hit.start() - at + len(piece)
            _room(size)
            at = hit.end()
            if number == count:
                break
    except regex.error as error:
        details = {"position": error.pos} if getattr(error, "pos", None) is not None else None
        raise ToolFailure("bad_pattern", f"bad regular expression: {error}", details) from error
    except IndexError as error:
        raise ToolFailure("bad_pattern", f"bad replacement: {error}") from error
    except TimeoutError as error:
        raise ToolFailure(
            "regex_timeout", "the regular expression took longer than 1000 ms", error_kind="timeout"
        ) from error
    return "".join([*done, text[at:]])
