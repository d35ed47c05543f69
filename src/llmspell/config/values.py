"""Checking one value: spelling of enums, durations and sizes, text of environment variables, type and range."""

from __future__ import annotations

from typing import Any

import msgspec

from llmspell.config.aliases import VALUES
from llmspell.config.schema import Key, is_secret, unit_of
from llmspell.config.secrets import mask
from llmspell.config.units import seconds, size

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


def check(key: Key, path: str, value: Any, *, text: bool = False) -> Any:
    """Return `value` in the type of `key`.

    text: the value is the text of an environment variable or flag. Raises ValueError with a sentence for people.
    """
    plain = _from_text(key, value) if text and isinstance(value, str) else value
    plain = _spelled(key, path, plain)
    try:
        return msgspec.convert(plain, key.type)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path} = {show(path, value)}: {_expected(key, str(error))}") from error


def show(path: str, value: Any) -> str:
    """Return a value for a message, masked when it is a secret, cut when it is long."""
    text = repr(mask(str(value))) if is_secret(path) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _expected(key: Key, reason: str) -> str:
    if key.choices:
        return f"expected one of {', '.join(key.choices)}"
    return reason[0].lower() + reason[1:].replace("`", "")


def _spelled(key: Key, path: str, value: Any) -> Any:
    if isinstance(value, str):
        plain = value.strip().lower().replace("-", "_")
        mapped = VALUES.get(key.path, {}).get(plain)
        if mapped is not None:
            return mapped
        if key.choices:
            return next((choice for choice in key.choices if choice.replace("-", "_") == plain), value)
        if key.kind in ("integer", "number"):
            return _amount(path, value, whole=key.kind == "integer")
    if isinstance(value, float) and key.kind == "integer" and value.is_integer():
        return int(value)
    return value


def _amount(path: str, text: str, *, whole: bool) -> Any:
    unit = unit_of(path)
    if unit in ("ms", "s"):
        bare = text.strip().isdigit()
        found = float(text) if bare else seconds(text)
        if found is not None and unit == "ms" and not bare:
            found *= 1000
    elif unit in ("bytes", "MiB"):
        found = size(text) if not (unit == "MiB" and text.strip().isdigit()) else int(text) * 1024**2
        found = found / 1024**2 if found is not None and unit == "MiB" else found
    else:
        return text
    if found is None:
        return text
    return round(found) if whole else found


def _from_text(key: Key, text: str) -> Any:
    lowered = text.strip().lower()
    if key.kind == "boolean":
        return True if lowered in _TRUE else False if lowered in _FALSE else text
    if key.kind in ("integer", "number"):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return text
    if key.kind in ("array", "table"):
        from llmspell.config.toml_file import parse_value

        if key.kind == "table" or text.lstrip().startswith("["):
            return parse_value(text)
        items = [item.strip() for item in text.split(",") if item.strip()]
        return [int(item) if item.isdigit() and "int" in str(key.type) else item for item in items]
    return text
