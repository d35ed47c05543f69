"""Query, check, format, merge and reshape JSON."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from llmspell.base.jsontext import dumps, loads
from llmspell.errors import LLMSpellError, MalformedData, UnsupportedType, ValidationError
from llmspell.tools._base import Case, P, Result, ToolContext, ToolFailure, ToolHeader, operation, violation

MAX_SIZE = 100 * 1024 * 1024
MAX_DEPTH = 128
SMALL = 65_536
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)

Input = Annotated[Any, P("JSON data; a string is read as JSON text", aliases=("data",))]
Query = Annotated[str, P("jq program", max_length=65_536)]
Separator = Annotated[str, P("Between the parts of a path", min_length=1, max_length=100)]

TOOL = ToolHeader(
    category="data",
    level="safe",
    default="query",
    aliases=("json",),
    timeout_ms=30_000,
    inline=True,
    tags=("json", "jq"),
    tests=(
        Case("path", {"query": ".a[0]", "input": '{"a":[1,2]}'}, {"result": 1, "text": "1", "metadata": {"count": 1}}),
        Case("many outputs", {"query": ".[]", "input": [1, 2]}, {"result": [1, 2], "metadata": {"count": 2}}),
        Case("program", {"query": "map(. * $n)", "input": [1, 2], "args": {"n": 3}}, {"result": [3, 6]}),
        Case("bad text", {"input": "{"}, {"success": False, "error": {"code": "invalid_json"}}),
        Case(
            "validate",
            {"operation": "validate", "input": {"a": 1}, "schema": {"required": ["b"]}},
            {"result": {"is_valid": False, "errors": [{"keyword": "required"}]}},
        ),
        Case("stream", {"operation": "stream", "input": '{"a":1}\n{"a":2}\n', "query": ".a"}, {"result": [1, 2]}),
        Case("format", {"operation": "format", "input": '{"b":1}', "compact": True}, {"result": {"output": '{"b":1}'}}),
        Case(
            "merge",
            {"operation": "merge", "input": {"a": {"b": 1}}, "with": {"a": {"c": 2}}},
            {"result": {"a": {"b": 1, "c": 2}}},
        ),
        Case("flatten", {"operation": "flatten", "input": {"a": {"b": [1]}}}, {"result": {"a.b.0": 1}}),
        Case("unflatten", {"operation": "unflatten", "input": {"a.b.0": 1}}, {"result": {"a": {"b": [1]}}}),
    ),
)


@operation("query", aliases=("transform", "jq"))
async def query(
    input: Input,  # noqa: A002 - the parameter's published name
    query: Query = ".",
    args: Annotated[dict[str, Any] | None, P("Values of `$name` in the program")] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Run a jq program: one output is the result, several are an array, none is null."""
    outputs = await _run(query, await _data(input), _checked_args(args), ctx)
    value = outputs[0] if len(outputs) == 1 else outputs or None
    return Result(value, text=_text(value), metadata={"count": len(outputs)})


@operation("validate")
def validate(
    input: Input,  # noqa: A002 - the parameter's published name
    schema: Annotated[dict[str, Any], P("JSON Schema")],
) -> Result:
    """Check data against a JSON Schema."""
    from llmspell.base.jsonschema import Checker

    try:
        checker = Checker(schema)
    except ValidationError as error:
        raise violation("schema", error.message, keyword="schema") from error
    errors = checker.violations(_parsed(input))
    return _answer({"is_valid": not errors, "errors": errors})


@operation("stream")
async def stream(
    input: Annotated[str, P("JSON lines", aliases=("data",))],  # noqa: A002 - the parameter's published name
    query: Query = ".",
    *,
    ctx: ToolContext,
) -> Result:
    """Run a jq program on every line; all outputs are one array."""
    _limit(len(input))
    lines = await _heavy(_lines, input, size=len(input))
    # The line break ends a comment at the end of the program.
    outputs = await _run(f".[] | ({query}\n)", lines, {}, ctx) if lines else []
    return Result(outputs, text=_text(outputs), metadata={"count": len(outputs)})


@operation("format", text="output")
def format_text(
    input: Input,  # noqa: A002 - the parameter's published name
    indent: Annotated[int, P("Blanks per level", ge=0, le=16)] = 2,
    sort_keys: Annotated[bool, P("Sort the keys")] = False,
    compact: Annotated[bool, P("One line without blanks")] = False,
) -> dict[str, Any]:
    """Write JSON text."""
    return {"output": dumps(_parsed(input), indent=None if compact else indent, sort_keys=sort_keys)}


