"""Differences of two JSON values: a flat list for people and scripts, and the RFC 6902 patch for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmspell.base.jsontext import child_path, dumps
from llmspell.errors import InvalidArgument, ValidationError

ABSENT: Any = object()


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal as JSON: numbers by value, booleans only to booleans."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(item, b[key]) for key, item in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def differences(a: Any, b: Any, path: str = "$") -> list[dict[str, Any]]:
    """Return `{path, description, left, right, kind}` per difference; kind is added, removed, changed or type."""
    return [
        {
            "path": where,
            "description": _describe(kind, where, left, right),
            **({} if left is ABSENT else {"left": left}),
            **({} if right is ABSENT else {"right": right}),
            "kind": kind,
        }
        for where, kind, left, right in _compare(a, b, path)
    ]


def patch(a: Any, b: Any) -> list[dict[str, Any]]:
    """Return the RFC 6902 operations which turn `a` into `b`."""
    return list(_operations(a, b, ""))


def apply_patch(value: Any, operations: list[Any]) -> Any:
    """Return a copy of `value` with the RFC 6902 operations applied, all or none.

    Raises ValidationError with details.operation, the 0-based index of the one that failed.
    """
    import copy

    result = copy.deepcopy(value)
    for index, operation in enumerate(operations):
        try:
            result = _apply(result, operation)
        except (ValidationError, KeyError, TypeError) as error:
            reason = error.message if isinstance(error, ValidationError) else "it is not a patch operation"
            raise ValidationError(
                f"operation {index} failed: {reason}", code="patch_failed", details={"operation": index}
            ) from error
    return result


def tokens(pointer: str) -> list[str]:
    """Return the unescaped parts of a JSON pointer. Source: RFC 6901."""
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise InvalidArgument(f"a JSON pointer is empty or starts with '/', got {pointer!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _compare(a: Any, b: Any, path: str) -> Iterator[tuple[str, str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            yield from _member(a.get(key, ABSENT), b.get(key, ABSENT), child_path(path, key))
    elif isinstance(a, list) and isinstance(b, list):
        for index in range(max(len(a), len(b))):
            left = a[index] if index < len(a) else ABSENT
            right = b[index] if index < len(b) else ABSENT
            yield from _member(left, right, child_path(path, index))
    elif not same(a, b):
        yield path, "changed" if _kind(a) == _kind(b) else "type", a, b


def _member(left: Any, right: Any, path: str) -> Iterator[tuple[str, str, Any, Any]]:
    if left is ABSENT:
        yield path, "added", left, right
    elif right is ABSENT:
        yield path, "removed", left, right
    else:
        yield from _compare(left, right, path)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "string"


def _describe(kind: str, path: str, left: Any, right: Any) -> str:
    if kind == "added":
        return f"{path} added: {_short(right)}"
    if kind == "removed":
        return f"{path} removed: {_short(left)}"
    return f"{path} changed from {_short(left)} to {_short(right)}"


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, bytes) else dumps(value, nan="null")
    return text if len(text) <= 60 else text[:57] + "..."


def _escape(key: str | int) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _operations(a: Any, b: Any, at: str) -> Iterator[dict[str, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() - b.keys()):
            yield {"op": "remove", "path": f"{at}/{_escape(key)}"}
        for key in sorted(b):
            if key in a:
                yield from _operations(a[key], b[key], f"{at}/{_escape(key)}")
            else:
                yield {"op": "add", "path": f"{at}/{_escape(key)}", "value": b[key]}
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _operations(left, right, f"{at}/{index}")
    elif not same(a, b):
        yield {"op": "replace", "path": at, "value": b}


def _apply(value: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], tokens(operation["path"])
    if kind == "test":
        if not same(_get(value, path), operation["value"]):
            raise ValidationError(f"the value at {operation['path']!r} is another one")
        return value
    if kind == "remove":
        return _remove(value, path)
    if kind == "replace":
        _get(value, path)
        return _put(value, path, operation["value"], replace=True)
    if kind == "add":
        return _put(value, path, operation["value"])
    if kind in ("move", "copy"):
        import copy

        source = tokens(operation["from"])
        moved = copy.deepcopy(_get(value, source))
        if kind == "move":
            if path[: len(source)] == source and len(path) > len(source):
                raise ValidationError("a value cannot be moved into itself")
            value = _remove(value, source)
        return _put(value, path, moved)
    raise ValidationError(f"unknown operation {kind!r}")


def _step(holder: Any, part: str, *, end: bool = False) -> Any:
    """Return the key or index that `part` means in `holder`; with `end` the place after the last item counts."""
    if isinstance(holder, dict):
        return part
    if isinstance(holder, list):
        if end and part == "-":
            return len(holder)
        if part.isascii() and part.isdigit() and (part == "0" or part[0] != "0") and len(part) < 10:
            index = int(part)
            if index < len(holder) + end:
                return index
    raise ValidationError(f"there is nothing at {part!r}")


def _get(value: Any, path: list[str]) -> Any:
    for part in path:
        key = _step(value, part)
        if isinstance(value, dict) and key not in value:
            raise ValidationError(f"there is nothing at {part!r}")
        value = value[key]
    return value


def _put(value: Any, path: list[str], item: Any, *, replace: bool = False) -> Any:
    if not path:
        return item
    holder = _get(value, path[:-1])
    key = _step(holder, path[-1], end=not replace)
    if isinstance(holder, list) and not replace:
        holder.insert(key, item)
    else:
        holder[key] = item
    return value


def _remove(value: Any, path: list[str]) -> Any:
    if not path:
        return None
    holder = _get(value, path[:-1])
    _get(holder, path[-1:])
    del holder[_step(holder, path[-1])]
    return value
