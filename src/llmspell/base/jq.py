"""jq programs under a time limit: simple paths inline, everything else in a pooled child process.

libjq runs in C, holds the GIL and cannot be stopped, so a program of a caller never runs in this process. A child is
started at first use, has an empty environment and no files, and is killed when the time is over. libjq knows one
kind of number, the double: integers beyond 2^53 are rounded there and integral floats come back as integers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmspell.base.jsontext import dumps, loads
from llmspell.errors import InternalError, InvalidArgument, LimitExceeded, ValidationError
from llmspell.errors import TimeoutError as TimedOut

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PROGRAM = 65536
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
FORBIDDEN = frozenset({"input_filename", "import", "include", "get_search_list", "debug", "stderr", "modulemeta"})
_STEP = re.compile(r'\.(?:(?P<name>[A-Za-z_]\w*)|(?P<quoted>"(?:[^"\\]|\\["\\/bfnrt])*"))|\.?\[(?P<index>-?\d{0,9})\]')
_WORDS = re.compile(r'(?P<mark>[.$@]\s*)?(?P<word>[A-Za-z_]\w*(?:::\w+)*)|(?P<string>")|#[^\n]*', re.ASCII)
Step = str | int | tuple[str]


async def run_jq(
    program: str, value: Any, args: Mapping[str, Any] | None = None, timeout_s: float = 10.0, *, text: str | None = None
) -> list[Any]:
    """Return all outputs of `program` for `value` (plain data), or for the JSON `text` if that is given.

    args: become `$name`. Raises ValidationError (code `jq_compile`, `jq_runtime` or `jq_forbidden`), TimeoutError,
    LimitExceeded (memory, output).
    """
    from llmspell.base import children

    steps = None if args or text is not None else simple_steps(program)
    if steps is not None:
        return apply_steps(steps, value)
    check_program(program)
    source = dumps(value, sort_keys=False) if text is None else text
    request = dumps({"program": program, "args": dict(args or {}), "max": MAX_OUTPUT_BYTES}).encode()
    pool = children.pool("jq", _worker_path, memory_bytes=1024 * 1024 * 1024)
    try:
        reply = await pool.ask([request, source.encode()], timeout_s)
    except TimeoutError as error:
        raise TimedOut(f"the jq program did not end within {timeout_s:g} s", code="jq_timeout") from error
    except EOFError as error:
        raise LimitExceeded(
            "the jq program used up its memory or processor time", details={"resource": "memory_bytes"}
        ) from error
    return _outputs(reply)


def query_now(program: str, value: Any) -> list[Any] | None:
    """Return the outputs of a simple path program at once, or None when the program needs `run_jq`."""
    steps = simple_steps(program)
    return None if steps is None else apply_steps(steps, value)


def simple_steps(program: str) -> list[Step] | None:
    """Return the steps of a program made only of paths, `[n]`, `[]`, pipes, `length` and `keys`, else None.

    A string is a field, an integer an index, a tuple one of `iterate`, `length`, `keys`.
    """
    if len(program) > 500:
        return None
    steps: list[Step] = []
    for part in program.split("|"):
        piece = part.strip()
        if piece in ("length", "keys"):
            steps.append((piece,))
            continue
        found = _path_steps(piece)
        if found is None:
            return None
        steps.extend(found)
    return steps


def apply_steps(steps: list[Step], value: Any) -> list[Any]:
    """Return what the steps give, in jq's order and with jq's errors."""
    values = [value]
    for step in steps:
        if step == ("iterate",):
            values = [item for value in values for item in _iterate(value)]
        elif isinstance(step, tuple):
            values = [(_length if step == ("length",) else _keys)(value) for value in values]
        else:
            values = [_index(value, step) for value in values]
    return values


def check_program(program: str) -> None:
    """Raise ValidationError for a program that is too long or names a function that looks outside its input."""
    if len(program) > MAX_PROGRAM:
        raise InvalidArgument(f"a jq program may have {MAX_PROGRAM} characters, this has {len(program)}")
    word = _forbidden_word(program)
    if word:
        raise ValidationError(
            f"bad jq program: '{word}' is not available here", code="jq_forbidden", details={"word": word}
        )


def _worker_path() -> tuple[str, list[str]]:
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("jq")
    if spec is None or spec.origin is None:
        raise InternalError("the package jq is missing: pip install jq")
    return str(Path(__file__).with_name("_jq_child.py")), [str(Path(spec.origin).parent)]


def _outputs(reply: list[bytes]) -> list[Any]:
    status, body = reply[0].decode(), reply[1].decode("utf-8", "replace")
    if status == "ok":
        return [loads(line, max_depth=1000) for line in body.split("\n") if line]
    if status == "too_large":
        raise LimitExceeded(
            f"the jq program wrote more than {MAX_OUTPUT_BYTES} bytes",
            details={"resource": "output_bytes", "limit": MAX_OUTPUT_BYTES},
        )
    kind = "bad jq program" if status == "jq_compile" else "jq error"
    reason = body.removeprefix("jq: error: ").partition("\n")[0]
    raise ValidationError(f"{kind}: {reason}", code=status, details={"reason": body})


def _path_steps(piece: str) -> list[Step] | None:
    if piece == ".":
        return []
    steps: list[Step] = []
    at = 0
    while at < len(piece):
        hit = _STEP.match(piece, at)
        if hit is None or (at == 0 and not piece.startswith(".")):
            return None
        if hit["name"] is not None:
            steps.append(hit["name"])
        elif hit["quoted"] is not None:
            steps.append(loads(hit["quoted"]))
        elif hit["index"] in ("", "-"):
            if hit["index"] == "-":
                return None
            steps.append(("iterate",))
        else:
            steps.append(int(hit["index"]))
        at = hit.end()
    return steps or None


def _failed(text: str) -> ValidationError:
    return ValidationError(f"jq error: {text}", code="jq_runtime")


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    for cls, name in ((str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, cls):
            return name
    return "bytes"


def _iterate(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return list(value.values())
    raise _failed(f"Cannot iterate over {_type(value)}")


def _length(value: Any) -> Any:
    kind = _type(value)
    if kind == "null":
        return 0
    if kind == "number":
        return abs(value)
    if kind in ("string", "array", "object"):
        return len(value)
    raise _failed(f"{kind} has no length")


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return sorted(value)
    if isinstance(value, list):
        return list(range(len(value)))
    raise _failed(f"{_type(value)} has no keys")


def _index(value: Any, step: str | int) -> Any:
    if value is None:
        return None
    if isinstance(step, str):
        if isinstance(value, dict):
            return value.get(step)
        raise _failed(f'Cannot index {_type(value)} with "{step}"')
    if isinstance(value, list):
        return value[step] if -len(value) <= step < len(value) else None
    raise _failed(f"Cannot index {_type(value)} with number")


def _forbidden_word(program: str) -> str | None:
    """Return the first forbidden word that stands as a token: not in a string, a comment, a field or a variable."""
    at, closers = 0, [""]
    while at < len(program):
        if closers[-1] == '"':
            at = _skip_string(program, at, closers)
            continue
        char = program[at]
        if char == "(":
            closers.append(")")
        elif char == ")" and len(closers) > 1:
            closers.pop()
        hit = _WORDS.match(program, at)
        if hit is None:
            at += 1
            continue
        if hit["string"]:
            closers.append('"')
        elif hit["word"] and not hit["mark"] and hit["word"] in FORBIDDEN and not _is_key(program, hit.end()):
            return hit["word"]
        at = hit.end()
    return None


def _skip_string(program: str, at: int, closers: list[str]) -> int:
    """Go on inside a string up to its end or into an interpolation; keep `closers` in step."""
    while at < len(program):
        char = program[at]
        if char == "\\":
            if program[at + 1 : at + 2] == "(":
                closers.append(")")
                return at + 2
            at += 2
        elif char == '"':
            closers.pop()
            return at + 1
        else:
            at += 1
    return at


def _is_key(program: str, end: int) -> bool:
    return program[end:].lstrip()[:1] == ":"
