"""Validation rules as data: `{type = "range", min = 1}` judges one value, rules of objects and arrays judge inside.

A rule is a map with `type`, or the short word of one without settings. A bad rule raises ValidationError with code
`bad_rule` before any value is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmspell.base import formats
from llmspell.base.jsondiff import same
from llmspell.base.jsontext import dumps
from llmspell.base.patterns import compile_pattern, timed
from llmspell.errors import ValidationError

MAX_DEPTH = 32
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "number": (int, float), "integer": (int,), "float": (float,), "boolean": (bool,),
    "array": (list,), "object": (dict,), "null": (type(None),),
}  # fmt: skip
Failure = tuple[str, Any, str, str]
"""Field path, value, rule, message."""
Check = Callable[[Any, str], Iterator[Failure]]


def compile_rules(rules: Any) -> Check:
    """Return the check of a rule, a list of rules, or `{rules = [...]}`. Raises ValidationError, code `bad_rule`."""
    return _compile(rules, 0)


def count_rules(rules: Any) -> int:
    """Return how many rules are written down."""
    if isinstance(rules, Mapping) and "type" not in rules and isinstance(rules.get("rules"), list):
        rules = rules["rules"]
    return len(rules) if isinstance(rules, list) else 1


def _compile(rules: Any, depth: int) -> Check:
    if depth > MAX_DEPTH:
        raise bad_rule(f"rules are nested deeper than {MAX_DEPTH}")
    if isinstance(rules, Mapping) and "type" not in rules and isinstance(rules.get("rules"), list):
        rules = rules["rules"]
    if isinstance(rules, list):
        checks = [_compile(rule, depth + 1) for rule in rules]
        return lambda value, field: (failure for check in checks for failure in check(value, field))
    if isinstance(rules, str):
        rules = {"type": rules}
    if not isinstance(rules, Mapping):
        raise bad_rule(f"a rule is a map with 'type', got {dumps(rules, nan='null')[:60]}")
    name = rules.get("type")
    maker = _MAKERS.get(name) if isinstance(name, str) else None
    if maker is None:
        raise bad_rule(f"unknown rule type {name!r}: expected one of {' '.join(sorted(_MAKERS))}")
    settings = {key: value for key, value in rules.items() if value is not None}
    unknown = sorted(settings.keys() - maker.settings - {"type", "message"})
    if unknown:
        raise bad_rule(f"rule '{name}' has no setting '{unknown[0]}'")
    return maker.make(settings, depth)


class _Maker:
    """How the check of one rule type is made, and which settings it has."""

    def __init__(self, make: Callable[[Mapping[str, Any], int], Check], *settings: str) -> None:
        self.make = make
        self.settings = frozenset(settings)


def bad_rule(reason: str) -> ValidationError:
    """Return the error of a rule that is none."""
    return ValidationError(reason, code="bad_rule")


def _single(name: str, judge: Callable[[Any], str | None]) -> Check:
    """Return a check of one value: a missing one passes, `required` is there to ask for it."""

    def check(value: Any, field: str) -> Iterator[Failure]:
        message = None if value is None else judge(value)
        if message is not None:
            yield field, value, name, message

    return check


def _required(_: Mapping[str, Any], __: int) -> Check:
    def check(value: Any, field: str) -> Iterator[Failure]:
        if value is None or value == "":
            yield field, value, "required", "value is required"

    return check


def _type(settings: Mapping[str, Any], _: int) -> Check:
    expected = settings.get("expected")
    if expected not in TYPES:
        raise bad_rule(f"rule 'type' needs 'expected', one of {' '.join(TYPES)}")

    def check(value: Any, field: str) -> Iterator[Failure]:
        fits = isinstance(value, TYPES[expected]) and (expected == "boolean" or not isinstance(value, bool))
        if not fits and not (expected == "integer" and isinstance(value, float) and value.is_integer()):
            yield field, value, "type", f"expected {expected}, got {type_of(value)}"

    return check


def type_of(value: Any) -> str:
    """Return the JSON word for the type of a value."""
    if isinstance(value, bool):
        return "boolean"
    return next((name for name in TYPES if name != "float" and isinstance(value, TYPES[name])), "bytes")


def _bounds(settings: Mapping[str, Any], low: str, high: str, *, whole: bool) -> tuple[float, float]:
    for key in (low, high):
        limit = settings.get(key, 0)
        if (
            isinstance(limit, bool)
            or not isinstance(limit, int | float)
            or (whole and (limit < 0 or limit != int(limit)))
        ):
            raise bad_rule(f"'{key}' of rule '{settings['type']}' must be a number, got {limit!r}")
    if low not in settings and high not in settings and settings["type"] != "array":
        raise bad_rule(f"rule '{settings['type']}' needs '{low}' or '{high}'")
    return settings.get(low, -math.inf), settings.get(high, math.inf)


def _within(size: float, low: float, high: float, what: str) -> str | None:
    if size < low:
        return f"must be at least {low:g}{what}" if isinstance(low, float) else f"must be at least {low}{what}"
    if size > high:
        return f"must be at most {high:g}{what}" if isinstance(high, float) else f"must be at most {high}{what}"
    return None


def _length(settings: Mapping[str, Any], _: int) -> Check:
    low, high = _bounds(settings, "min", "max", whole=True)

    def judge(value: Any) -> str | None:
        if not isinstance(value, str | list | dict):
            return f"a {type_of(value)} has no length"
        return _within(len(value), low, high, " characters" if isinstance(value, str) else " items")

    return _single("length", judge)


def _range(settings: Mapping[str, Any], _: int) -> Check:
    low, high = _bounds(settings, "min", "max", whole=False)

    def judge(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return f"expected number, got {type_of(value)}"
        return _within(value, low, high, "")

    return _single("range", judge)


def _pattern(settings: Mapping[str, Any], _: int) -> Check:
    regex = settings.get("regex")
    if not isinstance(regex, str):
        raise bad_rule("rule 'pattern' needs 'regex', a regular expression")
    try:
        compiled = compile_pattern(regex)
    except ValidationError as error:
        raise bad_rule(error.message) from error

    def judge(value: Any) -> str | None:
        if not isinstance(value, str):
            return f"expected string, got {type_of(value)}"
        return None if timed(compiled.search, value) else f"does not match {regex}"

    return _single("pattern", judge)


def _enum(settings: Mapping[str, Any], _: int) -> Check:
    values = settings.get("values")
    if not isinstance(values, list) or not values:
        raise bad_rule("rule 'enum' needs 'values', a list that is not empty")
    shown = ", ".join(value if isinstance(value, str) else dumps(value, nan="null") for value in values[:20])
    return _single(
        "enum", lambda value: None if any(same(value, item) for item in values) else f"must be one of {shown}"
    )


def _text(name: str, test: Callable[[str], bool], what: str) -> Callable[[Mapping[str, Any], int], Check]:
    def judge(value: Any) -> str | None:
        return None if isinstance(value, str) and test(value) else f"is not a valid {what}"

    return lambda _settings, _depth: _single(name, judge)


def _date(settings: Mapping[str, Any], _: int) -> Check:
    form = settings.get("format")
    if form is not None and (not isinstance(form, str) or "%" not in form or len(form) > 100):
        raise bad_rule("'format' of rule 'date' is a strptime format such as %Y-%m-%d")
    shown = f" of the form {form}" if form else ""
    return _single(
        "date",
        lambda value: (
            None if isinstance(value, str) and formats.is_date(value, form) else f"is not a valid date{shown}"
        ),
    )


def _custom(settings: Mapping[str, Any], _: int) -> Check:
    name = settings.get("name")
    test = formats.CUSTOM.get(name) if isinstance(name, str) else None
    if test is None:
        raise bad_rule(f"rule 'custom' needs 'name', one of {' '.join(formats.CUSTOM)}")
    return _single("custom", lambda value: None if isinstance(value, str) and test(value) else f"is not a valid {name}")


def _array(settings: Mapping[str, Any], depth: int) -> Check:
    low, high = _bounds(settings, "min_items", "max_items", whole=True)
    inner = _compile(settings["item_rules"], depth + 1) if "item_rules" in settings else None

    def check(value: Any, field: str) -> Iterator[Failure]:
        if value is None:
            return
        if not isinstance(value, list):
            yield field, value, "array", f"expected array, got {type_of(value)}"
            return
        message = _within(len(value), low, high, " items")
        if message:
            yield field, value, "array", message
        if settings.get("unique") and len({dumps(item, nan="null") for item in value}) != len(value):
            yield field, value, "array", "items must be unique"
        for index, item in enumerate(value if inner else ()):
            assert inner is not None
            yield from inner(item, f"{field}[{index}]")

    return check


def _object(settings: Mapping[str, Any], depth: int) -> Check:
    properties, required = settings.get("properties", {}), settings.get("required", [])
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        raise bad_rule("rule 'object' has 'properties', a map of rules, and 'required', a list of names")
    inner = {name: _compile(rule, depth + 1) for name, rule in properties.items()}
    open_ = settings.get("additional_properties", True) is not False

    def check(value: Any, field: str) -> Iterator[Failure]:
        if value is None:
            return
        if not isinstance(value, dict):
            yield field, value, "object", f"expected object, got {type_of(value)}"
            return
        prefix = f"{field}." if field else ""
        for name in required:
            if value.get(name) is None:
                yield f"{prefix}{name}", None, "object", f"Missing required field '{name}'"
        for name, rule in inner.items():
            if name in value or name not in required:
                yield from rule(value.get(name), f"{prefix}{name}")
        for name in () if open_ else sorted(value.keys() - inner.keys() - set(required)):
            yield f"{prefix}{name}", value[name], "object", f"Unknown field '{name}'"

    return check


def _not(settings: Mapping[str, Any], depth: int) -> Check:
    if "rule" not in settings:
        raise bad_rule("rule 'not' needs 'rule'")
    inner = _compile(settings["rule"], depth + 1)

    def check(value: Any, field: str) -> Iterator[Failure]:
        if next(iter(inner(value, field)), None) is None:
            yield field, value, "not", "must not fulfil the rule"

    return check


def _any_of(settings: Mapping[str, Any], depth: int) -> Check:
    rules = settings.get("rules")
    if not isinstance(rules, list) or not rules:
        raise bad_rule("rule 'any_of' needs 'rules', a list that is not empty")
    checks = [_compile(rule, depth + 1) for rule in rules]

    def check(value: Any, field: str) -> Iterator[Failure]:
        if all(next(iter(each(value, field)), None) is not None for each in checks):
            yield field, value, "any_of", "fulfils none of the rules"

    return check


_MAKERS: dict[str, _Maker] = {
    "required": _Maker(_required),
    "type": _Maker(_type, "expected"),
    "length": _Maker(_length, "min", "max"),
    "range": _Maker(_range, "min", "max"),
    "pattern": _Maker(_pattern, "regex"),
    "enum": _Maker(_enum, "values"),
    "email": _Maker(_text("email", formats.is_email, "email address")),
    "url": _Maker(_text("url", formats.is_url, "URL")),
    "ip": _Maker(_text("ip", formats.is_ip, "IP address")),
    "date": _Maker(_date, "format"),
    "custom": _Maker(_custom, "name"),
    "array": _Maker(_array, "min_items", "max_items", "unique", "item_rules"),
    "object": _Maker(_object, "properties", "required", "additional_properties"),
    "not": _Maker(_not, "rule"),
    "any_of": _Maker(_any_of, "rules"),
}
