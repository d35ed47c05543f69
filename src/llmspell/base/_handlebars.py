"""Handlebars and mustache templates: a parser and a renderer without any evaluation of code.

Known are `{{x}}`, `{{{x}}}`, `{{&x}}`, comments, `#if unless each with`, `else`, `@index @key @first @last @root`,
`this`, `../`, the helpers `uppercase lowercase eq json`, and for mustache sections and inverted sections. Values are
plain data; a path only looks up keys of maps and indices of lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from llmspell.base._rendering import TemplateError
from llmspell.base.textforms import cell

MAX_DEPTH = 64
HELPERS = frozenset({"uppercase", "lowercase", "eq", "json"})
BLOCKS = frozenset({"if", "unless", "each", "with"})
_TAG = re.compile(r"\{\{\{(.*?)\}\}\}|\{\{!--.*?--\}\}|\{\{~?(.*?)~?\}\}", re.DOTALL)
_WORD = re.compile(r"""\s*(?:("(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')|([()])|([^\s()"']+))""")
_PATH = re.compile(r"(?:\.\./)*+(?:this|@?[\w-]+|\.|\.\.)?(?:[./](?:[\w-]+|\[[^\]]*\]))*+")
Node = tuple[Any, ...]


class Handlebars:
    """A parsed template. Raises TemplateError."""

    def __init__(self, source: str, *, mustache: bool = False) -> None:
        self._mustache = mustache
        self._source = source
        self._tags = list(_TAG.finditer(source))
        self._at = 0
        self._end = 0
        self.variables: set[str] = set()
        self.nodes, closing = self._parse(0)
        if closing is not None:
            raise TemplateError(f"{{{{/{closing}}}}} closes nothing", self._line())

    def render(self, values: Mapping[str, Any], write: Callable[[str], None], *, escape: bool, strict: bool) -> None:
        """Render into `write`, which may raise to stop. strict: a missing variable is an error."""
        _Renderer(write, escape, strict, values).nodes(self.nodes, [values], {})

    def _line(self) -> int:
        return self._source.count("\n", 0, self._end) + 1

    def _parse(self, depth: int, block: str | None = None) -> tuple[list[Node], str | None]:
        """Return nodes up to the end or a closing tag, with the name that it closes or `else`."""
        if depth > MAX_DEPTH:
            raise TemplateError(f"blocks are nested deeper than {MAX_DEPTH}", self._line())
        nodes: list[Node] = []
        while self._at < len(self._tags):
            tag = self._tags[self._at]
            nodes.append(("text", self._source[self._end : tag.start()]))
            self._at, self._end = self._at + 1, tag.end()
            if tag[1] is not None:
                nodes.append(("value", self._expression(tag[1]), False))
                continue
            body = (tag[2] or "").strip()
            if not body or body.startswith("!"):
                continue
            if body.startswith("/"):
                return nodes, body[1:].strip()
            if body in ("else", "^") or body.startswith("else "):
                return nodes, body
            nodes.append(self._node(body, depth))
        nodes.append(("text", self._source[self._end :]))
        self._end = len(self._source)
        return nodes, None

    def _node(self, body: str, depth: int) -> Node:
        if body[0] in "#^":
            return self._block(body, depth)
        if body.startswith(">"):
            raise TemplateError("partials are not available", self._line())
        if body.startswith("&"):
            return ("value", self._expression(body[1:]), False)
        return ("value", self._expression(body), True)

    def _block(self, body: str, depth: int) -> Node:
        line = self._line()
        name, _, rest = body[1:].strip().partition(" ")
        inverted = body[0] == "^"
        if not inverted and not self._mustache and name in BLOCKS:
            kind, subject = name, self._expression(rest)
        else:
            kind, name = "section", body[1:].strip()
            subject = self._expression(name)
        inner, closing = self._parse(depth + 1, name)
        other: list[Node] = []
        if closing is not None and (closing in ("else", "^") or closing.startswith("else ")):
            if closing.startswith("else "):
                # `{{else if x}}` is a block of its own that shares the closing tag.
                other, closing = [self._block("#" + closing[5:], depth + 1)], name
            else:
                other, closing = self._parse(depth + 1, name)
        if closing != name:
            found = "the end" if closing is None else f"{{{{/{closing}}}}}"
            raise TemplateError(f"{{{{{body}}}}} is closed by {found}", line)
        return (kind, subject, other, inner) if inverted else (kind, subject, inner, other)

    def _expression(self, text: str) -> Node:
        words = []
        at = 0
        text = text.strip()
        while at < len(text):
            hit = _WORD.match(text, at)
            if hit is None:
                raise TemplateError(f"bad expression {text!r}", self._line())
            words.append(hit[0].strip())
            at = hit.end()
        node, left = self._call(words, 0)
        if left:
            raise TemplateError(f"bad expression {text!r}", self._line())
        return node

    def _call(self, words: list[str], depth: int) -> tuple[Node, list[str]]:
        """Read a helper with its arguments, or one operand."""
        if not words:
            raise TemplateError("an expression is empty", self._line())
        if words[0] in HELPERS and len(words) > 1:
            name, words = words[0], words[1:]
            arguments = []
            while words and words[0] != ")":
                node, words = self._operand(words, depth)
                arguments.append(node)
            if len(arguments) != (2 if name == "eq" else 1):
                raise TemplateError(f"wrong number of arguments for {name}", self._line())
            return ("call", name, arguments), words
        return self._operand(words, depth)

    def _operand(self, words: list[str], depth: int) -> tuple[Node, list[str]]:
        word, rest = words[0], words[1:]
        if word == "(":
            if depth > 8:
                raise TemplateError("an expression is nested too deeply", self._line())
            node, rest = self._call(rest, depth + 1)
            if rest[:1] != [")"]:
                raise TemplateError("a parenthesis is not closed", self._line())
            return node, rest[1:]
        if word[0] in "\"'":
            return ("constant", re.sub(r"\\(.)", r"\1", word[1:-1])), rest
        if word in ("true", "false", "null"):
            return ("constant", {"true": True, "false": False}.get(word)), rest
        if re.fullmatch(r"-?\d{1,15}(\.\d{1,15})?", word):
            return ("constant", float(word) if "." in word else int(word)), rest
        if not _PATH.fullmatch(word):
            raise TemplateError(f"unexpected {word!r}", self._line())
        return self._path(word), rest

    def _path(self, word: str) -> Node:
        ups = 0
        while word.startswith("../"):
            ups, word = ups + 1, word[3:]
        if word == "..":
            ups, word = ups + 1, ""
        parts = [] if word in ("", ".", "this") else [part.strip("[]") for part in re.split(r"[./]", word) if part]
        if parts and parts[0] == "this":
            parts = parts[1:]
        elif parts and not parts[0].startswith("@") and not ups:
            self.variables.add(parts[0])
        return ("path", ups, parts)


class _Renderer:
    """One rendering: where text goes, and what a value becomes."""

    def __init__(self, write: Callable[[str], None], escape: bool, strict: bool, root: Mapping[str, Any]) -> None:
        self._write = write
        self._escape = escape
        self._strict = strict
        self._root = root

    def nodes(self, nodes: list[Node], scopes: list[Any], data: dict[str, Any]) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self._write(node[1])
            elif kind == "value":
                self._show(self.value(node[1], scopes, data), node[2])
            else:
                self._block(node, scopes, data)

    def _show(self, value: Any, escape: bool) -> None:
        text = cell(value)
        if escape and self._escape:
            from html import escape as html_escape

            text = html_escape(text, quote=True)
        self._write(text)

    def _block(self, node: Node, scopes: list[Any], data: dict[str, Any]) -> None:
        kind, subject, inner, other = node
        value = self.value(subject, scopes, data, optional=True)
        if kind in ("if", "unless"):
            self.nodes(inner if _truthy(value) == (kind == "if") else other, scopes, data)
        elif not _truthy(value):
            self.nodes(other, scopes, data)
        elif kind == "with" or (kind == "section" and not isinstance(value, list)):
            self.nodes(inner, scopes if value is True else [*scopes, value], data)
        else:
            self._each(value, inner, scopes, data)

    def _each(self, value: Any, inner: list[Node], scopes: list[Any], data: dict[str, Any]) -> None:
        pairs = (
            list(value.items())
            if isinstance(value, Mapping)
            else list(enumerate(value))
            if isinstance(value, list)
            else []
        )
        for index, (key, item) in enumerate(pairs):
            self._write("")
            marks = {"index": index, "key": key, "first": index == 0, "last": index == len(pairs) - 1}
            self.nodes(inner, [*scopes, item], marks)

    def value(self, node: Node, scopes: list[Any], data: dict[str, Any], *, optional: bool = False) -> Any:
        if node[0] == "constant":
            return node[1]
        if node[0] == "call":
            return _help(node[1], [self.value(item, scopes, data, optional=optional) for item in node[2]])
        _, ups, parts = node
        if parts and parts[0].startswith("@"):
            name = parts[0][1:]
            found = self._root if name == "root" else data.get(name)
            return _reach(found, parts[1:])[0]
        if ups >= len(scopes):
            return None
        visible = scopes[: len(scopes) - ups]
        value, there = _reach(visible[-1], parts)
        for scope in reversed(visible[:-1] if not there and not ups else []):
            value, there = _reach(scope, parts)
            if there:
                break
        if not there and self._strict and not optional:
            raise TemplateError(f"undefined variable '{'.'.join(parts)}'", code="undefined_variable")
        return value


def _reach(value: Any, parts: list[str]) -> tuple[Any, bool]:
    for part in parts:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif (
            isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(value)
        ):
            value = value[int(part)]
        else:
            return None, False
    return value, True


def _truthy(value: Any) -> bool:
    return not (value is None or value is False or value == "" or value == [] or (value == 0 and value is not True))


def _help(name: str, arguments: list[Any]) -> Any:
    if name == "eq":
        from llmspell.base.expression import equal

        return equal(arguments[0], arguments[1])
    if name == "json":
        from llmspell.base.jsontext import dumps

        return dumps(arguments[0], nan="null")
    text = cell(arguments[0])
    return text.upper() if name == "uppercase" else text.lower()
