"""JSON Schema from type annotations: what a parameter may be is written once, in the function's signature.

| annotation | schema |
|---|---|
| str int float bool | string integer number boolean |
| list[T], dict[str, T], T or None | array, object with additionalProperties, anyOf null |
| Literal, Enum | enum |
| msgspec.Struct, dataclass, TypedDict | object |
| bytes | string, contentEncoding base64 |
| datetime, UUID, pathlib paths with a `Mark` | string with format |
| Any | {} |

`Annotated[T, P(...)]` adds the description and the keywords; `Annotated[T, Mark(...)]` says what must happen to the
value before the function sees it. Both may stand in one `Annotated`, in any order and nested.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from llmspell.errors import InternalError

Schema = dict[str, Any]

_KEYWORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "min_items": "minItems",
    "max_items": "maxItems",
    "examples": "examples",
    "format": "format",
}
_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    type(None): {"type": "null"},
}


class P:
    """What is known of one parameter besides its type.

    aliases: further accepted names. secret: the value is never shown. level: the security level a call needs when
    this parameter is given and is not False. keywords: ge gt le lt min_length max_length pattern min_items max_items
    examples format.
    """

    __slots__ = ("aliases", "description", "keywords", "level", "secret")

    def __init__(
        self,
        description: str = "",
        *,
        aliases: Sequence[str] = (),
        secret: bool = False,
        level: str | None = None,
        **keywords: Any,
    ) -> None:
        unknown = set(keywords) - set(_KEYWORDS)
        if unknown:
            raise InternalError(f"P() got unknown keywords {sorted(unknown)}; known are {sorted(_KEYWORDS)}")
        self.description = description
        self.aliases = tuple(aliases)
        self.secret = secret
        self.level = level
        self.keywords = {_KEYWORDS[key]: value for key, value in keywords.items()}


class Mark:
    """What must happen to a value before the function sees it: `path-r`, `path-w`, `path-d` or `url`."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


def schema_of(annotation: Any) -> Schema:
    """Return the JSON Schema of `annotation`. Raises InternalError for a type without one."""
    if annotation in (Any, typing.Any, object):
        return {}
    try:
        plain = _PLAIN.get(annotation)
    except TypeError:
        plain = None
    if plain is not None:
        return dict(plain)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _annotated(annotation)
    if origin is not None:
        return _generic(origin, typing.get_args(annotation))
    return _named(annotation)


def _annotated(annotation: Any) -> Schema:
    inner, *extras = typing.get_args(annotation)
    marks = [extra for extra in extras if isinstance(extra, Mark)]
    if marks:
        schema: Schema = {"type": "string", "format": "uri" if marks[0].kind == "url" else "path"}
    else:
        schema = schema_of(inner)
    for extra in extras:
        if isinstance(extra, P):
            schema = _with_keywords(schema, extra)
    return schema


def _with_keywords(schema: Schema, p: P) -> Schema:
    """Put the keywords where the value is described, which is inside `anyOf` for `T | None`."""
    if p.keywords:
        branches = schema.get("anyOf")
        if branches:
            schema["anyOf"] = [b if b.get("type") == "null" else {**b, **p.keywords} for b in branches]
        else:
            schema = {**schema, **p.keywords}
    if p.description:
        schema = {**schema, "description": p.description}
    return schema


def _generic(origin: Any, args: tuple[Any, ...]) -> Schema:
    if origin is typing.Literal:
        return _enum(list(args))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        values = schema_of(args[1]) if len(args) > 1 else {}
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        items = schema_of(args[0]) if args else {}
        return {"type": "array", "items": items} if items else {"type": "array"}
    # What is left is a union, written `X | Y` or `Optional`; `str | bytes` is text outside.
    branches = [schema_of(arg) for arg in args if not (arg is bytes and str in args)]
    if any(branch == {} for branch in branches):
        return {}
    return {"anyOf": branches} if len(branches) > 1 else branches[0]


def _enum(values: list[Any]) -> Schema:
    schema: Schema = {"enum": values}
    if all(isinstance(value, str) for value in values):
        schema = {"type": "string", "enum": values}
    return schema


def _named(annotation: Any) -> Schema:
    if annotation is list:
        return {"type": "array"}
    if annotation is dict:
        return {"type": "object"}
    if isinstance(annotation, type):
        if issubclass(annotation, enum.Enum):
            return _enum([member.value for member in annotation])
        formats = {"datetime": "date-time", "date": "date", "UUID": "uuid"}
        if annotation.__module__ in ("datetime", "uuid") and annotation.__name__ in formats:
            return {"type": "string", "format": formats[annotation.__name__]}
        if hasattr(annotation, "__struct_fields__") or hasattr(annotation, "__dataclass_fields__"):
            return _record(annotation)
        if issubclass(annotation, dict):
            return _record(annotation)
    raise InternalError(f"no JSON Schema for the annotation {annotation!r}")


def _record(cls: Any) -> Schema:
    """Describe a msgspec.Struct, dataclass or TypedDict, inline, so that a schema never holds references."""
    import msgspec

    info = msgspec.json.schema_components([cls])
    (root,), components = info

    def inline(node: Any, depth: int = 0) -> Any:
        if depth > 32:
            raise InternalError(f"the type {cls!r} refers to itself: a parameter schema must be a tree")
        if isinstance(node, dict):
            if "$ref" in node:
                return inline(components[node["$ref"].rpartition("/")[2]], depth + 1)
            return {key: inline(value, depth + 1) for key, value in node.items() if key != "title"}
        return [inline(item, depth + 1) for item in node] if isinstance(node, list) else node

    schema: Schema = inline(root)
    return schema
