"""Match, find, replace and split text by regular expressions, each under a limit of one second."""

from __future__ import annotations

from typing import Annotated, Any

from llmspell.base.patterns import compile_pattern, timed
from llmspell.errors import TimeoutError as TimedOut
from llmspell.errors import ValidationError
from llmspell.tools._base import Case, P, Result, ToolFailure, ToolHeader, operation

MAX_INPUT = 10 * 1024 * 1024
MAX_RESULT = 10 * 1024 * 1024

Input = Annotated[str, P("The text", max_length=MAX_INPUT)]
Pattern = Annotated[str, P("The regular expression", max_length=4096, aliases=("regex", "expression"))]
Flags = Annotated[str, P("Letters: i ignore case, m multiline, s dot matches all, x verbose, u Unicode, a ASCII")]
Limit = Annotated[int, P("At most so many matches", ge=1, le=100_000)]

TOOL = ToolHeader(
    category="utility",
    level="safe",
    default="match",
    aliases=("regex",),
    timeout_ms=5_000,
    tests=(
        Case(
            "match",
            {"operation": "match", "input": "id=42", "pattern": r"(?P<n>\d+)"},
            {
                "result": {"matched": True, "match": {"text": "42", "start": 3, "end": 5, "named": {"n": "42"}}},
                "text": "42",
            },
        ),
        Case(
            "find all",
            {"operation": "find_all", "input": "a1b22", "pattern": r"\d+"},
            {"result": {"count": 2}, "text": "1\n22"},
        ),
        Case(
            "replace",
            {"operation": "replace", "input": "a-b", "pattern": r"(\w)-(\w)", "replacement": r"\2-\1"},
            {"result": {"result": "b-a", "replacements": 1}, "text": "b-a"},
        ),
        Case(
            "split",
            {"operation": "split", "input": "a, b", "pattern": r",\s*"},
            {"result": {"parts": ["a", "b"], "count": 2}},
        ),
        Case("validate", {"operation": "validate", "pattern": "a("}, {"success": True, "result": {"valid": False}}),
        Case("escape", {"operation": "escape", "input": "a.b"}, {"result": {"result": r"a\.b"}}),
        Case("bad pattern", {"input": "x", "pattern": "["}, {"success": False, "error": {"code": "bad_pattern"}}),
    ),
)


@operation("match", aliases=("test", "is_match"))
def match(
    input: Input,  # noqa: A002 - the parameter's published name
    pattern: Pattern,
    flags: Flags = "",
    full: Annotated[bool, P("The whole text must match")] = False,
) -> Any:
    """Tell whether the text matches, and where first."""
    compiled = _compiled(pattern, flags)
    hit = _timed(compiled.fullmatch if full else compiled.search, input)
    if hit is None:
        return Result({"matched": False}, text="")
    return Result({"matched": True, "match": _described(hit)}, text=hit[0])


@operation("find_all", aliases=("find",))
def find_all(
    input: Input,  # noqa: A002 - the parameter's published name
    pattern: Pattern,
    flags: Flags = "",
    limit: Limit = 1000,
    overlapped: Annotated[bool, P("Matches may overlap")] = False,
) -> Any:
    """Return every match."""
    hits: list[dict[str, Any]] = []
    size, more = 0, False
    for hit in _Matches(_compiled(pattern, flags), input, overlapped):
        if len(hits) == limit or size > MAX_RESULT:
            more = True
            break
        hits.append(_described(hit))
        size += len(hit[0]) + sum(len(group or "") for group in hit.groups())
    metadata = {"count": len(hits), **({"truncated": True} if more else {})}
    return Result({"matches": hits, "count": len(hits)}, text="\n".join(hit["text"] for hit in hits), metadata=metadata)


@operation("replace", text="result")
def replace(
    input: Input,  # noqa: A002 - the parameter's published name
    pattern: Pattern,
    replacement: Annotated[str, P(r"The new text; \1 and \g<name> stand for groups", max_length=100_000)],
    flags: Flags = "",
    count: Annotated[int, P("At most so many replacements, 0 for all", ge=0)] = 0,
) -> dict[str, Any]:
    """Replace matches."""
    compiled = _compiled(pattern, flags)
    parts: list[str] = []
    at = replaced = size = 0
    for hit in _Matches(compiled, input):
        parts += (input[at : hit.start()], _expanded(hit, replacement))
        size += len(parts[-2]) + len(parts[-1])
        if size > MAX_RESULT:
            raise ToolFailure("too_large", f"the result is longer than {MAX_RESULT} characters")
        at, replaced = hit.end(), replaced + 1
        if replaced == count:
            break
    return {"result": "".join(parts) + input[at:], "replacements": replaced}


@operation("split")
def split(
    input: Input,  # noqa: A002 - the parameter's published name
    pattern: Pattern,
    flags: Flags = "",
    max_split: Annotated[int, P("At most so many cuts, 0 for all", ge=0)] = 0,
) -> Any:
    """Cut the text at matches; groups of the pattern are kept between the parts."""
    parts = [part for part in _timed(_compiled(pattern, flags).split, input, maxsplit=max_split) if part is not None]
    return Result({"parts": parts, "count": len(parts)}, text="\n".join(parts))


@operation("validate", text="valid")
def validate(
    pattern: Annotated[str, P("The regular expression", aliases=("input", "regex"))], flags: Flags = ""
) -> Any:
    """Tell whether a regular expression is one."""
    try:
        compiled = compile_pattern(pattern, flags)
    except ValidationError as error:
        found = {"valid": False, "error": error.details.get("reason", error.message), "groups": []}
        return found | {key: error.details[key] for key in ("position",) if key in error.details}
    names = {number: name for name, number in compiled.groupindex.items()}
    return {"valid": True, "groups": [names.get(number, number) for number in range(1, compiled.groups + 1)]}


@operation("escape", text="result", inline=True)
def escape(input: Input) -> dict[str, Any]:  # noqa: A002 - the parameter's published name
    """Return the text with everything that is special in a regular expression escaped."""
    import re

    return {"result": re.escape(input)}


class _Matches:
    """The matches of one call; all of them share one time limit."""

    def __init__(self, compiled: Any, text: str, overlapped: bool = False) -> None:
        self._found = _timed(compiled.finditer, text, overlapped=overlapped)

    def __iter__(self) -> _Matches:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._found)
        except TimeoutError as error:
            raise _late() from error


def _compiled(pattern: str, flags: str) -> Any:
    try:
        return compile_pattern(pattern, flags)
    except ValidationError as error:
        raise ToolFailure("bad_pattern", error.message, error.details, error_kind="validation") from error


def _timed(fn: Any, *args: Any, **options: Any) -> Any:
    try:
        return timed(fn, *args, **options)
    except TimedOut as error:
        raise _late() from error


def _late() -> ToolFailure:
    return ToolFailure(
        "regex_timeout",
        "the regular expression did not end within 1000 ms: make it simpler or the text shorter",
        error_kind="timeout",
    )


def _expanded(hit: Any, replacement: str) -> str:
    import regex

    try:
        return str(hit.expand(replacement))
    except (regex.error, IndexError, ValueError) as error:
        raise ToolFailure(
            "bad_pattern", f"bad replacement: {error}", {"reason": str(error)}, error_kind="validation"
        ) from error


def _described(hit: Any) -> dict[str, Any]:
    return {
        "text": hit[0],
        "start": hit.start(),
        "end": hit.end(),
        "groups": list(hit.groups()),
        "named": hit.groupdict(),
    }
