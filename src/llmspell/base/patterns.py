"""Regular expressions that callers bring: flags, positions of mistakes, and a limit of time for everything.

The `regex` package looks at its clock while it matches, but not while it compiles: nested counted repeats are
expanded there, so their size is measured before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar

from llmspell.base.clock import monotonic
from llmspell.errors import LimitExceeded, ValidationError
from llmspell.errors import TimeoutError as TimedOut

LIMIT_S = 1.0
MAX_PATTERN = 4096
MAX_EXPANSION = 100_000
FLAGS = "imsxua"
T = TypeVar("T")
_deadline: ContextVar[float | None] = ContextVar("regex_deadline", default=None)
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]|\{(\d*)(?:,(\d*))?\}|.", re.DOTALL)


@lru_cache(maxsize=256)
def compile_pattern(pattern: str, flags: str = "") -> Any:
    """Return a compiled `regex` pattern; `flags` are letters of `imsxua`.

    Raises ValidationError, code `bad_pattern`, details.position in code points.
    """
    import regex

    if len(pattern) > MAX_PATTERN:
        raise _bad(f"it has {len(pattern)} characters, {MAX_PATTERN} are allowed", None)
    unknown = sorted(set(flags) - set(FLAGS))
    if unknown:
        raise ValidationError(f"unknown regex flag '{unknown[0]}': flags are letters of {FLAGS}", code="bad_pattern")
    if expansion(pattern) > MAX_EXPANSION:
        raise _bad("its nested repeats are too large", None)
    bits = 0
    for letter in flags:
        bits |= getattr(regex, letter.upper())
    try:
        return regex.compile(pattern, bits)
    except regex.error as error:
        raise _bad(error.msg, error.pos) from error
    except (RecursionError, OverflowError, ValueError, MemoryError) as error:
        raise _bad("it is nested too deeply" if isinstance(error, RecursionError) else str(error), None) from error


def timed(match: Callable[..., T], *args: Any, limit_s: float = LIMIT_S, **options: Any) -> T:
    """Call a method of a compiled pattern under the time limit.

    Raises TimeoutError, code `regex_timeout`, or LimitExceeded when matching needs too much memory.
    """
    end = _deadline.get()
    if end is not None:
        limit_s = max(0.001, min(limit_s, end - monotonic()))
    try:
        return match(*args, timeout=limit_s, concurrent=True, **options)
    except TimeoutError as error:
        raise TimedOut(
            f"the regular expression did not end within {limit_s * 1000:.0f} ms: make it simpler", code="regex_timeout"
        ) from error
    except MemoryError as error:
        raise LimitExceeded(
            "the regular expression needs too much memory", details={"resource": "memory_bytes"}
        ) from error


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Let no match inside go on past `deadline` (monotonic seconds): many slow matches must not add up."""
    before = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(before)


def expansion(pattern: str) -> int:
    """Return how many elements a pattern has when its counted repeats are written out."""
    sizes, last = [0], [0]
    for hit in _TOKEN.finditer(pattern):
        text = hit[0]
        if text == "(":
            sizes.append(0)
            last.append(0)
        elif text == ")" and len(sizes) > 1:
            inner = max(sizes.pop(), 1)
            last.pop()
            sizes[-1] += inner
            last[-1] = inner
        elif hit[1] or hit[2]:
            count = max(int((hit[1] or "0")[:9]), int((hit[2] or "0")[:9]), 1)
            sizes[-1] += last[-1] * (count - 1)
            last[-1] *= count
        elif text not in "*+?":
            sizes[-1] += 1
            last[-1] = 1
        if sizes[-1] > 10**12:
            break
    return max(sizes)


def _bad(reason: str, position: int | None) -> ValidationError:
    where = "" if position is None else f" at position {position}"
    return ValidationError(
        f"bad regular expression: {reason}{where}",
        code="bad_pattern",
        details={"reason": reason, **({} if position is None else {"position": position})},
    )
