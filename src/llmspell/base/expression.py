"""Conditions and formulas as text: parsed once, evaluated over names that a resolver answers.

    condition = Expression("steps.a.output > 3 and shared.go")
    condition.test(lambda name, dollar: values.get(name))

Names are resolved at their root (`steps`), the rest of a reference is looked up in plain data: maps by key, lists by
0-based index, negative from the end. What is missing is nil (None). Only nil and false are false; `and` and `or` give
one of their operands. No assignment, no calls but the listed ones, and a limit of time for each evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from llmspell.base._expression_parse import Node, parse
from llmspell.base.clock import monotonic
from llmspell.errors import TimeoutError as TimedOut
from llmspell.errors import ValidationError

Resolve = Callable[[str, bool], Any]
DEFAULT_LIMIT_S = 1.0
MAX_TEXT = 10_000_000
_NUMBER = "number"


class Expression:
    """A parsed expression. Raises ValidationError, code `bad_expression`, for text that is none."""

    __slots__ = ("_node", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._node = parse(text)

    def evaluate(self, resolve: Resolve, *, limit_s: float = DEFAULT_LIMIT_S) -> Any:
        """Return the value. `resolve(name, dollar)` gives the root of a reference; `dollar` tells it was `$name`.

        Raises ValidationError, code `expression_error`, for values that do not fit, TimeoutError past `limit_s`.
        """
        return _Run(resolve, monotonic() + limit_s).value(self._node)

    def test(self, resolve: Resolve, *, limit_s: float = DEFAULT_LIMIT_S) -> bool:
        """Return whether the value is neither nil nor false."""
        return truthy(self.evaluate(resolve, limit_s=limit_s))

    def names(self) -> set[str]:
        """Return the roots of all references."""
        found: set[str] = set()
        stack: list[Any] = [self._node]
        while stack:
            node = stack.pop()
            if isinstance(node, tuple) and node and node[0] == "ref":
                found.add(node[1])
                stack.extend(node[3])
            elif isinstance(node, tuple | list):
                stack.extend(node)
        return found


def truthy(value: Any) -> bool:
    """Return whether a value counts as true: everything but nil and false."""
    return value is not None and value is not False


def type_name(value: Any) -> str:
    """Return `nil boolean number string list map`."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return _NUMBER
    if isinstance(value, str):
        return "string"
    return "map" if isinstance(value, Mapping) else "list" if isinstance(value, list | tuple) else type(value).__name__


def step_into(value: Any, key: Any) -> Any:
    """Return the member of plain data, None when it is missing: maps by key, lists by 0-based index."""
    if isinstance(value, Mapping):
        return value.get(key if isinstance(key, str) else text_of(key))
    if isinstance(value, list | tuple):
        if isinstance(key, str) and key.lstrip("-").isdigit() and len(key) < 10:
            key = int(key)
        if isinstance(key, float) and key.is_integer():
            key = int(key)
        if isinstance(key, int) and not isinstance(key, bool) and -len(value) <= key < len(value):
            return value[key]
    return None


def text_of(value: Any) -> str:
    """Return the text form of a value: text as it is, JSON for lists and maps."""
    from llmspell.base.textforms import cell

    return "nil" if value is None else cell(value)


def equal(a: Any, b: Any) -> bool:
    """Return whether two values are equal; values of different types never are."""
    from llmspell.base.jsondiff import same

    return type_name(a) == type_name(b) and same(a, b)


class _Run:
    """One evaluation: who answers names, and until when."""

    __slots__ = ("deadline", "resolve")

    def __init__(self, resolve: Resolve, deadline: float) -> None:
        self.resolve = resolve
        self.deadline = deadline

    def value(self, node: Node) -> Any:
        if monotonic() > self.deadline:
            raise TimedOut("the expression was not evaluated in time", code="condition_timeout")
        return _NODES[node[0]](self, node)

    def constant(self, node: Node) -> Any:
        return node[1]

    def items(self, node: Node) -> Any:
        return [self.value(item) for item in node[1]]

    def reference(self, node: Node) -> Any:
        value = self.resolve(node[1], node[2])
        for step in node[3]:
            if value is None:
                return None
            value = step_into(value, step if isinstance(step, str) else self.value(step))
        return value

    def call(self, node: Node) -> Any:
        arguments = [self.value(item) for item in node[2]]
        low, high, fn = _FUNCTIONS[node[1]]
        if not low <= len(arguments) <= high:
            raise _failed(
                f"{node[1]}() takes {low if low == high else f'{low} or more'} arguments, got {len(arguments)}"
            )
        return fn(*arguments)

    def negation(self, node: Node) -> Any:
        return not truthy(self.value(node[1]))

    def minus(self, node: Node) -> Any:
        return -_number(self.value(node[1]), "-")

    def chain(self, node: Node) -> Any:
        value = self.value(node[1])
        for operator, part in node[2]:
            if operator in ("and", "or"):
                if truthy(value) == (operator == "or"):
                    return value
                value = self.value(part)
            else:
                value = _arithmetic(operator, value, self.value(part))
        return value

    def comparison(self, node: Node) -> Any:
        operator, left, right = node[1], self.value(node[2]), self.value(node[3])
        if operator == "==":
            return equal(left, right)
        if left is None or right is None:
            # A missing value makes a comparison false; only a written nil asks whether something is there.
            asked = ("value", None) in (node[2], node[3])
            return operator == "!=" and asked and left is not right
        if operator == "!=":
            return not equal(left, right)
        if operator in ("<", "<=", ">", ">="):
            return _ordered(operator, left, right)
        if operator == "matches":
            return self.matches(left, right)
        return _text_test(operator, left, right)

    def matches(self, left: Any, right: Any) -> bool:
        from llmspell.base.patterns import LIMIT_S, compile_pattern, timed

        if not isinstance(right, str):
            raise _failed(f"'matches' needs a regular expression, got {type_name(right)}")
        left_s = max(0.001, min(LIMIT_S, self.deadline - monotonic()))
        return timed(compile_pattern(right).search, _text(left, "matches"), limit_s=left_s) is not None


