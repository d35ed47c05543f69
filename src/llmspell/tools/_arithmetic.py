"""The calculator's language: a parser that gives a tree, and an evaluator whose work is bounded by that tree.

    or      = and { ("||" | "or") and }              and   = not { ("&&" | "and") not }
    not     = ("!" | "not") not | compare            compare = sum { ("==" "!=" "<" "<=" ">" ">=") sum }
    sum     = term { ("+" | "-") term }              term  = unary { ("*" | "/" | "//" | "%") unary }
    unary   = ("-" | "+") unary | power              power = atom [ ("^" | "**") unary ]
    atom    = number | name | name "(" args ")" | "(" or ")"

At most 4096 characters, depth 64, 1000 nodes. Integers stay exact up to 4096 bits and are floats beyond, so no step
costs more than microseconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from llmspell.tools._base import ToolFailure

MAX_LENGTH = 4096
MAX_DEPTH = 64
MAX_NODES = 1000
MAX_BITS = 4096
MAX_FACTORIAL = 170

Number = int | float
Node = tuple[Any, ...]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<op>\*\*|//|&&|\|\||[=!<>]=|[-+*/%^()!,<>]))",
    re.ASCII,
)
_WORDS = {"and": "&&", "or": "||", "not": "!"}
_BINARY = ({"||"}, {"&&"}, set[str](), {"==", "!=", "<", "<=", ">", ">="}, {"+", "-"}, {"*", "/", "//", "%"})
_NOT_LEVEL = 2
CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}


class _Parser:
    """Recursive descent over a token list `(kind, text, position)`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0
        self.nodes = 0
        self.depth = 0

    def parse(self) -> Node:
        """Return the tree of the whole text."""
        node = self._level(0)
        if self._peek():
            raise self._unexpected()
        return node

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _unexpected(self) -> ToolFailure:
        if self.at < len(self.tokens):
            _, text, position = self.tokens[self.at]
            return parse_error(f"unexpected '{text[:40]}'", position)
        return parse_error("unexpected end of the expression", len(self.text))

    def _node(self, *parts: Any) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise limit(f"the expression has more than {MAX_NODES} nodes")
        return parts

    def _level(self, level: int) -> Node:
        if level == len(_BINARY):
            return self._unary()
        if level == _NOT_LEVEL:
            return self._not()
        node = self._level(level + 1)
        while self._peek() in _BINARY[level]:
            _, op, _ = self.tokens[self.at]
            self.at += 1
            node = self._node("binary", op, node, self._level(level + 1))
        return node

    def _deeper(self, parse: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise limit(f"the expression is nested deeper than {MAX_DEPTH}")
        node = parse()
        self.depth -= 1
        return node

    def _not(self) -> Node:
        if self._peek() == "!":
            self.at += 1
            return self._node("unary", "!", self._deeper(self._not))
        return self._level(_NOT_LEVEL + 1)

    def _unary(self) -> Node:
        if self._peek() in ("-", "+", "!"):
            _, op, _ = self.tokens[self.at]
            self.at += 1
            return self._node("unary", op, self._deeper(self._unary))
        base = self._atom()
        if self._peek() in ("^", "**"):
            self.at += 1
            return self._node("binary", "^", base, self._deeper(self._unary))
        return base

    def _atom(self) -> Node:
        if self.at >= len(self.tokens):
            raise self._unexpected()
        kind, text, position = self.tokens[self.at]
        if kind == "number":
            self.at += 1
            return self._node("number", _number(text, position))
        if kind == "name":
            self.at += 1
            return self._call(text, position) if self._peek() == "(" else self._node("name", text)
        if text != "(":
            raise self._unexpected()
        self.at += 1
        node = self._deeper(lambda: self._level(0))
        self._close()
        return node

    def _call(self, name: str, position: int) -> Node:
        self.at += 1
        args = []
        while self._peek() != ")":
            args.append(self._deeper(lambda: self._level(0)))
            if self._peek() != ",":
                break
            self.at += 1
            if self._peek() == ")":
                raise self._unexpected()
        self._close()
        if name in CONSTANTS and not args:
            return self._node("name", name)
        if name not in FUNCTIONS:
            raise parse_error(f"unknown function '{name[:40]}'", position)
        low, high, _ = FUNCTIONS[name]
        if not low <= len(args) <= high:
            raise parse_error(f"wrong number of arguments for '{name}': {len(args)}", position)
        return self._node("call", name, tuple(args))

    def _close(self) -> None:
        if self._peek() != ")":
            raise self._unexpected()
        self.at += 1


def parse_error(message: str, position: int) -> ToolFailure:
    """Return the failure of an expression that cannot be read; position: code points from 0."""
    return ToolFailure("parse_error", f"Parse error at position {position}: {message}", {"position": position})


def limit(message: str) -> ToolFailure:
    """Return the failure of an expression that is too large."""
    return ToolFailure("limit", message, {"resource": "expression"}, error_kind="resource_limit")


def domain(message: str) -> ToolFailure:
    """Return the failure of a function outside its domain."""
    return ToolFailure("domain_error", message)


@lru_cache(maxsize=256)
def parse(text: str) -> Node:
    """Return the tree of an expression. Raises ToolFailure parse_error or limit."""
    if len(text) > MAX_LENGTH:
        raise limit(f"the expression has {len(text)} characters, the limit is {MAX_LENGTH}")
    return _Parser(text).parse()


def undefined(node: Node, variables: Mapping[str, Any]) -> list[str]:
    """Return the names that are neither variables nor constants, in order of appearance."""
    found: dict[str, None] = {}
    stack = [node]
    while stack:
        item = stack.pop()
        if item[0] == "name":
            if item[1] not in variables and item[1] not in CONSTANTS:
                found[item[1]] = None
        elif item[0] != "number":
            children = item[2] if item[0] == "call" else item[2:]
            stack.extend(reversed(children))
    return list(found)


def evaluate(node: Node, variables: Mapping[str, Any], *, degrees: bool) -> Number:
    """Return the value of a tree. Raises ToolFailure domain_error."""
    kind = node[0]
    if kind == "number":
        value: Number = node[1]
        return value
    if kind == "name":
        return _variable(node[1], variables)
    if kind == "unary":
        operand = evaluate(node[2], variables, degrees=degrees)
        return int(not operand) if node[1] == "!" else -operand if node[1] == "-" else operand
    if kind == "binary":
        return _binary(node, variables, degrees=degrees)
    args = [evaluate(arg, variables, degrees=degrees) for arg in node[2]]
    return _bounded(_apply(node[1], args, degrees=degrees))


def _binary(node: Node, variables: Mapping[str, Any], *, degrees: bool) -> Number:
    """Evaluate a chain of operators: `1+1+1` leans to the left, and a loop goes down there, not the stack."""
    chain = []
    while node[0] == "binary":
        chain.append(node)
        node = node[2]
    value = evaluate(node, variables, degrees=degrees)
    for _, op, _, right_node in reversed(chain):
        if (op == "&&" and not value) or (op == "||" and value):
            value = int(op == "||")
            continue
        right = evaluate(right_node, variables, degrees=degrees)
        try:
            value = _bounded(_OPERATORS[op](value, right))
        except OverflowError:
            value = _overflowed(op, value, right)
    return value


def _tokens(text: str) -> list[tuple[str, str, int]]:
    tokens = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        hit = _TOKEN.match(text, at)
        if hit is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise parse_error(f"unexpected '{text[start]}'", start)
        kind = str(hit.lastgroup)
        word = hit[kind]
        tokens.append(("op", _WORDS[word], hit.start(kind)) if word in _WORDS else (kind, word, hit.start(kind)))
        at = hit.end()
    return tokens


def _number(text: str, position: int) -> Number:
    if text[:2].lower() == "0x":
        return _bounded(int(text, 16))
    if text.isdigit():
        # 1234 digits are 4096 bits; longer texts would only cost time.
        return _bounded(int(text)) if len(text) <= 1234 else float(text)
    value = float(text)
    if math.isnan(value):
        raise parse_error("not a number", position)
    return value


def _variable(name: str, variables: Mapping[str, Any]) -> Number:
    if name not in variables:
        return CONSTANTS[name]
    value = variables[name]
    if type(value) is int or type(value) is float:
        return _bounded(value)
    raise domain(f"variable '{name[:40]}' is not a number")


def _bounded(value: Number) -> Number:
    if type(value) is int and value.bit_length() > MAX_BITS:
        return _float(value)
    return value


def _float(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _overflowed(op: str, left: Number, right: Number) -> Number:
    """Return the infinity a float operation ran into."""
    if op == "^":
        return -math.inf if left < 0 and right % 2 == 1 else math.inf
    return _OPERATORS[op](_float(left), _float(right))


def _divide(left: Number, right: Number) -> Number:
    if right == 0:
        if left == 0 or left != left:
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    if type(left) is int and type(right) is int and left % right == 0:
        return left // right
    return left / right


def _truncated(left: Number, right: Number) -> Number:
    if right == 0:
        return _divide(left, right)
    if type(left) is int and type(right) is int:
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    result = left / right
    return math.trunc(result) if math.isfinite(result) else result


def _remainder(left: Number, right: Number) -> Number:
    if type(left) is int and type(right) is int and right != 0:
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    left, right = _float(left), _float(right)
    return math.nan if right == 0 or math.isinf(left) else math.fmod(left, right)


def _modulo(left: Number, right: Number) -> Number:
    if right == 0 or (isinstance(left, float) and math.isinf(left)):
        return math.nan
    return left % right


def _power(left: Number, right: Number) -> Number:
    if type(left) is int and type(right) is int and right >= 0 and left.bit_length() * right <= 2 * MAX_BITS:
        return int(left**right)
    if left == 0 and right < 0:
        return math.inf
    base, exponent = _float(left), _float(right)
    if base < 0 and math.isfinite(exponent) and exponent != int(exponent):
        raise domain("a negative number has no power with a fractional exponent")
    return float(base**exponent)


_OPERATORS: dict[str, Callable[[Number, Number], Number]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "//": _truncated,
    "%": _remainder,
    "^": _power,
    "==": lambda a, b: int(a == b),
    "!=": lambda a, b: int(a != b),
    "<": lambda a, b: int(a < b),
    "<=": lambda a, b: int(a <= b),
    ">": lambda a, b: int(a > b),
    ">=": lambda a, b: int(a >= b),
    "&&": lambda a, b: int(bool(a) and bool(b)),
    "||": lambda a, b: int(bool(a) or bool(b)),
}


def _apply(name: str, args: list[Number], *, degrees: bool) -> Number:
    _, _, fn = FUNCTIONS[name]
    if degrees and name in _ANGLE_IN:
        args = [math.radians(_float(args[0]))]
    try:
        value: Number = fn(*args)
    except OverflowError:
        negative = name in ("sinh", "cbrt", "sum", "avg") and args[0] < 0
        return -math.inf if negative else math.inf
    except (ValueError, TypeError, ZeroDivisionError) as error:
        shown = ", ".join(f"{arg:.6g}" if abs(arg) < 1e300 else str(_float(arg)) for arg in args[:4])
        raise domain(f"{name}({shown}) is outside the domain of '{name}'") from error
    return math.degrees(value) if degrees and name in _ANGLE_OUT else value


def _whole(value: Number) -> int:
    if not math.isfinite(value) or value != int(value):
        raise ValueError(value)
    return int(value)


def _rounding(fn: Callable[[Any], int]) -> Callable[[Number], Number]:
    return lambda value: fn(value) if math.isfinite(value) else value


def _round(value: Number, digits: Number = 0) -> Number:
    """Round half away from zero, as pocket calculators do."""
    places = _whole(digits)
    if not -308 <= places <= 308:
        raise ValueError(places)
    if type(value) is int and places >= 0:
        return value
    if not math.isfinite(value):
        return value
    scale = 10.0**places
    scaled = abs(value) * scale
    if scaled >= 2**52:
        return value
    rounded = math.copysign(math.floor(scaled + 0.5) / scale, value)
    return int(rounded) if places <= 0 else rounded


def _log(first: Number, x: Number | None = None) -> float:
    return math.log10(first) if x is None else math.log(x, first)


def _factorial(value: Number) -> int:
    number = _whole(value)
    if number > MAX_FACTORIAL:
        raise ValueError(number)
    return math.factorial(number)


def _mean(*values: Number) -> Number:
    return _divide(sum(values), len(values))


_ANGLE_IN = frozenset({"sin", "cos", "tan"})
_ANGLE_OUT = frozenset({"asin", "acos", "atan", "atan2"})
_MANY = 100
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Number]]] = {
    "abs": (1, 1, abs),
    "sign": (1, 1, lambda x: math.nan if x != x else (x > 0) - (x < 0)),
    "sqrt": (1, 1, lambda x: math.isqrt(x) if type(x) is int and x >= 0 and math.isqrt(x) ** 2 == x else math.sqrt(x)),
    "cbrt": (1, 1, math.cbrt),
    "exp": (1, 1, math.exp),
    "ln": (1, 1, math.log),
    "log": (1, 2, _log),
    "log2": (1, 1, math.log2),
    "log10": (1, 1, math.log10),
    "ceil": (1, 1, _rounding(math.ceil)),
    "floor": (1, 1, _rounding(math.floor)),
    "round": (1, 2, _round),
    "trunc": (1, 1, _rounding(math.trunc)),
    "int": (1, 1, _rounding(math.trunc)),
    "min": (1, _MANY, min),
    "max": (1, _MANY, max),
    "sum": (1, _MANY, lambda *values: sum(values)),
    "avg": (1, _MANY, _mean),
    "pow": (2, 2, _power),
    "mod": (2, 2, _modulo),
    "hypot": (1, _MANY, math.hypot),
    "gcd": (1, _MANY, lambda *values: math.gcd(*map(_whole, values))),
    "lcm": (1, _MANY, lambda *values: math.lcm(*map(_whole, values))),
    "factorial": (1, 1, _factorial),
    "sin": (1, 1, math.sin),
    "cos": (1, 1, math.cos),
    "tan": (1, 1, math.tan),
    "asin": (1, 1, math.asin),
    "acos": (1, 1, math.acos),
    "atan": (1, 1, math.atan),
    "atan2": (2, 2, math.atan2),
    "sinh": (1, 1, math.sinh),
    "cosh": (1, 1, math.cosh),
    "tanh": (1, 1, math.tanh),
    "asinh": (1, 1, math.asinh),
    "acosh": (1, 1, math.acosh),
    "atanh": (1, 1, math.atanh),
    "degrees": (1, 1, math.degrees),
    "radians": (1, 1, math.radians),
}
