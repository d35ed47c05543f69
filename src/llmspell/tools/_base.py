"""The contract of a tool: one file, one or more typed functions, nothing else to edit.

One operation. The function's name is the tool's name (`greeter`; `_` is written `-`), the first paragraph of its
docstring the description, its annotations the schema:

    from __future__ import annotations
    from typing import Annotated, Any, Literal
    from llmspell.tools._base import Case, P, tool

    @tool(
        category="utility", level="safe", aliases=("hello",), timeout_ms=5_000, inline=True, text="greeting",
        tests=(Case("greets", {"name": "Ann"}, {"result": {"greeting": "Hello, Ann"}}),),
    )
    def greeter(
        name: Annotated[str, P("Who to greet", min_length=1, max_length=200, aliases=("who",))],
        style: Annotated[Literal["plain", "loud"], P("How")] = "plain",
    ) -> dict[str, Any]:
        '''Greet somebody.'''
        greeting = f"Hello, {name}"
        return {"greeting": greeting.upper() if style == "loud" else greeting}

Several operations. The module constant `TOOL` is the header, the file's name the tool's name, the first paragraph
of the module's docstring the description; every `@operation` function is one operation:

    TOOL = ToolHeader(category="filesystem", level="restricted", default="read", needs=("files",), tests=(...))

    @operation("read", aliases=("cat",), text="content", read_only=True)
    def read(
        path: Annotated[ReadPath, P("File to read")],
        limit: Annotated[int | None, P("At most so many bytes", ge=0)] = None,
        *, ctx: ToolContext,
    ) -> dict[str, Any]:
        '''Read a file.'''
        with ctx.security.open(path, "rb") as file: ...
        if too_large:
            raise ToolFailure("too_large", "big.bin has 90 MB: the limit is 50 MB", {"size": size, "limit": limit})
        return Result({"content": text, "size": len(data)}, metadata={"file_path": str(path), "file_size": len(data)})

Parameters. A parameter without default is required. A name ending in `_` (`from_`, `with_`) is published without it.
Types are those of `llmspell.base.schema`, and ReadPath, WritePath, DirPath (strings outside; the function gets the
`pathlib.Path` that `security.resolve` approved, and opens it through `ctx.security`), Url (a string; the network
client judges it when it is used) and Bytes (base64 text outside, or Lua's raw bytes; the function gets `bytes`).
`str | bytes` takes text, or raw bytes of Lua, as they are; plain `str` is always valid UTF-8. All of them also inside
`list[...]` and `... | None`. A given path or Url makes the call at least `restricted`; `P(level=...)` does the same
for any parameter whose value is not None or False. `ctx` is optional and never published.

The same parameter in several operations may differ in type and default: each call is checked against its own
operation. Common aliases are added where they are free: file, file_path, input_path, source_path -> path;
output_path, output_file, destination -> target_path; text, content -> input.

How a function runs. `async def` is awaited on the loop: for what waits (network, child processes). A plain function
runs on a worker thread; with `inline=True` it runs at once on the loop's thread while its input is small (64 KiB),
which is right for pure computing under 2 ms. The deadline is enforced from outside for async and threaded calls; a
long loop asks `ctx.check()` now and then, which raises when time is up.

Answers. Return the `result` value, or `Result(value, message=, text=, metadata=, operation=)`. `text="key"` in a header
or operation names the field of a dict result which is the tool's primary text. A job that ran and failed raises
`ToolFailure(code, message, details)`: the envelope has success=false. Other errors of `llmspell.errors` also become
success=false with their own kind, except SecurityError, CancelledError and `violation(...)`, which are raised to the
caller: use `violation` for an argument which the schema could not judge (bad base64, unknown time zone).

Levels. safe: pure computation. restricted: confined file, network, process access. privileged: effects which cannot
be confined or undone. The header's level is the default of the operations.

A Case is an offline self-test: the call validates, and the envelope contains `expect` (dicts by key, lists by item,
floats to 1e-9). Each runs in a fresh working directory, where relative paths resolve; `files={"a.txt": "text"}` are
written there first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from llmspell.base.clock import monotonic
from llmspell.base.schema import Mark, P
from llmspell.errors import InternalError, ToolError, ValidationError
from llmspell.errors import TimeoutError as OutOfTime

if TYPE_CHECKING:
    from llmspell.base.context import Context
    from llmspell.net import HttpClient
    from llmspell.security import Security
    from llmspell.state import StateStore

__all__ = [
    "CATEGORIES",
    "Bytes",
    "Case",
    "DirPath",
    "Operation",
    "P",
    "ReadPath",
    "Result",
    "ToolContext",
    "ToolFailure",
    "ToolHeader",
    "Url",
    "WritePath",
    "operation",
    "tool",
    "violation",
]

Level = Literal["safe", "restricted", "privileged"]
F = TypeVar("F", bound=Callable[..., Any])

CATEGORIES = ("communication", "data", "document", "filesystem", "media", "state", "system", "utility", "web")

ReadPath = Annotated[Path, Mark("path-r")]
WritePath = Annotated[Path, Mark("path-w")]
DirPath = Annotated[Path, Mark("path-d")]
Url = Annotated[str, Mark("url")]
Bytes = bytes


class Case:
    """One offline self-test: a call, and what its envelope must contain."""

    __slots__ = ("expect", "files", "name", "params")

    def __init__(
        self,
        name: str,
        params: Mapping[str, Any],
        expect: Mapping[str, Any],
        files: Mapping[str, str | bytes] | None = None,
    ) -> None:
        self.name = name
        self.params = dict(params)
        self.expect = dict(expect)
        self.files = dict(files or {})


class Result:
    """A result with envelope parts of its own.

    message, text, operation: replace the defaults of the envelope. metadata: added to the envelope's.
    """

    __slots__ = ("message", "metadata", "operation", "text", "value")

    def __init__(
        self,
        value: Any,
        *,
        message: str | None = None,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        operation: str | None = None,
    ) -> None:
        self.value = value
        self.message = message
        self.text = text
        self.metadata = metadata
        self.operation = operation


class ToolFailure(ToolError):  # noqa: N818 - named as scripts and tool authors read it
    """The tool's job ran and failed: the caller gets success=false.

    code: one word (`not_found`, `parse_error`, ...). error_kind: kind of the error in the envelope. result, text: what
    the job produced before it failed.
    """

    def __init__(
        self,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        error_kind: str = "tool",
        result: Any = None,
        text: str | None = None,
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.error_kind = error_kind
        self.result = result
        self.text = text


def violation(path: str, message: str, *, keyword: str = "format", **details: Any) -> ValidationError:
    """Return the error of an argument that breaks its documented form; raise it.

    path: name of the parameter. details: added beside `field` and `errors`.
    """
    errors = [{"path": path, "keyword": keyword, "message": message}]
    return ValidationError(
        message if keyword == "required" else f"Invalid parameter '{path}': {message}",
        code="schema_violation",
        details={"field": path, "errors": errors, **details},
    )


class ToolContext:
    """What a tool function may use besides its parameters: one object per call.

    cwd: where relative paths start. context: who calls. settings: the tool's own configuration section.
    deadline: monotonic seconds.
    """

    __slots__ = ("_services", "context", "cwd", "deadline", "operation", "settings", "tool", "warnings")

    def __init__(
        self,
        services: Services,
        *,
        context: Context,
        cwd: Path,
        tool: str,
        operation: str,
        deadline: float,
        settings: Mapping[str, Any],
    ) -> None:
        self._services = services
        self.context = context
        self.cwd = cwd
        self.tool = tool
        self.operation = operation
        self.deadline = deadline
        self.settings = settings
        self.warnings: list[str] = []

    @property
    def security(self) -> Security:
        """Files and environment names the call may touch."""
        security: Security = self._services.get("security")
        return security

    @property
    def http(self) -> HttpClient:
        """The one way out to the network."""
        http: HttpClient = self._services.get("http")
        return http

    @property
    def state(self) -> StateStore:
        """The state store."""
        state: StateStore = self._services.get("state")
        return state

    def warn(self, message: str) -> None:
        """Add a sentence to the envelope's `metadata.warnings`."""
        self.warnings.append(message)

    def remaining_s(self) -> float:
        """Return the seconds left for this call, never below 0."""
        return max(0.0, self.deadline - monotonic())

    def check(self) -> None:
        """Raise TimeoutError when the call's time is up."""
        if monotonic() > self.deadline:
            raise OutOfTime(f"tool {self.tool} ran out of time")


