"""A tool as the registry holds it: functions and annotations compiled once into what a call needs.

Nothing here runs a tool. `compile_module` reads a tool's file, `compile_script` a tool registered at run time by a
script or a program; both give a `Spec` of `Op`s. Signatures are read from the code object, not by `inspect`, because
the first call of a tool pays for it.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any

from llmspell.base.registry import canonical
from llmspell.base.schema import Mark, P, Schema, schema_of
from llmspell.errors import InternalError
from llmspell.tools._base import Case, Operation, ToolContext, ToolHeader

RANK = {"safe": 0, "restricted": 1, "privileged": 2}
_COMMON_ALIASES = {
    "path": ("file", "file_path", "input_path", "source_path"),
    "target_path": ("output_path", "output_file", "destination"),
    "input": ("text", "content"),
}
_COROUTINE = 0x80
DEFAULT_TIMEOUT_MS = 30_000
MISSING: Any = object()


class Param:
    """One parameter of one operation: published as `name`, passed as `arg`."""

    __slots__ = ("aliases", "arg", "convert", "default", "description", "level", "name", "required", "schema", "secret")

    def __init__(self, arg: str, schema: Schema, default: Any, *, convert: Convert | None, p: P, level: str) -> None:
        self.arg = arg
        self.name = arg.rstrip("_")
        self.schema = schema
        self.default = default
        self.required = default is MISSING
        self.description = p.description
        self.aliases = tuple(alias.replace("-", "_") for alias in p.aliases)
        self.secret = p.secret
        self.level = level
        self.convert = convert

    @property
    def published(self) -> Schema:
        """The schema with its default."""
        if self.required or self.default is None:
            return self.schema
        return {**self.schema, "default": plain(self.default)}


class Convert:
    """How a checked value becomes what the function takes.

    mark: `path-r`, `path-w`, `path-d`, `bytes`, `raw`, `typed`, `url`. many: the value is a list of them.
    """

    __slots__ = ("many", "mark", "type")

    def __init__(self, mark: str, *, many: bool = False, to: Any = None) -> None:
        self.mark = mark
        self.many = many
        self.type = to


class Op:
    """One operation: how to check its parameters and how to run it."""

    def __init__(self, decl: Operation, params: list[Param], *, header: ToolHeader, single: bool) -> None:
        self.name = decl.name
        self.label = decl.label
        self.done = f"Operation '{decl.label}' completed successfully"
        self.aliases = decl.aliases
        self.fn = decl.fn
        self.single = single
        self.level: str = decl.level or header.level
        self.rank = RANK[self.level]
        self.text = decl.text if decl.text is not None else header.text
        self.timeout_ms = decl.timeout_ms
        self.hints = {**header.hints, **decl.hints}
        self.description = first_paragraph(decl.fn.__doc__)
        self.params = {param.name: param for param in params}
        self.required = tuple(param.name for param in params if param.required)
        inline = decl.inline if decl.inline is not None else header.inline
        code = getattr(decl.fn, "__code__", None)
        waits = code is None or bool(code.co_flags & _COROUTINE)
        self.mode = "async" if waits else "inline" if inline else "thread"
        self.wants_ctx = code is not None and "ctx" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self.open = False
        self.script = False
        self.convert = [param for param in params if param.convert]
        self.renamed = [param for param in params if param.arg != param.name]
        self.raising = [(param.name, RANK[param.level]) for param in params if RANK[param.level] > self.rank]
        self.integers = [param for param in params if _mentions_integer(param.schema)]

    @cached_property
    def alias_of(self) -> dict[str, str]:
        """Further parameter names: declared ones, then the common ones that are free."""
        found: dict[str, str] = {}
        for param in self.params.values():
            found.update({alias: param.name for alias in param.aliases if alias not in self.params})
        for name, aliases in _COMMON_ALIASES.items():
            if name in self.params:
                for alias in aliases:
                    if alias not in self.params:
                        found.setdefault(alias, name)
        return found

    @cached_property
    def schema(self) -> Schema:
        """The schema of this operation's own parameters."""
        return {
            "type": "object",
            "properties": {param.name: param.published for param in self.params.values()},
            "required": list(self.required),
            "additionalProperties": self.open,
        }

    @cached_property
    def validator(self) -> Any:
        """The compiled validator. Values are masked in its messages, because a value may be a secret."""
        checked = {**self.schema, "properties": {p.name: _checkable(p) for p in self.params.values()}}
        return compile_schema(checked)

    def info(self) -> dict[str, Any]:
        """Return what lists and manifests show."""
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "level": self.level,
            "description": self.description,
            "required": list(self.required),
        }


