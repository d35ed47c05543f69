"""The table of all keys, read from the annotations of the model: lookup, checks of one value, building the tree.

Everything that lists configuration (environment names, JSON Schema, commented file, errors) is generated from here.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from llmspell.config import model
from llmspell.config.secrets import is_secret_name, mask_url
from llmspell.config.secrets import mask as mask_value

ANY_NAME = "*"
# section -> field that holds its named tables
NAMED = {"providers": "defined", "tools": "options"}


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One key. `path` has `*` for a name the user chooses; `type` is what the value must be."""

    path: str
    type: Any
    default: Any
    text: str
    secret: bool = False
    choices: tuple[str, ...] = ()
    kind: str = "string"

    @property
    def unit(self) -> str | None:
        """Unit of numbers, from the key's name: ms, s, MiB or bytes."""
        return unit_of(self.path)


def unit_of(path: str) -> str | None:
    """Return the unit the name of a key states: `ms`, `s`, `MiB`, `bytes`, or None."""
    name = path.rpartition(".")[2]
    if name.endswith("_ms"):
        return "ms"
    if name.endswith("_mb"):
        return "MiB"
    if name.endswith(("_seconds", "_secs")) or (name.endswith("timeout") and "." in path):
        return "s"
    sizes = ("max_size", "max_file_size", "max_request_size", "max_response_size", "max_header_size")
    return "bytes" if name.endswith("_bytes") or name in sizes else None


def key_of(cls: type, field: str) -> str:
    """Return the key of a field within its section: `retry_max_delay_ms` of group `retry` is `retry.max_delay_ms`."""
    for group in getattr(cls, "groups", ()):
        flat = group.replace(".", "_") + "_"
        if field.startswith(flat):
            return f"{group}.{field[len(flat) :]}"
    return field


@cache
def keys() -> dict[str, Key]:
    """Return all keys by path, in the order of the file."""
    found: dict[str, Key] = {}
    _collect(model.Config, "", found)
    return found


@cache
def sections() -> frozenset[str]:
    """Return the paths of all tables, with `*` for named ones."""
    found = {"providers.*", "tools.*"}
    for path in keys():
        while "." in path:
            path = path.rpartition(".")[0]
            found.add(path)
    return frozenset(found)


def _collect(cls: type, prefix: str, found: dict[str, Key]) -> None:
    hints = get_type_hints(cls, include_extras=True)
    for info in msgspec.structs.fields(cls):
        path = f"{prefix}{key_of(cls, info.name)}"
        hint = hints[info.name]
        if prefix == "providers." and info.name == "defined":
            _collect(model.Provider, "providers.*.", found)
        elif path in ("tools.options", "origins"):
            continue
        elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            _collect(hint, f"{path}.", found)
        else:
            default = info.default if info.default is not msgspec.NODEFAULT else info.default_factory()
            found[path] = _key(path, hint, default)


def _key(path: str, hint: Any, default: Any) -> Key:
    base, meta = hint.__origin__, hint.__metadata__[0]
    extra = meta.extra or {}
    members = _members(base)
    # msgspec takes bounds on a number, not on "number or none"
    kind: Any = Annotated[base, meta] if members == [base] else Annotated[members[0], meta] | None
    return Key(
        path=path,
        type=kind,
        default=default,
        text=meta.description,
        secret=bool(extra.get("secret")),
        choices=_choices(base),
        kind=_kind(base),
    )


def _members(base: Any) -> list[Any]:
    if get_origin(base) in (Union, types.UnionType):
        return [item for item in get_args(base) if item is not type(None)]
    return [base]


def _choices(base: Any) -> tuple[str, ...]:
    return tuple(value for item in _members(base) if get_origin(item) is Literal for value in get_args(item))


def _kind(base: Any) -> str:
    item = _members(base)[0]
    origin = get_origin(item)
    if origin is Literal:
        return "enum"
    if origin in (tuple, dict):
        return "array" if origin is tuple else "table"
    return {bool: "boolean", int: "integer", float: "number", str: "string"}[item]


def find(path: str) -> Key | None:
    """Return the key at `path` (`providers.openai.api_key` finds `providers.*.api_key`), or None."""
    table = keys()
    if path in table:
        return table[path]
    head, _, rest = path.partition(".")
    if head in NAMED and "." in rest:
        return table.get(f"{head}.{ANY_NAME}.{rest.partition('.')[2]}")
    return None


