"""How values look in the REPL."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_DEPTH = 4
MAX_ITEMS = 100
LINE = 100


def show(value: Any, depth: int = 0) -> str:
    """Return a value as Lua writes it; tables to depth 4 and 100 items, over several lines when they are long."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return quoted(value.decode("latin-1"))
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (list, tuple)):
        return _table([show(item, depth + 1) for item in value[:MAX_ITEMS]], len(value), depth)
    if isinstance(value, dict):
        items = [f"{_key(name)} = {show(item, depth + 1)}" for name, item in list(value.items())[:MAX_ITEMS]]
        return _table(items, len(value), depth)
    return str(value)


def quoted(text: str) -> str:
    """Return text as a Lua string literal."""
    simple = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    body = "".join(simple.get(char) or (char if char.isprintable() else _escape(char)) for char in text)
    return f'"{body}"'


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{{{ord(char):x}}}"


def _key(name: Any) -> str:
    text = str(name)
    return text if text.isidentifier() and text.isascii() else f"[{quoted(text)}]"


def _table(items: list[str], total: int, depth: int) -> str:
    if not total:
        return "{}"
    if depth >= MAX_DEPTH:
        return "{...}"
    if total > len(items):
        items = [*items, f"... {total - len(items)} more"]
    flat = ", ".join(items)
    if len(flat) + 2 * depth <= LINE and "\n" not in flat:
        return f"{{{flat}}}"
    pad = "  " * (depth + 1)
    return "{\n" + "".join(f"{pad}{item},\n" for item in items) + "  " * depth + "}"