class Spec:
    """One tool."""

    def __init__(
        self, name: str, header: ToolHeader, ops: list[Op], *, description: str, source: str, single: bool
    ) -> None:
        self.name = name
        self.header = header
        self.aliases = header.aliases
        self.category = header.category
        self.description = description
        self.version = header.version
        self.timeout_ms = header.timeout_ms or DEFAULT_TIMEOUT_MS
        self.source = source
        self.single = single
        self.ops = {op.name: op for op in ops}
        self.level = min((op.level for op in ops), key=RANK.__getitem__)
        self.cases: tuple[Case, ...] = header.tests
        self.open = any(op.open for op in ops)
        self.default_op = ops[0] if single else self.ops.get(header.default or "")
        self.find_op = {key: op for op in ops for key in (*op.aliases, *(a.replace("-", "_") for a in op.aliases))}
        self.find_op.update({op.name: op for op in ops})
        if header.default is not None and self.default_op is None:
            raise InternalError(f"tool {name}: the default operation '{header.default}' does not exist")

    @cached_property
    def names(self) -> frozenset[str]:
        """All parameter names of all operations, with their aliases."""
        found = {"operation"}
        for op in self.ops.values():
            found.update(op.params, op.alias_of)
        return frozenset(found)

    @cached_property
    def input_schema(self) -> Schema:
        """The published schema: one flat object, whatever the number of operations."""
        if self.single:
            return self.default_op.schema if self.default_op else {"type": "object"}
        operation: Schema = {"type": "string", "enum": list(self.ops), "description": "What to do"}
        if self.default_op is not None:
            operation["default"] = self.default_op.name
        merged: dict[str, Schema] = {"operation": operation}
        for name in dict.fromkeys(name for op in self.ops.values() for name in op.params):
            merged[name] = self._merged(name)
        if self.header.options:
            words = "Parameters of the operation; they are also accepted beside it"
            merged["options"] = {"type": "object", "description": words}
        required = [] if self.default_op is not None else ["operation"]
        everywhere = [n for n in merged if n != "options" and all(n in op.required for op in self.ops.values())]
        return {
            "type": "object",
            "properties": merged,
            "required": required + everywhere,
            "additionalProperties": False,
        }

    def _merged(self, name: str) -> Schema:
        """Join what the operations say about one parameter; differing types become `anyOf`."""
        users = [op for op in self.ops.values() if name in op.params]
        bare: list[Schema] = []
        for op in users:
            schema = {k: v for k, v in op.params[name].published.items() if k not in ("description", "default")}
            if schema not in bare:
                bare.append(schema)
        described = next((op.params[name].description for op in users if op.params[name].description), "")
        prefix = "" if len(users) == len(self.ops) else f"[{', '.join(op.name for op in users)}] "
        schema = dict(bare[0]) if len(bare) == 1 else {} if {} in bare else {"anyOf": bare}
        defaults = [op.params[name].published.get("default", MISSING) for op in users]
        if defaults[0] is not MISSING and all(default == defaults[0] for default in defaults):
            schema["default"] = defaults[0]
        if prefix or described:
            schema["description"] = f"{prefix}{described}".strip()
        return schema

    @cached_property
    def output_schema(self) -> Schema | None:
        """The schema of `result`, if the function states one."""
        if not self.single or self.default_op is None:
            return None
        hints = getattr(self.default_op.fn, "__annotations__", {})
        if "return" not in hints:
            return None
        returned = _hints(self.default_op.fn).get("return")
        try:
            return schema_of(returned) or None
        except InternalError:
            return None

    @cached_property
    def schema_hash(self) -> str:
        """blake3 of the canonical JSON of name, description and input_schema."""
        import blake3
        import msgspec

        text = msgspec.json.encode([self.name, self.description, self.input_schema], order="deterministic")
        digest: str = blake3.blake3(text).hexdigest()
        return digest

    def parameters(self) -> list[dict[str, Any]]:
        """Return one plain record per parameter of the published schema."""
        required = self.input_schema.get("required", [])
        rows = []
        for name, schema in self.input_schema.get("properties", {}).items():
            row = {
                "name": name,
                "type": type_word(schema),
                "description": schema.get("description", ""),
                "required": name in required,
            }
            row.update({key: schema[key] for key in ("default", "enum") if key in schema})
            rows.append(row)
        return rows

    def entry(self) -> dict[str, Any]:
        """Return the manifest entry: everything lists, searches and `info` show."""
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "category": self.category,
            "level": self.level,
            "description": self.description,
            "version": self.version,
            "tags": list(self.header.tags),
            "operations": [] if self.single else [op.info() for op in self.ops.values()],
            "parameters": self.parameters(),
            "needs": list(self.header.needs),
            "extra": self.header.extra,
            "timeout_ms": self.timeout_ms,
            "source": self.source,
        }