def is_section(path: str) -> bool:
    """Return whether a table may stand at `path`."""
    if path in sections():
        return True
    head, _, rest = path.partition(".")
    if head not in NAMED or not rest:
        return False
    deeper = rest.partition(".")[2]
    return not deeper or f"{head}.{ANY_NAME}.{deeper}" in sections()


def is_secret(path: str) -> bool:
    """Return whether the value at `path` is masked: marked so, or of a secret name."""
    key = find(path)
    return bool(key and key.secret) or is_secret_name(path.rpartition(".")[2])


def build(values: dict[str, Any]) -> model.Config:
    """Return the tree of checked `values` by full path; what is absent has its default."""
    tree: Any = _build(model.Config, "", values)
    return tree  # type: ignore[no-any-return]  # _build makes any section class


def _build(cls: type, prefix: str, values: dict[str, Any]) -> Any:
    changes: dict[str, Any] = {}
    for info in msgspec.structs.fields(cls):
        path = f"{prefix}{key_of(cls, info.name)}"
        if path in values:
            changes[info.name] = values[path]
        elif path in ("providers.defined", "tools.options"):
            changes[info.name] = _named(prefix, values)
        elif isinstance(info.default, msgspec.Struct) and any(other.startswith(f"{path}.") for other in values):
            changes[info.name] = _build(type(info.default), f"{path}.", values)
    return cls(**changes)


def _named(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    names: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        head, _, rest = path.removeprefix(prefix).partition(".")
        if path.startswith(prefix) and rest and path not in keys():
            names.setdefault(head, {})[rest] = value
    if prefix == "tools.":
        return names
    return {name: _build(model.Provider, "", found) for name, found in sorted(names.items())}


def to_plain(tree: Any, *, mask: bool | Callable[[Any], Any] = True) -> dict[str, Any]:
    """Return a section as plain data in the form of the file. mask: False, True, or what to show for a secret."""
    shown = mask_value if mask is True else mask or None
    result: dict[str, Any] = {}
    for name in tree.__struct_fields__:
        value = getattr(tree, name)
        if name == "origins":
            continue
        if name in ("defined", "options") and type(tree) in (model.Providers, model.Tools):
            result |= {entry: {**result.get(entry, {}), **_plain(table, shown)} for entry, table in value.items()}
            continue
        *groups, last = key_of(type(tree), name).split(".")
        target = result
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = _plain_at(last, value, shown)
    return result


def value_at(config: model.Config, path: str = "", default: Any = None, *, mask: bool = True) -> Any:
    """Return the value or table at the dotted `path` as plain data, `default` where there is none."""
    value: Any = to_plain(config, mask=mask)
    for part in path.split(".") if path else ():
        if not isinstance(value, dict) or part not in value:
            return default
        value = value[part]
    return value


def _plain(value: Any, shown: Callable[[Any], Any] | None) -> Any:
    if isinstance(value, msgspec.Struct):
        return to_plain(value, mask=shown or False)
    if isinstance(value, dict):
        return {name: _plain_at(str(name), item, shown) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, shown) for item in value]
    return mask_url(value) if shown and isinstance(value, str) else value


def _plain_at(name: str, value: Any, shown: Callable[[Any], Any] | None) -> Any:
    if shown and is_secret_name(name) and isinstance(value, (str, list, tuple)):
        return shown(value) if isinstance(value, str) else [shown(item) for item in value]
    return _plain(value, shown)


def with_value(tree: Any, path: str, value: Any) -> Any:
    """Return a copy of a section with the checked `value` at `path` within it."""
    from msgspec.structs import replace

    for name in tree.__struct_fields__:
        key = key_of(type(tree), name)
        if key == path:
            return replace(tree, **{name: value})
        inner = getattr(tree, name)
        if path.startswith(f"{key}.") and isinstance(inner, msgspec.Struct):
            return replace(tree, **{name: with_value(inner, path[len(key) + 1 :], value)})
    entry, _, rest = path.partition(".")
    if isinstance(tree, model.Providers):
        table = with_value(tree.defined.get(entry, model.Provider()), rest, value)
        return replace(tree, defined={**tree.defined, entry: table})
    if isinstance(tree, model.Tools):
        return replace(tree, options={**tree.options, entry: {**tree.options.get(entry, {}), rest: value}})
    raise KeyError(path)