class Services:
    """What tools reach through their context, made at first use. Each value is a service or a callable giving it."""

    __slots__ = ("_made", "_makers")

    def __init__(self, **makers: Any) -> None:
        self._makers = makers
        self._made: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """Return the service. Raises InternalError when the program was built without it."""
        if name not in self._made:
            maker = self._makers.get(name)
            if maker is None:
                raise InternalError(f"this program runs tools without the service '{name}'")
            self._made[name] = maker() if callable(maker) else maker
        return self._made[name]


class ToolHeader:
    """What is known of a tool besides its functions.

    default: operation used when a call names none. timeout_ms: None takes the configured default. text: field of a
    dict result that is the primary text.
    extra: pip extra the tool needs. options: parameters may also stand in one object `options`.
    Hints (read_only, destructive, idempotent, open_world) describe effects to models.
    """

    def __init__(
        self,
        *,
        category: str,
        level: Level,
        default: str | None = None,
        aliases: Sequence[str] = (),
        description: str = "",
        version: str = "1.0.0",
        timeout_ms: int | None = None,
        needs: Sequence[str] = (),
        extra: str | None = None,
        inline: bool = False,
        text: str | None = None,
        tests: Sequence[Case] = (),
        tags: Sequence[str] = (),
        options: bool = False,
        read_only: bool | None = None,
        destructive: bool | None = None,
        idempotent: bool | None = None,
        open_world: bool | None = None,
    ) -> None:
        self.category = category
        self.level = level
        self.default = default
        self.aliases = tuple(aliases)
        self.description = description
        self.version = version
        self.timeout_ms = timeout_ms
        self.needs = tuple(needs)
        self.extra = extra
        self.inline = inline
        self.text = text
        self.tests = tuple(tests)
        self.tags = tuple(tags)
        self.options = options
        self.hints = {
            "readOnlyHint": read_only if read_only is not None else level == "safe",
            "destructiveHint": bool(destructive),
            "idempotentHint": idempotent if idempotent is not None else level == "safe",
            "openWorldHint": bool(open_world),
        }


