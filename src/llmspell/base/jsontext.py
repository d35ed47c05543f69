"""JSON text as scripts and tools see it: strict reading with positions, writing that keeps integers and floats apart.

The standard library does the work; what is added is what it leaves open: line and column of every error, a depth
limit, refusal of NaN and of lone surrogates, and integers beyond 64 bits, which become floats.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmspell.errors import InvalidArgument, MalformedData, UnsupportedType, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 128
DEPTH_CEILING = 1000
# Possessive quantifiers: a hostile text must not make the scanners backtrack.
_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\Z)'
_BRACKETS = re.compile(_STRING + r"|[\[\]{}]", re.DOTALL)
_CONSTANTS = re.compile(_STRING + r"|-?Infinity|NaN", re.DOTALL)
_ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(text: str | bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Return the value of one complete JSON text; of a repeated key the last value wins.

    Raises MalformedData (details: line, column, offset) with the message `JSON parse error: ... at line L column C`.
    """
    import json

    if not 1 <= max_depth <= DEPTH_CEILING:
        raise InvalidArgument(f"max_depth must be between 1 and {DEPTH_CEILING}, got {max_depth}")
    text = _decoded(text)
    _check_depth(text, max_depth)
    try:
        value = json.loads(text, parse_int=_integer, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise parse_error(error.msg[:1].lower() + error.msg[1:], text, error.pos) from error
    except _ConstantError as error:
        found = next(hit for hit in _CONSTANTS.finditer(text) if not hit[0].startswith('"'))
        raise parse_error(f"{found[0]} is not JSON", text, found.start()) from error
    if _SURROGATE.search(text):
        _check_surrogates(text)
    return value


def dumps(
    value: Any, *, indent: int | None = None, sort_keys: bool = True, nan: str = "error", ascii_only: bool = False
) -> str:
    """Return JSON text: compact without `indent`, keys sorted by their bytes, floats with their point or exponent.

    nan: `error` raises ValidationError for NaN and infinities, `null` writes null. Bytes raise UnsupportedType.
    """
    import json

    if nan == "null":
        value = _without_nan(value)
    elif nan != "error":
        raise InvalidArgument(f"option 'nan' must be 'error' or 'null', got {nan!r}")
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        return json.dumps(
            value,
            indent=indent,
            sort_keys=sort_keys,
            separators=separators,
            ensure_ascii=ascii_only,
            allow_nan=False,
            default=_refuse,
        )
    except (ValueError, TypeError) as error:
        raise _explain(value, error) from error
    except RecursionError as error:
        raise ValidationError("the value is nested too deeply for JSON text", code="too_deep") from error


def parse_error(reason: str, text: str, offset: int) -> MalformedData:
    """Return the error for what is wrong at `offset` (code points) of `text`."""
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    return MalformedData(
        f"JSON parse error: {reason} at line {line} column {column}",
        details={"line": line, "column": column, "offset": offset, "reason": reason},
    )


def child_path(path: str, key: str | int) -> str:
    """Return the path of a member of `path`: `$.a`, `$.a[0]`, `$["odd key"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{dumps(key)}]"


class _ConstantError(Exception):
    """NaN or an infinity was met."""


def _constant(name: str) -> Any:
    raise _ConstantError(name)


def _integer(digits: str) -> int | float:
    if len(digits) < 19:
        return int(digits)
    number = float(digits)
    if -9.3e18 < number < 9.3e18:
        exact = int(digits)
        if -(2**63) <= exact < 2**63:
            return exact
    return number


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8")
        raise parse_error("invalid UTF-8", before, len(before)) from error


def _check_depth(text: str, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for hit in _BRACKETS.finditer(text):
        mark = hit[0]
        if mark in ("[", "{"):
            depth += 1
            if depth > max_depth:
                raise parse_error(f"nested deeper than {max_depth}", text, hit.start())
        elif mark in ("]", "}"):
            depth -= 1


def _check_surrogates(text: str) -> None:
    """Raise for half a surrogate pair: it stands for no character and has no UTF-8 form."""
    high_end, high_start = -1, 0
    for hit in _ESCAPES.finditer(text):
        code = int(hit[1], 16) if hit[1] else 0
        low = 0xDC00 <= code <= 0xDFFF
        if high_end >= 0 and not (low and hit.start() == high_end):
            raise parse_error("lone surrogate escape", text, high_start)
        if low and high_end < 0:
            raise parse_error("lone surrogate escape", text, hit.start())
        high_end = hit.end() if 0xD800 <= code <= 0xDBFF else -1
        high_start = hit.start()
    if high_end >= 0:
        raise parse_error("lone surrogate escape", text, high_start)


def _refuse(value: Any) -> Any:
    raise TypeError(type(value).__name__)


def _walk(value: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """Yield every value inside with its path, without recursion."""
    stack = [(path, value)]
    while stack:
        where, item = stack.pop()
        yield where, item
        if isinstance(item, dict):
            stack.extend((child_path(where, str(key)), member) for key, member in item.items())
        elif isinstance(item, list | tuple):
            stack.extend((child_path(where, index), member) for index, member in enumerate(item))


def _explain(value: Any, error: Exception) -> ValidationError:
    for path, item in _walk(value):
        if isinstance(item, float) and (item != item or item in (float("inf"), float("-inf"))):
            return ValidationError(
                f'cannot write {item} at {path} as JSON: use the option nan = "null" or a finite number',
                code="non_finite",
                details={"path": path},
            )
        if isinstance(item, bytes):
            return UnsupportedType(
                f"cannot write bytes at {path} as JSON: the string is not valid UTF-8, encode it (base64) first",
                details={"path": path, "type": "bytes"},
            )
        if not isinstance(item, str | int | float | bool | dict | list | tuple | None):
            kind = type(item).__name__
            return UnsupportedType(f"cannot convert {kind} at {path}", details={"path": path, "type": kind})
    return ValidationError(f"cannot write the value as JSON: {error}")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
