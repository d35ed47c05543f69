"""Steps 2 to 4 of a call: normalise the names, coerce the values, validate.

A call whose names are canonical and whose values fit pays one dictionary copy and one compiled validation. Everything
else (aliases, `parameters` wrapping, model mistakes, errors) takes the slow road below it.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmspell.base.registry import nearest
from llmspell.base.schema import Schema
from llmspell.errors import ValidationError
from llmspell.tools._base import violation
from llmspell.tools._spec import MISSING, Op, Param, Spec

MAX_ERRORS = 20
MAX_DEPTH = 128
_CONTAINERS = (dict, list)


class Bound:
    """A checked call: the operation and its values by published name. coerced: paths changed for a model's sake."""

    __slots__ = ("coerced", "op", "values", "warnings")

    def __init__(
        self, op: Op, values: dict[str, Any], coerced: Sequence[str] = (), warnings: Sequence[str] = ()
    ) -> None:
        self.op = op
        self.values = values
        self.coerced = coerced
        self.warnings = warnings


def bind(spec: Spec, params: Mapping[str, Any], *, loose: bool) -> Bound:
    """Return the checked call. loose: the call comes from a model. Raises ValidationError code schema_violation."""
    values = dict(params)
    for name, value in values.items():
        if type(value) in _CONTAINERS and _too_deep(value):
            raise violation(str(name)[:80], f"nested deeper than {MAX_DEPTH} levels", keyword="depth")
    op = spec.default_op
    if not spec.single:
        named = values.pop("operation", None)
        if named is not None:
            op = spec.ops.get(named) if type(named) is str else None
    if op is not None:
        try:
            fits = op.validator.is_valid(values)
        except ValueError:
            fits = False
        if fits and not (op.open and op.alias_of.keys() & values.keys()):
            if op.integers:
                for param in op.integers:
                    value = values.get(param.name)
                    if value is not None and type(value) is not int:
                        values[param.name] = _coerce(value, param.schema, param.name, loose=False, log=[])
            return Bound(op, values)
    return _bind_slowly(spec, params, loose=loose)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            below.extend(item.values() if type(item) is dict else item)
        level = [item for item in below if type(item) in _CONTAINERS]
        if not level:
            return False
    return True


def _bind_slowly(spec: Spec, params: Mapping[str, Any], *, loose: bool) -> Bound:
    values = _unwrapped(spec, params)
    if spec.header.options and "options" in values:
        values = _hoisted(values)
    op = _operation(spec, values)
    values, unknown, warnings = _named(spec, op, values)
    coerced: list[str] = []
    for name in list(values):
        param = op.params.get(name)
        if param is None:
            continue
        if values[name] is None and not param.required and not _takes_null(param.schema):
            del values[name]
            continue
        values[name] = _coerce(values[name], param.schema, name, loose=loose, log=coerced)
    errors = [_unknown_error(spec, op, name) for name in unknown] + _errors(op, values)
    if errors:
        raise _refusal(spec, op, errors)
    return Bound(op, values, coerced, warnings)


def _unwrapped(spec: Spec, params: Mapping[str, Any]) -> dict[str, Any]:
    if len(params) == 1 and "parameters" in params and "parameters" not in spec.names:
        inner = params["parameters"]
        if isinstance(inner, Mapping):
            params = inner
    bad = next((key for key in params if not isinstance(key, str)), None)
    if bad is not None:
        raise violation(str(bad)[:80], "parameter names must be strings", keyword="propertyNames")
    return dict(params)


def _hoisted(values: dict[str, Any]) -> dict[str, Any]:
    """Bring the members of `options` to the top level, where a value given there already wins."""
    options = values.pop("options")
    if isinstance(options, str):
        options = parsed_json(options)
    if options is None:
        return values
    if not isinstance(options, dict):
        raise violation("options", "an object expected", keyword="type")
    return {**options, **values}


