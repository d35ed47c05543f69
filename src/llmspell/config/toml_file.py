"""TOML files with positions: which line states a key, and changing one key while every comment stays.

The standard parser keeps no positions; the scanner here finds statements by asking that parser where a value ends.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any, NamedTuple

from llmspell.errors import ConfigurationError


class Statement(NamedTuple):
    """A table header or a `key = value`; lines count from 1, `last` is the last line of the value."""

    path: tuple[str, ...]
    line: int
    last: int
    header: bool


def parse(text: str, name: str) -> dict[str, Any]:
    """Return the document. Raises ConfigurationError with the line of the mistake."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        line = reason.rpartition("(at line ")[2].partition(",")[0] if "(at line " in reason else ""
        number = int(line) if line.isdigit() else text.count("\n") + 1
        raise ConfigurationError(
            f"{name}:{number}: not valid TOML: {reason}", code="syntax", details={"path": name, "line": number}
        ) from error


def statements(text: str) -> list[Statement]:
    """Return the statements of a valid document, in order."""
    found: list[Statement] = []
    table: tuple[str, ...] = ()
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        first = at + 1
        if not line or line.startswith("#"):
            at += 1
            continue
        if line.startswith("["):
            table = _header(line)
            found.append(Statement(table, first, first, header=True))
            at += 1
            continue
        at = _value_end(lines, at)
        found.append(Statement(table + _key(line), first, at, header=False))
    return found


def line_numbers(text: str) -> dict[str, int]:
    """Return the line of every dotted key and table."""
    return {".".join(item.path): item.line for item in reversed(statements(text))}


def change(text: str, path: tuple[str, ...], value: Any, *, name: str) -> str:
    """Return `text` with the key at `path` set to `value`, or removed when `value` is None; all else stays.

    Raises ConfigurationError when the key sits inside an inline table or array of tables: edit those by hand.
    """
    before = parse(text, name)
    lines = text.splitlines()
    items = statements(text)
    existing = next((item for item in items if not item.header and item.path == path), None)
    if existing is not None:
        old = lines[existing.line - 1 : existing.last]
        new = [] if value is None else [_replace_value(old, value)]
        lines[existing.line - 1 : existing.last] = new
    elif value is not None:
        _insert(lines, items, path, value)
    result = "\n".join(lines) + "\n" if lines else ""
    wanted = _with(before, path, value)
    try:
        done = tomllib.loads(result)
    except tomllib.TOMLDecodeError:
        done = None
    if done != wanted and _without_empty(done) != _without_empty(wanted):
        raise ConfigurationError(
            f"cannot change {'.'.join(path)} in {name} without losing its layout: edit the file by hand",
            details={"path": name, "key": ".".join(path)},
        )
    return result


def to_toml(value: Any) -> str:
    """Return a value as TOML text on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        inner = ", ".join(f"{to_key(str(key))} = {to_toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def to_key(name: str) -> str:
    """Return one part of a key, quoted when it must be."""
    bare = name.isascii() and name.replace("-", "a").replace("_", "a").isalnum()
    return name if bare else json.dumps(name, ensure_ascii=False)


def parse_value(text: str) -> Any:
    """Return command-line text as a TOML value, or as itself when it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def _header(line: str) -> tuple[str, ...]:
    return _split(line.lstrip("[").strip(), "]")[0]


def _key(line: str) -> tuple[str, ...]:
    return _split(line, "=")[0]


def _split(text: str, stop: str) -> tuple[tuple[str, ...], int]:
    """Return the parts of a dotted key and the position of the `stop` that ends it."""
    parts: list[str] = []
    word = ""
    quote = ""
    end = len(text)
    for position, char in enumerate(text):
        if quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "\"'":
            quote = char
        elif char == ".":
            parts.append(word)
            word = ""
        elif char == stop:
            end = position
            break
        elif not char.isspace():
            word += char
    return (*parts, word), end


def _value_end(lines: list[str], at: int) -> int:
    """Return the number of the last line of the statement that starts at index `at`."""
    text = lines[at]
    for last in range(at + 1, len(lines) + 1):
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            text = "\n".join(lines[at : last + 1])
        else:
            return last
    return at + 1


def _replace_value(old: list[str], value: Any) -> str:
    start = _split(old[0], "=")[1]
    head = old[0][: start + 1].rstrip()
    return f"{head} {to_toml(value)}{_comment(old) if len(old) == 1 else ''}"


def _comment(old: list[str]) -> str:
    """Return the comment behind a one-line value with the blanks before it."""
    line = old[0]
    position = line.find("#")
    while position != -1:
        try:
            tomllib.loads(line[:position])
        except tomllib.TOMLDecodeError:
            position = line.find("#", position + 1)
        else:
            blanks = len(line[:position]) - len(line[:position].rstrip())
            return line[position - blanks :]
    return ""


def _insert(lines: list[str], items: list[Statement], path: tuple[str, ...], value: Any) -> None:
    statement = f"{to_key(path[-1])} = {to_toml(value)}"
    table = path[:-1]
    header = next((item for item in items if item.header and item.path == table), None)
    if not table:
        first = next((item.line for item in items if item.header), None)
        lines.insert(len(lines) if first is None else first - 1, statement)
    elif header is None:
        if lines and lines[-1].strip():
            lines.append("")
        lines += [f"[{'.'.join(to_key(part) for part in table)}]", statement]
    else:
        last = header.line
        for item in items[items.index(header) + 1 :]:
            if item.header:
                break
            last = item.last
        lines.insert(last, statement)


def _with(document: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    copy = dict(document)
    head, rest = path[0], path[1:]
    if rest:
        inner = copy.get(head, {})
        copy[head] = _with(inner if isinstance(inner, dict) else {}, rest, value)
    elif value is None:
        copy.pop(head, None)
    else:
        copy[head] = list(value) if isinstance(value, tuple) else value
    return copy


def _without_empty(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    kept = {key: _without_empty(item) for key, item in document.items()}
    return {key: item for key, item in kept.items() if item != {}}