def _failed(reason: str) -> ValidationError:
    return ValidationError(f"expression error: {reason}", code="expression_error", details={"reason": reason})


def _number(value: Any, operator: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _failed(f"'{operator}' needs numbers, got {type_name(value)}")
    return value


def _text(value: Any, operator: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return text_of(value)
    raise _failed(f"'{operator}' needs text, got {type_name(value)}")


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
    if operator == "..":
        joined = _text(left, "..") + _text(right, "..")
        if len(joined) > MAX_TEXT:
            raise _failed(f"the text grew beyond {MAX_TEXT} characters")
        return joined
    a, b = _number(left, operator), _number(right, operator)
    try:
        if operator == "+":
            return a + b
        if operator == "-":
            return a - b
        if operator == "*":
            return a * b
        return a / b if operator == "/" else a % b
    except (ZeroDivisionError, OverflowError) as error:
        raise _failed("division by zero" if b == 0 else "a number grew too large") from error


def _ordered(operator: str, left: Any, right: Any) -> bool:
    if type_name(left) != type_name(right) or type_name(left) not in (_NUMBER, "string"):
        raise _failed(f"'{operator}' cannot order {type_name(left)} and {type_name(right)}")
    if operator in ("<", "<="):
        return bool(left < right or (operator == "<=" and left == right))
    return bool(left > right or (operator == ">=" and left == right))


def _text_test(operator: str, left: Any, right: Any) -> bool:
    if operator == "contains":
        return _within(right, left, operator)
    if operator in ("in", "not in"):
        return _within(left, right, operator) == (operator == "in")
    text, part = _text(left, operator), _text(right, operator)
    return text.startswith(part) if operator == "starts_with" else text.endswith(part)


def _within(item: Any, holder: Any, operator: str) -> bool:
    if isinstance(holder, list | tuple):
        return any(equal(item, member) for member in holder)
    if isinstance(holder, Mapping):
        return text_of(item) in holder
    return _text(item, operator) in _text(holder, operator)


def _read_number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or len(value) > 400 or "_" in value:
        return None
    for read in (int, float):
        try:
            return read(value.strip())
        except ValueError:
            continue
    return None


def _int(value: Any) -> int | None:
    number = _read_number(value)
    return None if number is None or not math.isfinite(number) else int(number)


def _float(value: Any) -> float | None:
    number = _read_number(value)
    return None if number is None else float(number)


def _len(value: Any) -> int:
    if value is None:
        return 0
    return len(value) if isinstance(value, str | list | tuple | Mapping) else len(_text(value, "len"))


def _extreme(pick: Callable[..., Any], name: str) -> Callable[..., Any]:
    def run(*values: Any) -> Any:
        items = values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values
        present = [item for item in items if item is not None]
        if len({type_name(item) for item in present}) > 1:
            raise _failed(f"{name}() cannot order values of different types")
        return pick(present) if present else None

    return run


def _round(value: Any, places: Any = 0) -> Any:
    number, digits = _number(value, "round"), int(_number(places, "round"))
    if not math.isfinite(number):
        return number
    rounded = round(number, max(-300, min(300, digits)))
    return int(rounded) if digits <= 0 else rounded


def _now() -> float:
    import time

    return time.time()


_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "len": (1, 1, _len),
    "lower": (1, 1, lambda value: _text(value, "lower").lower()),
    "upper": (1, 1, lambda value: _text(value, "upper").upper()),
    "trim": (1, 1, lambda value: _text(value, "trim").strip()),
    "int": (1, 1, _int),
    "float": (1, 1, _float),
    "number": (1, 1, _read_number),
    "str": (1, 1, text_of),
    "string": (1, 1, text_of),
    "abs": (1, 1, lambda value: abs(_number(value, "abs"))),
    "min": (1, 1000, _extreme(min, "min")),
    "max": (1, 1000, _extreme(max, "max")),
    "round": (1, 2, _round),
    "exists": (1, 1, lambda value: value is not None),
    "empty": (1, 1, lambda value: value is None or (isinstance(value, str | list | tuple | Mapping) and not value)),
    "type": (1, 1, type_name),
    "now": (0, 0, _now),
    "default": (2, 2, lambda value, other: other if value is None else value),
}
_NODES: dict[str, Callable[[_Run, Node], Any]] = {
    "value": _Run.constant,
    "list": _Run.items,
    "ref": _Run.reference,
    "call": _Run.call,
    "not": _Run.negation,
    "neg": _Run.minus,
    "chain": _Run.chain,
    "compare": _Run.comparison,
}