def _operation(spec: Spec, values: dict[str, Any]) -> Op:
    if spec.single:
        op = next(iter(spec.ops.values()))
        if "operation" not in op.params and values.get("operation") in (op.name, op.label, spec.name):
            del values["operation"]
        return op
    named = values.pop("operation", None)
    if named is None:
        if spec.default_op is not None:
            return spec.default_op
        strangers = [_unknown_error(spec, None, key) for key in values if _canonical(key) not in spec.names]
        choice = f"Missing required parameter 'operation': choose one of {', '.join(spec.ops)}"
        missing = {"path": "operation", "keyword": "required", "message": choice}
        raise _refusal(spec, None, [*strangers, missing])
    if isinstance(named, str):
        op_found = spec.find_op.get(named) or spec.find_op.get(named.replace("-", "_"))
        if op_found is not None:
            return op_found
    near = nearest(str(named)[:80], list(spec.find_op), limit=1)
    hint = f", did you mean '{near[0]}'?" if near else f": choose one of {', '.join(spec.ops)}"
    message = f"Unknown operation '{str(named)[:80]}' of tool '{spec.name}'{hint}"
    raise _refusal(spec, None, [{"path": "operation", "keyword": "enum", "message": message}])


def _canonical(key: str) -> str:
    return key.replace("-", "_")


