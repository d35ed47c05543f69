"""Compare texts by lines or JSON values by members, and apply patches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from llmspell.base import jsondiff
from llmspell.base.jsontext import dumps, loads
from llmspell.base.textdiff import TextDiff, apply_unified
from llmspell.errors import ValidationError
from llmspell.tools._base import (
    Case,
    P,
    ReadPath,
    Result,
    ToolContext,
    ToolFailure,
    ToolHeader,
    operation,
    violation,
)

MAX_SIDE = 10 * 1024 * 1024

Text = Annotated[str | None, P("Text of this side", max_length=MAX_SIDE)]
File = Annotated[ReadPath | None, P("File of this side, in place of text")]

TOOL = ToolHeader(
    category="utility",
    level="safe",
    default="diff",
    aliases=("diff",),
    tests=(
        Case(
            "text",
            {"old_text": "a\nb\n", "new_text": "a\nc\n"},
            {"operation": "text_diff", "result": {"identical": False, "stats": {"added": 1, "removed": 1}}},
        ),
        Case(
            "simple",
            {"old_text": "a\n", "new_text": "a\nb\n", "format": "simple"},
            {"text": "Added at lines 2-2\nTotal changes: 1\n"},
        ),
        Case(
            "json",
            {"type": "json", "old_json": {"a": 1, "b": 2}, "new_json": {"a": 3}},
            {
                "operation": "json_diff",
                "result": {"diff": {"modified": {"a": {"old": 1, "new": 3}}, "removed": {"b": 2}}},
            },
        ),
        Case(
            "patch",
            {"operation": "patch", "input": "a\nb\n", "patch": "@@ -1,2 +1,2 @@\n a\n-b\n+c\n"},
            {"result": {"result": "a\nc\n", "hunks_applied": 1}, "text": "a\nc\n"},
        ),
        Case(
            "json patch",
            {"operation": "patch", "input": '{"a":1}', "patch": [{"op": "replace", "path": "/a", "value": 2}]},
            {"result": {"result": {"a": 2}, "hunks_applied": 1}},
        ),
        Case(
            "files",
            {"old_file": "old.txt", "new_file": "new.txt"},
            {"result": {"identical": True, "diff": ""}},
            files={"old.txt": "x\n", "new.txt": "x\n"},
        ),
    ),
)


@operation("diff", label="text_diff")
def diff(
    type: Annotated[Literal["text", "json"] | None, P("What is compared; json when JSON is given")] = None,  # noqa: A002 - published name
    old_text: Text = None,
    new_text: Text = None,
    old_file: File = None,
    new_file: File = None,
    old_json: Annotated[Any, P("Old value, or JSON text")] = None,
    new_json: Annotated[Any, P("New value, or JSON text")] = None,
    format: Annotated[Literal["unified", "context", "inline", "simple"], P("Form of a text difference")] = "unified",  # noqa: A002 - published name
    context_lines: Annotated[int, P("Equal lines around changes", ge=0, le=10_000)] = 3,
    ignore_whitespace: Annotated[bool, P("Blanks do not count")] = False,
    *,
    ctx: ToolContext,
) -> Result:
    """Compare two sides."""
    kind = type or ("json" if (old_json, new_json) != (None, None) else "text")
    if kind == "json":
        sides = [
            _value(given, text, file, ctx)
            for given, text, file in ((old_json, old_text, old_file), (new_json, new_text, new_file))
        ]
        return _json_diff(*sides)
    old, new = _text("old", old_text, old_file, ctx), _text("new", new_text, new_file, ctx)
    found = TextDiff(old, new, ignore_whitespace=ignore_whitespace, check=ctx.check)
    names = (str(old_file or "old"), str(new_file or "new"))
    forms = {
        "unified": lambda: found.unified(context_lines, names),
        "context": lambda: found.context(context_lines, names),
        "inline": found.inline,
        "simple": found.simple,
    }
    text = forms[format]()
    value = {"type": "text", "format": format, "diff": text, "identical": found.identical, "stats": found.stats()}
    return Result(value, text=text)


@operation("patch")
def patch(
    input: Annotated[Any, P("The text, or JSON for a list of operations")],  # noqa: A002 - published name
    patch: Annotated[str | list[Any], P("A unified patch, or a list of RFC 6902 operations")],
) -> Result:
    """Apply a patch."""
    try:
        if isinstance(patch, list):
            result = jsondiff.apply_patch(loads(input) if isinstance(input, str) else input, patch)
            return Result({"result": result, "hunks_applied": len(patch)}, text=dumps(result))
        if not isinstance(input, str):
            raise violation("input", "a unified patch is applied to a text", keyword="type")
        text, count = apply_unified(input, patch)
    except ValidationError as error:
        if error.code == "schema_violation":
            raise
        hunk = error.details.get("hunk", error.details.get("operation", -1) + 1)
        raise ToolFailure(
            error.code if error.code == "patch_failed" else "invalid_json", error.message, {"hunk": hunk}
        ) from error
    return Result({"result": text, "hunks_applied": count}, text=text)


def _text(side: str, text: str | None, file: Path | None, ctx: ToolContext) -> str:
    if file is None:
        if text is None:
            raise violation(f"{side}_text", f"give '{side}_text' or '{side}_file'", keyword="required")
        return text
    with ctx.security.open(file, "rb") as stream:
        data: bytes = stream.read(MAX_SIDE + 1)
    if len(data) > MAX_SIDE:
        raise ToolFailure("too_large", f"{file} is larger than 10 MB", {"limit": MAX_SIDE})
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ToolFailure("decode_error", f"{file} is not UTF-8 text", {"offset": error.start}) from error


def _value(given: Any, text: str | None, file: Path | None, ctx: ToolContext) -> Any:
    if given is None and (text is not None or file is not None):
        given = _text("old", text, file, ctx)
    if not isinstance(given, str):
        return given
    try:
        return loads(given)
    except ValidationError as error:
        raise ToolFailure("invalid_json", error.message, error.details) from error


def _json_diff(old: Any, new: Any) -> Result:
    added: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    modified: dict[str, Any] = {}
    unchanged: list[str] = []
    for path, left, right in _members(old, new, ""):
        if left is jsondiff.ABSENT:
            added[path] = right
        elif right is jsondiff.ABSENT:
            removed[path] = left
        elif jsondiff.same(left, right):
            unchanged.append(path)
        else:
            modified[path] = {"old": left, "new": right}
    found = {"added": added, "removed": removed, "modified": modified, "unchanged": unchanged}
    counts = {name: len(members) for name, members in found.items()}
    operations = jsondiff.patch(old, new)
    value = {
        "type": "json", "diff": found, "identical": not operations, "summary": counts, "patch": operations
    }  # fmt: skip
    return Result(value, text=dumps(found, indent=2), operation="json_diff")


def _members(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves of both values side by side; lists of different length are one value each."""
    absent = jsondiff.ABSENT
    if isinstance(old, dict) and isinstance(new, dict) and (old or new):
        for key in sorted(old.keys() | new.keys()):
            yield from _member(old.get(key, absent), new.get(key, absent), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and old:
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from _member(left, right, f"{path}[{index}]")
    else:
        yield path, old, new


def _member(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if left is jsondiff.ABSENT or right is jsondiff.ABSENT:
        yield path, left, right
    else:
        yield from _members(left, right, path)
