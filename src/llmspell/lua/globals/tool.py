"""`Tool`: tools by name, handles of them, and tools written in Lua. Results get their behaviour in `tool.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.errors import CancelledError, InvalidArgument, LLMSpellError, ToolError
from llmspell.lua.globals._base import Handle, Tagged, check_options, pick

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from typing import ClassVar

    from llmspell.app import App
    from llmspell.lua.globals._base import Function

_SPEC_KEYS = (
    "name",
    "description",
    "parameters",
    "schema",
    "output_schema",
    "category",
    "tags",
    "security_level",
    "level",
    "timeout_ms",
    "version",
    "execute",
    "handler",
)
_FILTER_KEYS = ("category", "tag", "capabilities", "security_level", "level", "query")
_LEVELS = ("safe", "restricted", "privileged")


class ToolMethods:
    """What a tool handle can do; its ident is the tool's canonical name."""

    aliases: ClassVar[dict[str, str]] = {"invoke": "execute", "call": "execute", "getSchema": "get_schema"}
    plain: ClassVar[bool] = True

    def __init__(self, app: App, lane: Any) -> None:
        self._lane = lane

    def execute(self, name: str, params: dict | None = None, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # contract: bare words
        """Run the tool."""
        return _execute(self._lane, name, params, options)

    async def try_(self, name: str, params: dict | None = None, options: dict | None = None) -> Tagged:  # type: ignore[type-arg]  # contract: bare words
        """Run the tool; nothing is raised."""
        return tagged(
            await self._lane.tools.try_call(name, params, self._lane.tools.nested(self._lane.context), options=options)
        )

    def get_schema(self, name: str) -> Any:
        """Return name, description, parameters and schemas."""
        return self._lane.tools.schema(name)

    def stats(self, name: str) -> Any:
        """Return the measured statistics."""
        return self._lane.tools.stats(name)

    def lookup(self, name: str, key: str) -> Any:
        """Return the live field `schema`, which is made only when asked for."""
        return self._lane.tools.schema(name) if key == "schema" else None


class Global:
    """See the module."""

    aliases: ClassVar[dict[str, str]] = {
        "invoke": "execute",
        "call": "execute",
        "executeAsync": "execute",
        "execute_async": "execute",
        "getInfo": "get_info",
        "getSchema": "get_schema",
        "metrics": "stats",
    }
    handles: ClassVar[dict[str, Any]] = {"tool": ToolMethods}
    plain: ClassVar[frozenset[str]] = frozenset({"execute", "try", "batch", "list", "discover"})

    def __init__(self, app: App, lane: Any) -> None:
        self._lane = lane

    @property
    def _tools(self) -> Any:
        return self._lane.tools

    @property
    def _context(self) -> Any:
        return self._lane.tools.nested(self._lane.context)

    def execute(self, name: str, params: dict | None = None, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # contract: bare words
        """Run a tool and return its result."""
        return _execute(self._lane, name, params, options)

    async def try_(self, name: str, params: dict | None = None, options: dict | None = None) -> Tagged:  # type: ignore[type-arg]  # contract: bare words
        """Run a tool; what `execute` would raise becomes a result with success=false."""
        return tagged(await self._tools.try_call(name, params, self._context, options=options))

    async def batch(self, ops: list, options: dict | None = None) -> list[Tagged]:  # type: ignore[type-arg]  # contract: bare words
        """Run many calls concurrently; results in order."""
        given = options or {}
        check_options(self._lane, given, ("max_concurrency", "fail_fast"), "Tool.batch")
        envelopes = await self._tools.batch(
            ops,
            self._context,
            max_concurrency=pick(given, "max_concurrency", default=8),
            fail_fast=bool(given.get("fail_fast", False)),
        )
        return [tagged(envelope) for envelope in envelopes]

    def list(self, filter: Any = None) -> Any:  # noqa: A002 - the documented name
        """Return handles of the tools that fit the filter, sorted by name."""
        if isinstance(filter, dict):
            check_options(self._lane, filter, _FILTER_KEYS, "Tool.list")
        elif filter is not None and not isinstance(filter, str):
            raise InvalidArgument(f"bad argument #1 to 'Tool.list' (table expected, got {_lua_type(filter)})")
        return [_handle(row) for row in self._tools.list(filter, self._context)]

    def discover(self, filter: Any = None) -> Any:  # noqa: A002 - the documented name
        """Return handles of the tools that fit category, tag, capabilities, security_level and query."""
        return self.list(filter)

    def get(self, name: str) -> Handle | None:
        """Return the handle of a tool, nil for an unknown one."""
        return self._named(name)

    def create(self, what: Any) -> Handle:
        """Return the handle of a tool by name, or register a spec."""
        if isinstance(what, dict):
            return self.register(what)
        if not isinstance(what, str):
            raise InvalidArgument(f"bad argument #1 to 'Tool.create' (string expected, got {_lua_type(what)})")
        handle = self._named(what)
        if handle is None:
            self._tools.catalog.require(what)
            raise ToolError(f"Tool '{what}' not found", code="not_found", details={"tool": what})
        return handle

    def exists(self, name: str) -> bool:
        """Tell whether there is such a tool."""
        return self._tools.catalog.resolve(name) is not None

    def is_available(self, name: str) -> bool:
        """Tell whether the tool exists, is enabled and may run here."""
        return bool(self._tools.available(name, self._context))

    def categories(self) -> Any:
        """Return all categories, sorted."""
        return self._tools.categories()

    def get_info(self, name: str) -> Any:
        """Return the entry with parameters, operations, limits and requires, nil for an unknown tool."""
        return self._tools.info(name, self._context)

    def get_schema(self, name: str) -> Any:
        """Return name, description, parameters and schemas, nil for an unknown tool."""
        return self._tools.schema(name)

    def register(self, name: Any, handler: Any = None, schema: Any = None) -> Handle:
        """Add a tool written in Lua: `(name, handler, schema?)` or one spec table."""
        spec = dict(name) if isinstance(name, dict) else {"name": name, "handler": handler, "parameters": schema}
        check_options(self._lane, spec, _SPEC_KEYS, "Tool.register")
        title = spec.get("name")
        if not isinstance(title, str):
            raise InvalidArgument(f"bad argument #1 to 'Tool.register' (string expected, got {_lua_type(title)})")
        function = pick(spec, "execute", "handler")
        if not callable(function):
            raise InvalidArgument(f"bad argument #2 to 'Tool.register' (function expected, got {_lua_type(function)})")
        level = pick(spec, "security_level", "level", default="safe")
        if level not in _LEVELS:
            raise InvalidArgument(f"security_level must be one of {', '.join(_LEVELS)}, got {level!r}")
        made = self._tools.register(
            title,
            _runner(function),
            pick(spec, "parameters", "schema"),
            description=_text(spec, "description", ""),
            category=_text(spec, "category", "custom"),
            version=_text(spec, "version", "1.0.0"),
            level=level,
            timeout_ms=_milliseconds(spec),
            tags=[str(tag) for tag in spec.get("tags") or ()],
            output_schema=spec.get("output_schema"),
        )
        return self._require(made.name)

    def unregister(self, name: str) -> bool:
        """Remove a tool written in Lua; false for an unknown one."""
        return bool(self._tools.unregister(name))

    def stats(self, name: str | None = None) -> Any:
        """Return the measured statistics of one tool, or of all that were called."""
        return self._tools.stats(name)

    def lookup(self, key: Any) -> Handle | None:
        """Return the tool of that name: `Tool.calculator`."""
        return self._named(key) if isinstance(key, str) else None

    def _named(self, name: str) -> Handle | None:
        resolved = self._tools.catalog.resolve(name)
        return None if resolved is None else self._require(resolved)

    def _require(self, name: str) -> Handle:
        return _handle(self._tools.row(name, self._context))


def _execute(lane: Any, name: str, params: dict[str, Any] | None, options: dict[str, Any] | None) -> Any:
    """Return the result of a quick tool; of any other what the crossing awaits."""
    tools = lane.tools
    begun = tools.begin(name, params, tools.nested(lane.context), options=options)
    return tagged(begun) if type(begun) is dict else _later(begun)


async def _later(begun: Awaitable[dict[str, Any]]) -> Tagged:
    return tagged(await begun)


def tagged(envelope: dict[str, Any]) -> Tagged:
    """Return the envelope as a Lua result: times and media beside it, behaviour from `tool.lua`.

    envelope: fresh from a call; the fields are added to it.
    """
    envelope["duration_ms"] = envelope["execution_time_ms"] = envelope["metadata"]["duration_ms"]
    if "media" not in envelope:
        envelope["media"] = []
    return Tagged("tool_result", envelope)


def _handle(row: Mapping[str, Any]) -> Handle:
    return Handle("tool", row["name"], fields=row)


def _runner(function: Function) -> Any:
    """Return a handler under which a stopped run counts as a cancelled call, not as a failed job."""

    async def run(params: dict[str, Any], ctx: dict[str, Any]) -> Any:
        try:
            return await function(params, ctx)
        except LLMSpellError:
            raise
        except Exception as error:
            raise CancelledError("the run was stopped") from error

    return run


def _text(spec: Mapping[str, Any], key: str, default: str) -> str:
    value = spec.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise InvalidArgument(f"field '{key}' of a tool must be a string, got {_lua_type(value)}")
    return value


def _milliseconds(spec: Mapping[str, Any]) -> int:
    value = spec.get("timeout_ms")
    if value is None:
        return 30_000
    if type(value) not in (int, float) or not 1 <= value <= 86_400_000:
        raise InvalidArgument("field 'timeout_ms' of a tool must be a number from 1 to 86400000")
    return int(value)


def _lua_type(value: Any) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str | bytes):
        return "string"
    return "table" if isinstance(value, dict | list) else "function"