def _named(spec: Spec, op: Op, values: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Bring names to their canonical form; a parameter of another operation is left out with a warning."""
    found: dict[str, Any] = {}
    unknown: list[str] = []
    warnings: list[str] = []
    aliased: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = key if key in op.params else _canonical(key)
        if name in op.params:
            found[name] = value
        elif name in op.alias_of:
            aliased.append((name, value))
        elif op.open:
            found[key] = value
        elif name in spec.names:
            warnings.append(f"parameter '{name}' is not used by operation '{op.name}'")
        else:
            unknown.append(key)
    for alias, value in aliased:
        target = op.alias_of[alias]
        if target not in found:
            found[target] = value
        elif found[target] != value:
            message = f"'{alias}' is another name of '{target}', and the two differ: give one of them"
            raise violation(alias, message, keyword="alias")
    return found, unknown, warnings


def _takes_null(schema: Schema) -> bool:
    return not schema or schema.get("type") == "null" or any(_takes_null(branch) for branch in schema.get("anyOf", ()))


def _coerce(value: Any, schema: Schema, path: str, *, loose: bool, log: list[str]) -> Any:
    """Return `value` as its schema wants it, where that loses nothing; otherwise unchanged."""
    branches = schema.get("anyOf")
    if branches:
        kind = next((b for b in branches if b.get("type") != "null"), schema)
        return value if value is None or len(branches) > 2 else _coerce(value, kind, path, loose=loose, log=log)
    kind = schema.get("type")
    if kind == "integer" and type(value) is float and math.isfinite(value) and value == int(value):
        return int(value)
    if loose:
        changed = _from_model(value, kind)
        if changed is not MISSING:
            log.append(path)
            value = changed
    if kind == "array" and isinstance(value, list) and schema.get("items"):
        items = schema["items"]
        return [_coerce(item, items, f"{path}[{i}]", loose=loose, log=log) for i, item in enumerate(value)]
    if kind == "object" and isinstance(value, dict) and schema.get("properties"):
        known = schema["properties"]
        return {
            k: _coerce(v, known[k], f"{path}.{k}", loose=loose, log=log) if isinstance(known.get(k), dict) else v
            for k, v in value.items()
        }
    return value


def _from_model(value: Any, kind: Any) -> Any:
    """Return what a model meant by a value of the wrong type, MISSING when it is right or cannot be told."""
    if kind in ("integer", "number") and isinstance(value, str):
        return _number(value, kind)
    if kind == "boolean" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind in ("array", "object") and isinstance(value, str):
        parsed = parsed_json(value)
        if isinstance(parsed, list if kind == "array" else dict):
            return parsed
    if kind == "array" and not isinstance(value, list | dict) and value is not None:
        return [value]
    return MISSING


def _number(text: str, kind: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return MISSING
    if not math.isfinite(number):
        return MISSING
    if text.strip().lstrip("+-").isdigit():
        return int(text) if len(text) <= 40 else MISSING
    if kind == "integer":
        return int(number) if number.is_integer() else MISSING
    return number


def parsed_json(text: str) -> Any:
    """Return the value of a text that is one JSON value, MISSING otherwise."""
    import msgspec

    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return MISSING


def _errors(op: Op, values: dict[str, Any]) -> list[dict[str, Any]]:
    errors = []
    for name in op.required:
        if name not in values:
            who = op.label[:1].upper() + op.label[1:]
            message = f"Missing required parameter '{name}': {who} operation requires it"
            errors.append({"path": name, "keyword": "required", "message": message})
    binary = {param.name for param in op.convert if param.convert and param.convert.mark in ("bytes", "raw")}
    judged = {key: value for key, value in values.items() if key not in binary} if binary else values
    try:
        for error in op.validator.iter_errors(judged):
            if error.kind.name == "required" and not error.instance_path:
                continue
            path = _path(error.instance_path)
            message = error.message
            if error.kind.name == "enum":
                message = f"must be one of {', '.join(map(str, error.kind.options))}"
            errors.append({"path": path, "keyword": error.kind.name, "message": message[:500]})
            if len(errors) >= MAX_ERRORS:
                break
    except ValueError as problem:
        errors.append(_unjudged(judged, problem))
    return errors[:MAX_ERRORS]


def _unjudged(values: dict[str, Any], problem: ValueError) -> dict[str, Any]:
    """Name the value the validator could not even look at: binary text, or nesting without end."""
    for name, value in values.items():
        if isinstance(value, bytes):
            return {"path": name, "keyword": "type", "message": "the text is not valid UTF-8"}
    return {"path": "", "keyword": "type", "message": f"a value cannot be checked: {str(problem)[:200]}"}


def _path(parts: list[Any]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _unknown_error(spec: Spec, op: Op | None, name: str) -> dict[str, Any]:
    known = sorted(op.params if op is not None else spec.names)
    near = nearest(name[:80], known, limit=1)
    hint = f", did you mean '{near[0]}'?" if near else ""
    message = f"Unknown parameter '{name[:80]}' of tool '{spec.name}'{hint}"
    return {"path": name[:80], "keyword": "additionalProperties", "message": message}


def _refusal(spec: Spec, op: Op | None, errors: list[dict[str, Any]]) -> ValidationError:
    parts = []
    for error in errors[:3]:
        text = error["message"]
        named = error["keyword"] in ("required", "additionalProperties") or error["path"] == "operation"
        parts.append(text if named else f"Invalid parameter '{error['path']}': {text}")
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    details: dict[str, Any] = {"tool": spec.name, "field": errors[0]["path"], "errors": errors}
    if op is not None:
        details["operation"] = op.label
    return ValidationError(
        "; ".join(parts) + more, code="schema_violation", details=details, component=f"tool:{spec.name}"
    )


def base64_bytes(name: str, value: Any) -> bytes:
    """Return the bytes of a binary parameter: raw bytes as they are, text as base64."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise violation(name, "base64 text expected", keyword="type")
    try:
        return base64.b64decode("".join(value.split()).encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise violation(name, f"not valid base64: {error}", keyword="contentEncoding") from error


def typed(param: Param, value: Any) -> Any:
    """Return a value as the type its annotation names (Struct, dataclass, Enum, datetime, UUID)."""
    import msgspec

    convert = param.convert
    if convert is None:
        return value
    try:
        return msgspec.convert(value, convert.type)
    except msgspec.ValidationError as error:
        raise violation(param.name, str(error)) from error