def compile_module(module: ModuleType, *, source: str) -> list[Spec]:
    """Return the tools of one file. Raises InternalError when it holds none."""
    header = getattr(module, "TOOL", None)
    stem = module.__name__.rpartition(".")[2]
    marked = [fn for fn in vars(module).values() if hasattr(fn, "__operation__") and fn.__module__ == module.__name__]
    if isinstance(header, ToolHeader):
        ops = [_compile_op(fn.__operation__, header, single=False) for fn in marked if not hasattr(fn, "__tool__")]
        if not ops:
            raise InternalError(f"{module.__name__} has a TOOL header but no @operation function")
        description = header.description or first_paragraph(module.__doc__)
        return [Spec(canonical(stem), header, ops, description=description, source=source, single=False)]
    specs = []
    for fn in marked:
        if hasattr(fn, "__tool__"):
            op = _compile_op(fn.__operation__, fn.__tool__, single=True)
            description = fn.__tool__.description or op.description
            specs.append(Spec(op.name, fn.__tool__, [op], description=description, source=source, single=True))
    if not specs:
        raise InternalError(f"{module.__name__} holds no tool: it needs a @tool function or a TOOL header")
    return specs


def compile_script(
    name: str,
    fn: Callable[..., Any],
    schema: Mapping[str, Any] | None,
    *,
    header: ToolHeader,
    output_schema: Schema | None = None,
) -> Spec:
    """Return a tool which takes `(params, ctx)`; a JSON Schema describes its parameters, None admits any."""
    schema = schema or {}
    required = set(schema.get("required") or ())
    params = []
    for key, sub in (schema.get("properties") or {}).items():
        rest = dict(sub) if isinstance(sub, Mapping) else {}
        default = MISSING if key in required else rest.get("default")
        p = P(str(rest.get("description", "")))
        param = Param(key, rest, default, convert=None, p=p, level="safe")
        param.name = key
        params.append(param)
    op = Op(Operation(name, fn), params, header=header, single=True)
    op.mode, op.wants_ctx, op.script = "async", True, True
    op.open = schema.get("additionalProperties", True) is not False
    if schema:
        # The whole schema is checked, with what it says beyond properties.
        op.__dict__["schema"] = {**schema, "required": list(op.required)}
    spec = Spec(name, header, [op], description=header.description, source="script", single=True)
    spec.__dict__["output_schema"] = output_schema
    return spec