class Operation:
    """One function of a tool. None means: as the header says."""

    __slots__ = ("aliases", "fn", "hints", "inline", "label", "level", "name", "text", "timeout_ms")

    def __init__(self, name: str, fn: Callable[..., Any], **settings: Any) -> None:
        self.name = name
        self.fn = fn
        self.aliases: tuple[str, ...] = tuple(settings.get("aliases", ()))
        self.level: Level | None = settings.get("level")
        self.label: str = settings.get("label") or name
        self.text: str | None = settings.get("text")
        self.inline: bool | None = settings.get("inline")
        self.timeout_ms: int | None = settings.get("timeout_ms")
        self.hints: dict[str, bool] = settings.get("hints") or {}


def operation(
    name: str,
    *,
    aliases: Sequence[str] = (),
    level: Level | None = None,
    label: str | None = None,
    text: str | None = None,
    inline: bool | None = None,
    timeout_ms: int | None = None,
    read_only: bool | None = None,
    destructive: bool | None = None,
) -> Callable[[F], F]:
    """Make the function an operation of its file's `TOOL`. label: of the envelope, where it differs from `name`."""
    hints = {"readOnlyHint": read_only, "destructiveHint": destructive}

    def mark(fn: F) -> F:
        fn.__operation__ = Operation(  # type: ignore[attr-defined] # a function carries its own registration
            name,
            fn,
            aliases=aliases,
            level=level,
            label=label,
            text=text,
            inline=inline,
            timeout_ms=timeout_ms,
            hints={key: value for key, value in hints.items() if value is not None},
        )
        return fn

    return mark


def tool(*, label: str | None = None, **header: Any) -> Callable[[F], F]:
    """Make the function a tool of one operation, named like the function; `header` as in ToolHeader."""

    def mark(fn: F) -> F:
        name = fn.__name__.replace("_", "-")
        fn.__tool__ = ToolHeader(**header)  # type: ignore[attr-defined] # as above
        fn.__operation__ = Operation(name, fn, label=label or name)  # type: ignore[attr-defined] # as above
        return fn

    return mark
