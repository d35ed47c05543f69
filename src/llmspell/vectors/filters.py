"""Filters over metadata: `{lang = "en", year = {gte = 2020}, ["or"] = {...}}` compiled into one predicate.

    value                     equal, of the same type; 1 equals 1.0, true equals no number
    list                      any of
    {op = value, ...}         eq ne gt gte lt lte in nin exists contains prefix; all must hold
    and, or: lists; not: one  connectives, never fields

A `$` before an operator may be there or not. A field is a key, else a dotted path. A missing field matches only `ne`,
`nin`, `exists = false` and `not`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from llmspell.errors import InvalidArgument

MAX_DEPTH = 16
MAX_TERMS = 256
Predicate = Callable[[Mapping[str, Any]], bool]
Test = Callable[[Any], bool]
_MISSING: Any = object()


def compile_filter(spec: Mapping[str, Any]) -> Predicate:
    """Return the predicate of a filter. Raises InvalidArgument naming the operator or field that is wrong."""
    return _all(spec, count(1), 1)


def required_texts(spec: Mapping[str, Any]) -> list[str]:
    """Return texts that every matching item holds as a value: a cheap test before items are decoded."""
    found = []
    for field, wanted in spec.items():
        if field.removeprefix("$") in ("and", "or", "not"):
            continue
        value = wanted.get("eq", wanted.get("$eq")) if isinstance(wanted, Mapping) else wanted
        if isinstance(value, str):
            found.append(value)
    return found


def _bad(message: str, field: str) -> InvalidArgument:
    return InvalidArgument(f"filters: {message}", details={"name": "filters", "value": field})


def _all(spec: Any, terms: count[int], depth: int) -> Predicate:
    if not isinstance(spec, Mapping):
        raise _bad(f"expected a table of fields, got {type(spec).__name__}", "")
    if depth > MAX_DEPTH:
        raise _bad(f"nested deeper than {MAX_DEPTH}", "")
    parts = [_one(field, wanted, terms, depth) for field, wanted in spec.items()]
    return lambda item: all(part(item) for part in parts)


def _one(field: str, wanted: Any, terms: count[int], depth: int) -> Predicate:
    if next(terms) > MAX_TERMS:
        raise _bad(f"more than {MAX_TERMS} terms", field)
    word = field.removeprefix("$")
    if word in ("and", "or"):
        items = [] if wanted == {} else wanted
        if not isinstance(items, list | tuple):
            raise _bad(f"'{word}' takes a list of tables", field)
        parts = [_all(item, terms, depth + 1) for item in items]
        join = all if word == "and" else any
        return lambda item: join(part(item) for part in parts)
    if word == "not":
        inner = _all(wanted, terms, depth + 1)
        return lambda item: not inner(item)
    test = _test(field, wanted)
    path = field.split(".")
    return lambda item: test(_value(item, field, path))


def _value(item: Mapping[str, Any], field: str, path: list[str]) -> Any:
    if field in item:
        return item[field]
    value: Any = item
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _test(field: str, wanted: Any) -> Test:
    if isinstance(wanted, Mapping):
        if not wanted:
            raise _bad(f"the condition of {field!r} is empty", field)
        tests = [_operator(field, name, value) for name, value in wanted.items()]
        return lambda value: all(test(value) for test in tests)
    return _operator(field, "in" if isinstance(wanted, list | tuple) else "eq", wanted)


def _operator(field: str, name: str, wanted: Any) -> Test:
    word = name.removeprefix("$")
    if word in ("in", "nin"):
        options = [] if wanted == {} else wanted
        if not isinstance(options, list | tuple):
            raise _bad(f"'{word}' of {field!r} takes a list", field)
        found: Test = lambda value: any(_equal(value, option) for option in options)  # noqa: E731  # a branch of one choice
        return found if word == "in" else lambda value: not found(value)
    make = _OPERATORS.get(word)
    if make is None:
        known = ", ".join(sorted([*_OPERATORS, "in", "nin"]))
        raise _bad(f"unknown operator {name!r} of {field!r}; there are: {known}", field)
    return make(wanted)


def _equal(value: Any, wanted: Any) -> bool:
    if value is _MISSING or isinstance(value, bool) != isinstance(wanted, bool):
        return False
    return bool(value == wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    def make(wanted: Any) -> Test:
        kinds: Any = str if isinstance(wanted, str) else (int, float)
        if isinstance(wanted, bool) or not isinstance(wanted, int | float | str):
            raise _bad("an order needs a number or a text", str(wanted))
        return lambda value: isinstance(value, kinds) and not isinstance(value, bool) and compare(value, wanted)

    return make


def _contains(wanted: Any) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(wanted, str) and wanted in value
        return isinstance(value, list) and any(_equal(item, wanted) for item in value)

    return test


_OPERATORS: dict[str, Callable[[Any], Test]] = {
    "eq": lambda wanted: lambda value: _equal(value, wanted),
    "ne": lambda wanted: lambda value: not _equal(value, wanted),
    "gt": _ordered(lambda value, wanted: value > wanted),
    "gte": _ordered(lambda value, wanted: value >= wanted),
    "lt": _ordered(lambda value, wanted: value < wanted),
    "lte": _ordered(lambda value, wanted: value <= wanted),
    "exists": lambda wanted: lambda value: (value is not _MISSING) == bool(wanted),
    "contains": _contains,
    "prefix": lambda wanted: lambda value: isinstance(value, str) and value.startswith(str(wanted)),
}
