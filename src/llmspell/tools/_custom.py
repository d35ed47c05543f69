"""The parameters of a tool registered at run time, in the three forms a script may write them.

JSON Schema as it is; a list of `{name, type, description?, required?, default?}`; a map of name to the same record or
to a type word. The two short forms name all parameters there are, a JSON Schema decides for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmspell.errors import InvalidArgument
from llmspell.tools._spec import compile_schema

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPES = {
    "string": "string",
    "str": "string",
    "number": "number",
    "float": "number",
    "integer": "integer",
    "int": "integer",
    "boolean": "boolean",
    "bool": "boolean",
    "array": "array",
    "list": "array",
    "table": "object",
    "object": "object",
    "any": None,
}
MAX_PARAMS = 200


def checked_schema(name: str, declared: Any) -> dict[str, Any] | None:
    """Return the JSON Schema of a custom tool, None when nothing was declared. Raises InvalidArgument."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"bad tool name '{str(name)[:80]}': letters, digits, '_' and '-', at most 64 of them",
            details={"name": "name"},
        )
    if declared is None or declared in ({}, []):
        return None
    if isinstance(declared, Mapping) and _is_json_schema(declared):
        schema = dict(declared)
        if schema.get("type", "object") != "object":
            raise InvalidArgument(
                f"the schema of tool '{name}' must describe an object", details={"name": "parameters"}
            )
        schema["type"] = "object"
    else:
        schema = _from_records(name, declared)
    _compile_check(name, schema)
    return schema


def _is_json_schema(declared: Mapping[str, Any]) -> bool:
    if isinstance(declared.get("type"), str) or isinstance(declared.get("$schema"), str):
        return True
    inner = declared.get("properties")
    return isinstance(inner, Mapping) and not isinstance(inner.get("type"), str)


def _from_records(name: str, declared: Any) -> dict[str, Any]:
    if isinstance(declared, list):
        pairs = [(record.get("name") if isinstance(record, Mapping) else None, record) for record in declared]
    elif isinstance(declared, Mapping):
        pairs = list(declared.items())
    else:
        raise InvalidArgument(f"parameters of tool '{name}': a table expected", details={"name": "parameters"})
    if len(pairs) > MAX_PARAMS:
        raise InvalidArgument(f"tool '{name}' has more than {MAX_PARAMS} parameters", details={"name": "parameters"})
    properties: dict[str, Any] = {}
    required: list[str] = []
    for key, record in pairs:
        if not isinstance(key, str) or not key:
            raise InvalidArgument(f"a parameter of tool '{name}' has no name", details={"name": "parameters"})
        properties[key], needed = _property(name, key, record)
        if needed:
            required.append(key)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _property(tool: str, key: str, record: Any) -> tuple[dict[str, Any], bool]:
    if isinstance(record, str):
        record = {"type": record}
    if not isinstance(record, Mapping):
        raise InvalidArgument(
            f"parameter '{key}' of tool '{tool}': a table such as {{type = \"string\"}} expected",
            details={"name": key},
        )
    schema = {k: v for k, v in record.items() if k not in ("name", "required")}
    word = schema.pop("type", None)
    if isinstance(word, str):
        if word not in _TYPES:
            raise InvalidArgument(
                f"parameter '{key}' of tool '{tool}' has the unknown type '{word[:40]}'",
                details={"name": key, "allowed": sorted(_TYPES)},
            )
        if _TYPES[word] is not None:
            schema["type"] = _TYPES[word]
    elif word is not None:
        schema["type"] = word
    needed = record.get("required", False)
    if isinstance(needed, list):
        schema["required"] = needed
        needed = False
    return schema, bool(needed) and "default" not in schema


def _compile_check(name: str, schema: dict[str, Any]) -> None:
    import jsonschema_rs

    try:
        compile_schema(schema)
    except (ValueError, OverflowError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise InvalidArgument(
            f"the parameters of tool '{name}' are not a valid JSON Schema: {str(error)[:300]}",
            details={"name": "parameters"},
        ) from error
