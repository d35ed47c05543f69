"""Pages generated from the table of keys: JSON Schema, variables, TOML documents, the commented file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.config.env import BASE_URLS, PROVIDER_KEYS, SPECIAL, flat_names, name_of
from llmspell.config.schema import Key, keys
from llmspell.config.toml_file import to_key, to_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMON = (
    "profile", "providers.default_provider", "providers.default_model", "engines.lua.sandbox",
    "runtime.security.allowed_paths", "runtime.script_timeout_seconds", "agents.max_cost_usd",
)  # fmt: skip


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a configuration file."""
    root: dict[str, Any] = _table()
    root = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "llmspell configuration", **root}
    for path, key in keys().items():
        node = root
        *parents, last = path.split(".")
        for name in parents:
            if name == "*":
                node = _named(node)
                continue
            node = node["properties"].setdefault(name, _table())
        node["properties"][last] = _one(key)
    root["properties"]["tools"]["additionalProperties"] = {"type": "object"}
    return root


def variables(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return every variable with key, type and whether it is set; values are not shown."""
    rows = [_variable(name_of(path).replace("*", "NAME"), path, key.kind, key.text) for path, key in keys().items()]
    rows += [_variable(name, path, keys()[path].kind, "alias") for name, path in sorted(flat_names().items())]
    rows += [_variable(name, None, "string", text) for name, text in SPECIAL.items()]
    for provider, names in PROVIDER_KEYS.items():
        rows += [_variable(name, f"providers.{provider}.api_key", "string", f"key of {provider}") for name in names]
    rows += [
        _variable(name, f"providers.{provider}.base_url", "string", "address") for provider, name in BASE_URLS.items()
    ]
    return [{**row, "set": bool(environ.get(row["name"]))} for row in rows]


def toml_document(value: dict[str, Any], path: str = "") -> str:
    """Return plain data as a TOML document; absent values are left out."""
    blocks: list[str] = []
    _block(value, path.split(".") if path else [], blocks)
    return "\n\n".join(blocks) + "\n" if blocks else ""


def commented(*, minimal: bool = False, stated: Mapping[str, Any] | None = None) -> str:
    """Return a configuration file with every key as a comment; `stated` ones are set."""
    chosen = dict(stated or {})
    tables: dict[str, list[str]] = {}
    for path, key in keys().items():
        if minimal and path not in COMMON and path not in chosen:
            continue
        section, _, name = path.replace("*", "NAME").rpartition(".")
        if section not in tables:
            head = ".".join(to_key(part) for part in section.split("."))
            tables[section] = [f"# [{head}]" if "*" in path else f"[{head}]"] if section else []
        value = chosen.get(path)
        example = f"{to_key(name)} = {to_toml(key.default if value is None else value)}"
        if value is None:
            example = f"# {to_key(name)} = {_example(key)}" if key.default is None else f"# {example}"
        tables[section] += [f"# {key.text}{_bounds(key)}", example]
    head = "# llmspell configuration. Lines with a # before the key show defaults: remove the # to change them."
    return "\n\n".join([head, *("\n".join(lines) for lines in tables.values())]) + "\n"


def _example(key: Key) -> str:
    return {"string": '""', "enum": f'"{key.choices[0]}"' if key.choices else '""', "array": "[]"}.get(key.kind, "1")


def _table() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _named(node: dict[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = node.get("additionalProperties") or _table()
    node["additionalProperties"] = inner
    return inner


def _one(key: Key) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.json.schema(key.type)
    found["description"] = key.text
    if key.default is not None:
        found["default"] = list(key.default) if isinstance(key.default, tuple) else key.default
    if key.unit:
        found["x-unit"] = key.unit
    return found


def _variable(name: str, key: str | None, kind: str, text: str) -> dict[str, Any]:
    return {"name": name, "key": key, "type": kind, "text": text}


def _bounds(key: Key) -> str:
    return f": {', '.join(key.choices)}" if key.choices else f" ({key.unit})" if key.unit else ""


def _block(value: dict[str, Any], path: list[str], blocks: list[str]) -> None:
    lines = [
        f"{to_key(name)} = {to_toml(item)}"
        for name, item in value.items()
        if item is not None and not (isinstance(item, dict) and item)
    ]
    if lines:
        head = [f"[{'.'.join(to_key(part) for part in path)}]"] if path else []
        blocks.append("\n".join([*head, *lines]))
    for name, item in value.items():
        if isinstance(item, dict) and item:
            _block(item, [*path, name], blocks)
