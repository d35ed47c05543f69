"""Tool names and schemas as services accept them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_WIRE = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SEPARATOR = re.compile(r"[./:]")
_OTHER = re.compile(r"[^a-zA-Z0-9_-]")
MAX_INLINE_DEPTH = 24
DROPPED = (
    "format", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "default", "examples", "not",
    "oneOf", "allOf",
)  # fmt: skip


def wire_names(names: Iterable[str]) -> dict[str, str]:
    """Return own name -> wire name, both unique. Names that fit stay; others are rewritten, with a hash if needed."""
    own = list(dict.fromkeys(names))
    taken = {name for name in own if _WIRE.fullmatch(name)}
    mapping = {name: name for name in taken}
    for name in own:
        if name in mapping:
            continue
        wire = _OTHER.sub("_", _SEPARATOR.sub("__", name))
        if len(wire) > 64 or not wire or wire in taken:
            wire = f"{wire[:55]}_{_digest(name)}"
        taken.add(wire)
        mapping[name] = wire
    return mapping


def _digest(name: str) -> str:
    from hashlib import blake2s

    return blake2s(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def reversed_names(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return wire name -> own name for the names that differ."""
    return {wire: own for own, wire in mapping.items() if wire != own}


def simplify(schema: Mapping[str, Any], *, strict: bool = False) -> dict[str, Any]:
    """Return `schema` with references inlined; `strict` makes it one a service can promise to keep.

    Strict: all properties required, the optional ones nullable, nothing additional, unsupported keywords told in the
    description. A schema that refers to itself becomes `{}` with a description at the second turn.
    """
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    plain: dict[str, Any] = _walk(schema, definitions, (), strict=strict)
    return plain


def _walk(node: Any, definitions: Mapping[str, Any], path: tuple[str, ...], *, strict: bool) -> Any:
    if isinstance(node, list):
        return [_walk(item, definitions, path, strict=strict) for item in node]
    if not isinstance(node, Mapping):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        if name in path or name not in definitions or len(path) > MAX_INLINE_DEPTH:
            return {"description": f"a value of type {name}"}
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _walk({**definitions[name], **rest}, definitions, (*path, name), strict=strict)
    out: dict[str, Any] = {}
    told: list[str] = []
    for key, value in node.items():
        if key == "properties" and isinstance(value, Mapping):
            out[key] = {name: _walk(item, definitions, path, strict=strict) for name, item in value.items()}
        elif key in ("$defs", "definitions"):
            continue
        elif strict and key in DROPPED:
            told.append(f"{key}: {value}")
        elif key in ("enum", "const", "required", "examples", "default"):
            out[key] = value
        else:
            out[key] = _walk(value, definitions, path, strict=strict)
    if told:
        out["description"] = "; ".join([*([out["description"]] if out.get("description") else []), *told])
    if strict and isinstance(out.get("properties"), dict):
        _close(out)
    return out


def _close(node: dict[str, Any]) -> None:
    required = set(node.get("required", ()))
    for name, item in node["properties"].items():
        if name not in required and isinstance(item, dict):
            _nullable(item)
    node["required"] = list(node["properties"])
    node["additionalProperties"] = False


def _nullable(item: dict[str, Any]) -> None:
    kind = item.get("type")
    if isinstance(kind, str) and kind != "null":
        item["type"] = [kind, "null"]
        if isinstance(item.get("enum"), list) and None not in item["enum"]:
            item["enum"] = [*item["enum"], None]
