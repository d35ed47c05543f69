"""The contract of a Lua global: one file `globals/<name>.py` with one class `Global`, and optional `<name>.lua`.

    class Global:
        aliases = {"getInfo": "get_info"}                 # further name -> method
        handles = {"agent": AgentMethods}                 # kind of handle -> class of its methods
        constants = {"null": None}                        # plain fields of the table

        def __init__(self, app: App, lane: Lane) -> None: ...
        def get(self, key: str, default: Any = None) -> Any: ...        # synchronous method
        async def sleep(self, ms: float) -> None: ...                   # awaiting method: suspends the script
        def lookup(self, key: str) -> Any: ...                          # optional: fields unknown to the table

Every public method becomes a function of the table, callable as `G.f(...)` and `G:f(...)`. A trailing underscore in
a Python name is dropped (`try_` is `try`). Arguments and results are plain data by the one converter:

    Lua                               Python
    nil, JSON.null                    None
    boolean, integer, float           bool, int, float
    string                            str when valid UTF-8, else bytes
    table 1..n                        list
    other table, `{}`                 dict with string keys
    function                          Function (an async callable)
    API handle                        str: its id or name

A missing trailing argument takes the Python default. A parameter annotated `str`, `int`, `float`, `bool`, `dict`,
`list`, `Function`, or one of these `| None`, is checked before the call: "bad argument #2 to 'State.set' (string
expected, got table)". An empty table fits `list`, `float` takes integers, `str` takes numbers. Anything else takes
any value. A parameter `*args` takes the rest. Annotations must be those words, textually (`from __future__ import
annotations`).

Results: plain data; a `tuple` gives several results; `Handle` and `Tagged` give tables with behaviour; an awaitable
suspends the script until it is done. Errors: raise anything from `llmspell.errors`. `Function` results come back as
plain data; `await fn(...)` gives the first result (None if there is none), `await fn.many(...)` gives all as a list.
A Lua error inside a Function is raised as LuaError and crosses back into Lua unchanged, whatever its value was.

A class of handle methods is built from `(app, lane)` too; its methods take the handle's id first. `lookup(id, key)`,
if there, answers live fields. `aliases` works as above.

`<name>.lua`, if there, runs once after the table is made, with the locals `api, lib`: `api` is the raw table of
methods (add to it freely), `lib` the prelude's library: lib.handle_methods(kind) -> raw method table of that kind,
lib.metatable(tag, mt) sets the metatable of Tagged values of that tag, lib.array(t) tags an array, lib.null,
lib.is_callable(v), lib.check(value, type, index, name), lib.raise(kind, message, details), lib.stream(next, close)
-> Stream whose items come from calling next() until nil, lib.builder(setters, build) -> builder object,
lib.global(name) -> another API table.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Protocol

    class Function(Protocol):
        """A Lua function as an async callable; calling it runs a further coroutine of the same Lua state."""

        async def __call__(self, *args: Any) -> Any:
            """Return the first result as plain data, None without one."""
            ...

        async def many(self, *args: Any) -> list[Any]:
            """Return all results as plain data."""
            ...

        def sync(self, *args: Any, message: str = ...) -> list[Any]:
            """Return all results as plain data; raises StorageError(message) when the function waits."""
            ...


class Handle:
    """A table with methods that stands for one object; one object has one handle, so `==` works in Lua.

    kind: a key of some global's `handles`. ident: what the methods get. text: of `tostring`, default `ident`.
    fields: plain fields of the table, set when the handle is first made and refreshed each time it is returned.
    """

    __slots__ = ("fields", "ident", "kind", "text")

    def __init__(
        self, kind: str, ident: str, *, text: str | None = None, fields: Mapping[str, Any] | None = None
    ) -> None:
        self.kind = kind
        self.ident = ident
        self.text = ident if text is None else text
        self.fields = dict(fields or {})


class Tagged:
    """A plain value whose table gets the metatable of `tag` in Lua.

    Built-in tags: `result` (`tostring` and `..` give `text`, else the error; `error` inside gives its message).
    """

    __slots__ = ("tag", "value")

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag
        self.value = value


def pick(options: Mapping[str, Any], *names: str, default: Any = None) -> Any:
    """Return the first option present (and not None) under any of `names`: canonical name first, then aliases."""
    for name in names:
        value = options.get(name)
        if value is not None:
            return value
    return default


def unknown_keys(options: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """Return a sentence for each unknown key, with the nearest known one."""
    from llmspell.base.registry import nearest

    names = set(known)
    sentences = []
    for key in options:
        if key not in names:
            near = nearest(key, sorted(names), limit=1)
            sentences.append(f"unknown option '{key}'" + (f", did you mean '{near[0]}'?" if near else ""))
    return sentences


def check_options(lane: Any, options: Mapping[str, Any], known: Iterable[str], where: str, site: str = "") -> None:
    """Warn of each unknown key once per call site of an interpreter; with `engines.lua.strict` raise ValidationError.

    where: the function, `Tool.list`. site: the place of the call, when the caller knows it.
    """
    if all(key in known for key in options):
        return
    sentences = unknown_keys(options, known)
    if lane.config.engines.lua.strict:
        from llmspell.errors import ValidationError

        raise ValidationError(f"{where}: {sentences[0]}", code="unknown_option", details={"field": where})
    seen: set[tuple[str, str, str]] = lane.__dict__.setdefault("warned_options", set())
    fresh = [sentence for sentence in sentences if (where, site, sentence) not in seen]
    if len(seen) < 1000:
        seen.update((where, site, sentence) for sentence in fresh)
        for sentence in fresh:
            lane.debug.log("warn", f"{site}: {where}: {sentence}" if site else f"{where}: {sentence}", "lua")
