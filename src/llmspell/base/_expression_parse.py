"""The parser of `expression`: text to tuples, by recursive descent, with limits of length and depth.

Nodes: ("value", v) ("list", nodes) ("ref", name, dollar, steps) ("call", name, nodes) ("not", n) ("neg", n)
("compare", operator, left, right) and ("chain", first, [(operator, node), ...]) for and, or, sums and products, so that
a long sum is a wide node and not a deep one.
"""

from __future__ import annotations

import re
from typing import Any

from llmspell.errors import ValidationError

MAX_LENGTH = 2000
MAX_DEPTH = 32
_CONVERTERS = {"int", "float", "str", "number", "string", "type", "default"}
_OF_NUMBERS = {"abs", "min", "max", "round", "now"}
FUNCTIONS = frozenset({"len", "lower", "upper", "trim", "exists", "empty"} | _CONVERTERS | _OF_NUMBERS)
WORDS = frozenset({"or", "and", "not", "in", "contains", "matches", "starts_with", "ends_with"})
LITERALS = {"true": True, "false": False, "nil": None, "null": None}
COMPARE = frozenset(
    ("==", "!=", "~=", "<", "<=", ">", ">=", "in", "not in", "contains", "matches", "starts_with", "ends_with")
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<string>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')
    |(?P<mark>\|\||&&|==|!=|~=|<=|>=|\.\.|[-+*/%<>!()\[\],.$]))""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
Node = tuple[Any, ...]


def parse(text: str) -> Node:
    """Return the tree of an expression. Raises ValidationError, code `bad_expression`, details.position."""
    if len(text) > MAX_LENGTH:
        raise _bad(f"it has {len(text)} characters, {MAX_LENGTH} are allowed", MAX_LENGTH)
    reader = _Reader(text)
    node = reader.either()
    if reader.kind != "end":
        raise reader.unexpected()
    return node


class _Reader:
    """The tokens of one expression and where reading stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.depth = 0
        self.end = 0
        self.start = 0
        self.kind = ""
        self.word = ""
        self.advance()

    def advance(self) -> None:
        """Go to the next token."""
        rest = self.text[self.end :]
        if not rest.strip():
            self.kind, self.word, self.start = "end", "", len(self.text)
            return
        hit = _TOKEN.match(self.text, self.end)
        if hit is None:
            at = self.end + len(rest) - len(rest.lstrip())
            raise _bad(f"unexpected {self.text[at]!r}", at)
        self.kind, self.end = str(hit.lastgroup), hit.end()
        self.word = hit[self.kind]
        self.start = self.end - len(self.word)
        if self.kind == "name" and self.word in WORDS:
            self.kind = "word"

    def at(self, *words: str) -> bool:
        """Return whether the next token is one of these marks or words."""
        return self.kind in ("mark", "word") and self.word in words

    def take(self, mark: str) -> None:
        """Go past a mark that must come now."""
        if not self.at(mark):
            raise self.unexpected(f"expected '{mark}'")
        self.advance()

    def unexpected(self, hint: str = "") -> ValidationError:
        """Return the error for the token where reading stands."""
        what = "the end" if self.kind == "end" else repr(self.word)
        return _bad(f"unexpected {what}" + (f", {hint}" if hint else ""), self.start)

    def deeper(self) -> None:
        """Count one more level of nesting."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _bad(f"it is nested deeper than {MAX_DEPTH}", self.start)

    def chain(self, operators: dict[str, str], part: Any) -> Node:
        """Read parts between operators of one level."""
        first = part()
        rest = []
        while self.at(*operators):
            operator = operators[self.word]
            self.advance()
            rest.append((operator, part()))
        return ("chain", first, rest) if rest else first

    def either(self) -> Node:
        """Read `or`, the outermost level."""
        self.deeper()
        node = self.chain({"or": "or", "||": "or"}, self.both)
        self.depth -= 1
        return node

    def both(self) -> Node:
        """Read `and`."""
        return self.chain({"and": "and", "&&": "and"}, self.negation)

    def negation(self) -> Node:
        """Read `not`."""
        if not self.at("not", "!"):
            return self.comparison()
        self.deeper()
        self.advance()
        node = ("not", self.negation())
        self.depth -= 1
        return node

    def comparison(self) -> Node:
        """Read at most one comparison."""
        left = self.sum()
        operator = self.word
        if self.at("not"):
            self.advance()
            if not self.at("in"):
                raise self.unexpected("expected 'in'")
            operator = "not in"
        elif not (self.kind in ("mark", "word") and operator in COMPARE):
            return left
        self.advance()
        return ("compare", "!=" if operator == "~=" else operator, left, self.sum())

    def sum(self) -> Node:
        """Read sums and joined texts."""
        return self.chain({mark: mark for mark in ("+", "-", "..")}, self.term)

    def term(self) -> Node:
        """Read products."""
        return self.chain({mark: mark for mark in "*/%"}, self.unary)

    def unary(self) -> Node:
        """Read a sign."""
        if not self.at("-"):
            return self.primary()
        self.deeper()
        self.advance()
        node = ("neg", self.unary())
        self.depth -= 1
        return node

    def primary(self) -> Node:
        """Read a literal, a list, a reference, a call or parentheses."""
        kind, word = self.kind, self.word
        if kind == "number":
            self.advance()
            return ("value", int(word) if word.isdigit() and len(word) < 19 else float(word))
        if kind == "string":
            self.advance()
            return ("value", re.sub(r"\\(.)", lambda hit: ESCAPES.get(hit[1], hit[1]), word[1:-1], flags=re.DOTALL))
        if kind == "name":
            return self.named(word)
        if self.at("$"):
            self.advance()
            if self.kind != "name":
                raise self.unexpected("expected a name after $")
            name = self.word
            self.advance()
            return ("ref", name, True, self.steps())
        if self.at("("):
            self.advance()
            node = self.either()
            self.take(")")
            return node
        if self.at("["):
            self.advance()
            return ("list", self.items("]"))
        raise self.unexpected()

    def named(self, word: str) -> Node:
        """Read what starts with a name: a literal, a call or a reference."""
        start = self.start
        self.advance()
        if self.at("("):
            if word not in FUNCTIONS:
                raise _bad(f"unknown function '{word}', known are {' '.join(sorted(FUNCTIONS))}", start)
            self.advance()
            return ("call", word, self.items(")"))
        if word in LITERALS:
            return ("value", LITERALS[word])
        return ("ref", word, False, self.steps())

    def items(self, closing: str) -> list[Node]:
        """Read expressions between commas up to the closing mark."""
        found: list[Node] = []
        while not self.at(closing):
            if found:
                self.take(",")
            found.append(self.either())
        self.advance()
        return found

    def steps(self) -> list[Any]:
        """Read `.name` and `[expr]` behind a name: texts and nodes."""
        found: list[Any] = []
        while self.at(".", "["):
            if self.at("."):
                self.advance()
                if self.kind not in ("name", "word"):
                    raise self.unexpected("expected a name")
                found.append(self.word)
                self.advance()
            else:
                self.advance()
                found.append(self.either())
                self.take("]")
        return found


def _bad(reason: str, position: int) -> ValidationError:
    return ValidationError(
        f"bad expression: {reason} at position {position}",
        code="bad_expression",
        details={"reason": reason, "position": position},
    )