@operation("merge")
def merge(
    input: Input,  # noqa: A002 - the parameter's published name
    with_: Annotated[Any, P("What is merged into the input; a string is read as JSON text")],
    strategy: Annotated[
        Literal["deep", "shallow", "patch"], P("Objects at all levels, at the top, or by RFC 7396")
    ] = "deep",
) -> Result:
    """Merge two objects."""
    base, other = _parsed(input), _parsed(with_, name="with")
    if strategy == "patch":
        return _answer(_patched(base, other))
    if not isinstance(base, dict) or not isinstance(other, dict):
        raise violation("input" if not isinstance(base, dict) else "with", "an object expected", keyword="type")
    return _answer(_merged(base, other) if strategy == "deep" else {**base, **other})


@operation("flatten")
def flatten(input: Input, separator: Separator = ".") -> Result:  # noqa: A002 - the parameter's published name
    """Write nested data as one object of paths."""
    data = _parsed(input)
    if not isinstance(data, dict | list):
        raise violation("input", "an object or an array expected", keyword="type")
    flat: dict[str, Any] = {}
    stack: list[tuple[str, Any]] = [("", data)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict | list) and (value or not path):
            pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
            stack.extend((f"{path}{separator}{key}" if path else str(key), item) for key, item in reversed(pairs))
        else:
            flat[path] = value
    return _answer(flat)


@operation("unflatten")
def unflatten(input: Input, separator: Separator = ".") -> Result:  # noqa: A002 - the parameter's published name
    """Build nested data from an object of paths; keys 0, 1, 2 ... become an array."""
    data = _parsed(input)
    if not isinstance(data, dict):
        raise violation("input", "an object of paths expected", keyword="type")
    root: dict[str, Any] = {}
    # A branch is told from a value that is an object by its identity.
    branches = {id(root)}
    for path, value in data.items():
        parts = path.split(separator)
        if len(parts) > MAX_DEPTH:
            raise ToolFailure("too_deep", f"the path '{path[:60]}...' has more than {MAX_DEPTH} parts")
        node = root
        for part in parts[:-1]:
            if part not in node:
                node[part] = {}
                branches.add(id(node[part]))
            node = node[part]
            if id(node) not in branches:
                raise ToolFailure("conflict", f"'{path[:80]}' passes through a path that holds a value already")
        if parts[-1] in node:
            raise ToolFailure("conflict", f"'{path[:80]}' has a value already")
        node[parts[-1]] = value
    return _answer(_with_arrays(root, branches))


async def _run(program: str, data: Any, args: dict[str, Any], ctx: ToolContext) -> list[Any]:
    from llmspell.base.jq import run_jq

    try:
        return await run_jq(program, data, args, timeout_s=max(0.001, ctx.remaining_s()))
    except UnsupportedType:
        raise
    except ValidationError as error:
        if error.code in ("jq_compile", "jq_runtime"):
            raise ToolFailure(error.code, error.message, error.details) from error
        if error.code == "jq_forbidden":
            raise ToolFailure("jq_compile", error.message, {**error.details, "code": "jq_compile"}) from error
        raise


def _checked_args(args: dict[str, Any] | None) -> dict[str, Any]:
    bad = next((name for name in args or {} if not _NAME.fullmatch(name)), None)
    if bad is not None:
        raise violation("args", f"'{bad[:60]}' is not a name of letters, digits and '_'", keyword="propertyNames")
    return args or {}


async def _data(value: Any) -> Any:
    if isinstance(value, str):
        return await _heavy(_parsed, value, size=len(value))
    return value


async def _heavy(fn: Any, text: str, *, size: int) -> Any:
    if size <= SMALL:
        return fn(text)
    from llmspell.base.offload import offload

    return await offload(fn, text)


def _parsed(value: Any, *, name: str = "input") -> Any:
    """Return the data a parameter stands for."""
    if not isinstance(value, str):
        return value
    _limit(len(value))
    try:
        return loads(value)
    except MalformedData as error:
        raise _invalid(error, name) from error


def _lines(text: str) -> list[Any]:
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                values.append(loads(line))
            except MalformedData as error:
                error.details["line"] = number
                raise _invalid(error, "input") from error
    return values


def _invalid(error: LLMSpellError, name: str) -> ToolFailure:
    place: dict[str, Any] = {key: error.details[key] for key in ("line", "column") if key in error.details}
    return ToolFailure("invalid_json", error.message, {**place, "field": name})


def _limit(size: int) -> None:
    if size > MAX_SIZE:
        raise ToolFailure("too_large", "the input is larger than 100 MB", {"limit": MAX_SIZE})


def _text(value: Any) -> str:
    return dumps(value, sort_keys=False, nan="null")


def _answer(value: Any) -> Result:
    return Result(value, text=_text(value))


def _merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in other.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _patched(base: Any, patch: Any) -> Any:
    """Apply a merge patch. Source: RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _patched(result.get(key), value)
    return result


def _with_arrays(node: Any, branches: set[int]) -> Any:
    if id(node) not in branches:
        return node
    built = {key: _with_arrays(value, branches) for key, value in node.items()}
    if built and all(str(index) in built for index in range(len(built))):
        return [built[str(index)] for index in range(len(built))]
    return built