def compile_schema(schema: Schema) -> Any:
    """Return a validator that follows no reference outside the schema and gives up on patterns that backtrack."""
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(
        schema,
        mask="value",
        validate_formats=True,
        retriever=_refuse_reference,
        pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000),
    )


def _refuse_reference(uri: str) -> Any:
    raise ValueError(f"references outside the schema are not followed ({uri})")


def first_paragraph(doc: str | None) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join((doc or "").strip().split("\n\n")[0].split())


def type_word(schema: Schema) -> str:
    """Return one word for a schema's type: the JSON one, `any` when everything fits."""
    if "type" in schema:
        return str(schema["type"])
    words = [str(branch.get("type", "any")) for branch in schema.get("anyOf", ()) if branch.get("type") != "null"]
    return "|".join(dict.fromkeys(words)) or "any"


def plain(value: Any) -> Any:
    """Return a default as plain data: tuples become lists, enum members their value."""
    if isinstance(value, tuple | list | frozenset | set):
        return [plain(item) for item in value]
    return getattr(value, "value", value)


def _hints(fn: Any) -> dict[str, Any]:
    names = {"ToolContext": ToolContext, "Any": Any}
    return typing.get_type_hints(fn, {**names, **fn.__globals__}, include_extras=True)


def _compile_op(decl: Operation, header: ToolHeader, *, single: bool) -> Op:
    fn = decl.fn
    code = fn.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    positional = fn.__defaults__ or ()
    defaults = dict(zip(names[code.co_argcount - len(positional) : code.co_argcount], positional, strict=True))
    defaults.update(fn.__kwdefaults__ or {})
    hints = _hints(fn)
    params = [_compile_param(name, hints[name], defaults.get(name, MISSING)) for name in names if name != "ctx"]
    return Op(decl, params, header=header, single=single)


def _compile_param(arg: str, annotation: Any, default: Any) -> Param:
    inner, extras = _unwrap(annotation)
    p = next((extra for extra in extras if isinstance(extra, P)), P())
    convert = _convert_of(inner, extras)
    level = p.level or "safe"
    if convert and convert.mark not in ("bytes", "raw", "typed") and level == "safe":
        level = "restricted"
    return Param(arg, schema_of(annotation), default, convert=convert, p=p, level=level)


def _unwrap(annotation: Any) -> tuple[Any, list[Any]]:
    extras: list[Any] = []
    while typing.get_origin(annotation) is typing.Annotated:
        annotation, *more = typing.get_args(annotation)
        extras.extend(more)
    return annotation, extras


def _convert_of(annotation: Any, extras: list[Any]) -> Convert | None:
    mark = next((extra for extra in extras if isinstance(extra, Mark)), None)
    if mark is not None:
        return Convert(mark.kind)
    origin = typing.get_origin(annotation)
    if origin is list:
        inner, more = _unwrap(typing.get_args(annotation)[0])
        found = _convert_of(inner, more)
        return Convert(found.mark, many=True, to=annotation) if found else None
    if origin is not None and origin not in (dict, typing.Literal):
        args = typing.get_args(annotation)
        if str in args and bytes in args:
            return Convert("raw")
        branches = [_unwrap(arg) for arg in args if arg is not type(None)]
        found = next(filter(None, (_convert_of(inner, more) for inner, more in branches)), None)
        return found if len(branches) == 1 else None
    if annotation is bytes:
        return Convert("bytes")
    if isinstance(annotation, type) and annotation not in (str, int, float, bool, list, dict, object):
        return Convert("typed", to=annotation)
    return None


def _mentions_integer(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return schema.get("type") == "integer" or any(_mentions_integer(value) for value in schema.values())
    return isinstance(schema, list) and any(_mentions_integer(item) for item in schema)


def _checkable(param: Param) -> Schema:
    """Leave out of a schema what the validator must not judge: raw bytes stand where base64 text is published."""
    if param.convert is not None and param.convert.mark in ("bytes", "raw"):
        return {}
    return param.schema
