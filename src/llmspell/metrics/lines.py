"""The form of one log line, as text and as JSON.

    2026-01-02T03:04:05.678Z LEVEL category operation message key=value ...

A text line stays one line whatever is in it: control characters are escaped.
"""

from __future__ import annotations

import json

from llmspell.base.clock import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/@+%,")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    9: "\\t",
    10: "\\n",
    13: "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def escape(text: str) -> str:
    """Return the text with control characters and line separators written as escapes."""
    return text if text.isprintable() else text.translate(_CONTROL)


def text_line(
    level: str,
    category: str,
    operation: str,
    message: str,
    fields: Mapping[str, Any] | None = None,
    *,
    epoch: float | None = None,
) -> str:
    """Return one line without its newline; epoch: seconds, now if not given."""
    line = f"{rfc3339(epoch)} {level.upper()} {category} {operation} {escape(message)}"
    if fields:
        line += "".join(f" {escape(str(name))}={_value(value)}" for name, value in fields.items())
    return line


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if text and not isinstance(value, str):
        return escape(text)
    return text if text and _PLAIN.issuperset(text) else escape(json.dumps(text, ensure_ascii=False))


def json_line(
    level: str,
    category: str,
    operation: str,
    message: str,
    fields: Mapping[str, Any] | None = None,
    *,
    epoch: float | None = None,
    **known: Any,
) -> str:
    """Return one line of JSON `{ts, level, category, operation, message, ..., fields}`; `known` are further members."""
    record = {"ts": rfc3339(epoch), "level": level, "category": category, "operation": operation, "message": message}
    return json.dumps(record | known | {"fields": dict(fields or {})}, default=str)
