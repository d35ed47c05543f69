"""Filters on attributes, evaluated plainly: what the compiled ones must agree with."""

from __future__ import annotations


def kind(value):
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def equal(a, b):
    return kind(a) == kind(b) and a == b


def contains(held, part):
    return part in held if isinstance(held, list | str) and isinstance(part, str) else False


def holds(op, held, wanted):
    """Evaluate one operator; held is None when the field is missing."""
    if op == "exists":
        return (held is not None) == wanted
    if op in ("ne", "nin"):
        return held is None or not holds({"ne": "eq", "nin": "in"}[op], held, wanted)
    if held is None:
        return False
    if op == "eq":
        return equal(held, wanted)
    if op == "in":
        return any(equal(held, one) for one in wanted)
    if op == "contains":
        return contains(held, wanted)
    if op == "prefix":
        return isinstance(held, str) and held.startswith(wanted)
    if kind(held) != kind(wanted):
        return False
    return {"gt": held > wanted, "gte": held >= wanted, "lt": held < wanted, "lte": held <= wanted}[op]


def matches(condition, attrs):
    for name, wanted in condition.items():
        word = name.removeprefix("$")
        if word in ("and", "or"):
            if not {"and": all, "or": any}[word](matches(part, attrs) for part in wanted):
                return False
        elif word == "not":
            if matches(wanted, attrs):
                return False
        elif isinstance(wanted, dict):
            if not all(holds(op.removeprefix("$"), attrs.get(name), value) for op, value in wanted.items()):
                return False
        elif not holds("in" if isinstance(wanted, list) else "eq", attrs.get(name), wanted):
            return False
    return True
