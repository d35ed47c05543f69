"""Text forms of what is shown: tables with padded columns, HTML without tags, one line for an image or a plot."""

from __future__ import annotations

import math
import re
from typing import Any

from llmspell.base.jsontext import dumps
from llmspell.errors import InvalidArgument, UnsupportedType

DEFAULT_ROWS = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_HIDDEN = ("script", "style")


def lua_number(value: float) -> str:
    """Return a number as Lua 5.4 writes it: `%.14g`, with a point when it is a float."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "nan"
    text = f"{value:.14g}"
    return text if any(mark in text for mark in ".einf") else f"{text}.0"


def cell(value: Any) -> str:
    """Return the text of a value: nothing for null, compact JSON for lists and maps."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return lua_number(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else dumps(value, nan="null")


def pretty(value: Any) -> str:
    """Return indented JSON text."""
    return dumps(value, indent=2)


def table(rows: Any, options: dict[str, Any] | None = None) -> str:
    """Return rows (maps, or lists in the order of the columns) as lines of padded columns under header and dashes.

    options: `columns`, else the sorted keys of the first row; `max_rows`, 100 if not given.
    """
    given = options or {}
    rows = list(rows.values()) if isinstance(rows, dict) else rows
    limit = given.get("max_rows", DEFAULT_ROWS)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 1:
        raise InvalidArgument(f"option 'max_rows' must be at least 1, got {limit!r}", details={"name": "max_rows"})
    columns = _columns(rows, given.get("columns"))
    shown = rows[: int(limit)]
    lines = [[_line(name) for name in columns], *([_line(item) for item in _row(row, columns)] for row in shown)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    lines.insert(1, ["-" * width for width in widths])
    text = ["  ".join(item.ljust(width) for item, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if len(rows) > len(shown):
        text.append(f"... {len(rows) - len(shown)} more rows")
    return "\n".join(text)


def strip_tags(html: Any) -> str:
    """Return the text of HTML: no tags, no comments, no scripts or styles, entities decoded. Takes linear time."""
    from html import unescape

    source = _text(html)
    lower, parts, at = source.lower(), [], 0
    while True:
        start = source.find("<", at)
        if start < 0:
            parts.append(source[at:])
            break
        following = source[start + 1 : start + 2]
        if not (following.isalpha() or following in ("/", "!", "?")):
            parts.append(source[at : start + 1])
            at = start + 1
            continue
        parts.append(source[at:start])
        at = _after_tag(lower, start)
    return unescape("".join(parts))


def svg(text: Any) -> str:
    """Return the line that stands for an SVG image."""
    source = _text(text)
    if "<svg" not in source:
        raise InvalidArgument("the text is no SVG image: it has no <svg element")
    return f"<image/svg+xml {len(source.encode('utf-8', 'surrogateescape'))} bytes>"


def plot(spec: Any) -> str:
    """Return the line that stands for a plot. Raises InvalidArgument for lists of different length."""
    if not isinstance(spec, dict):
        raise UnsupportedType(f"a plot is described by a table, got {type(spec).__name__}")
    mark = spec.get("mark", "line")
    mark = mark.get("type", "line") if isinstance(mark, dict) else mark
    x, y = spec.get("x"), spec.get("y")
    if isinstance(x, list) or isinstance(y, list):
        count = len(y) if isinstance(y, list) else 0
        if isinstance(x, list) and len(x) != count:
            raise InvalidArgument(f"a plot needs as many x as y values, got {len(x)} and {count}")
    else:
        data = spec.get("data")
        values = data.get("values") if isinstance(data, dict) else None
        count = len(values) if isinstance(values, list) else 0
    return f"<plot {_line(mark)} {count} points>"


def bundle(data: Any) -> str:
    """Return the text form of a map of media types: its `text/plain`, else what it is."""
    if not isinstance(data, dict):
        raise UnsupportedType(f"a bundle is a map of media types to data, got {type(data).__name__}")
    if data.get("text/plain") is not None:
        return cell(data["text/plain"])
    if data.get("text/html") is not None:
        return strip_tags(data["text/html"])
    names = sorted(data)
    if not names:
        return ""
    size = len(cell(data[names[0]]).encode("utf-8", "surrogateescape"))
    return f"<{names[0]} {size} bytes>"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise UnsupportedType(f"text is expected, got {type(value).__name__}")


def _line(value: Any) -> str:
    return _CONTROL.sub(" ", cell(value))


def _columns(rows: Any, columns: Any) -> list[str]:
    if not isinstance(rows, list):
        raise UnsupportedType(f"rows must be a list of tables, got {type(rows).__name__}")
    if columns is not None:
        if not isinstance(columns, list):
            raise UnsupportedType("option 'columns' must be a list of names")
        return [cell(name) for name in columns]
    first = rows[0] if rows else {}
    if isinstance(first, list):
        return [str(index + 1) for index in range(len(first))]
    return sorted(first) if isinstance(first, dict) else ["value"]


def _row(row: Any, columns: list[str]) -> list[Any]:
    if isinstance(row, dict):
        return [row.get(name) for name in columns]
    items = row if isinstance(row, list) else [row]
    return [*items, *([None] * len(columns))][: len(columns)]


def _after_tag(lower: str, start: int) -> int:
    if lower.startswith("<!--", start):
        end = lower.find("-->", start + 4)
        return len(lower) if end < 0 else end + 3
    end = lower.find(">", start)
    if end < 0:
        return len(lower)
    for name in _HIDDEN:
        if lower.startswith(f"<{name}", start) and not lower[start + 1 + len(name)].isalnum():
            closing = lower.find(f"</{name}", end)
            if closing < 0:
                return len(lower)
            end = lower.find(">", closing)
            return len(lower) if end < 0 else end + 1
    return end + 1
