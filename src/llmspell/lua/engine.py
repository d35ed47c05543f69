"""The interpreter: one Lua state with its guard, its globals and its limits, and the run of one chunk after another.

    interp = Interpreter(app, profile="standard", script="a.lua", args=[...])
    outcome = interp.begin(source, "@a.lua")       # runs until the end or the first wait, without an event loop
    if outcome is None:
        outcome = await interp.finish()            # goes on with the loop
    await interp.close()

One interpreter belongs to one thread; only `interrupt` may be called from others.
"""

from __future__ import annotations

import os
from pathlib import Path

from llmspell.app import Lane
from llmspell.base.arguments import Arguments
from llmspell.base.clock import monotonic
from llmspell.base.registry import Registry
from llmspell.errors import (
    CancelledError,
    ConfigurationError,
    LLMSpellError,
    ResourceLimitError,
    ValidationError,
)
from llmspell.lua.crossing import Crossing, Stopped
from llmspell.lua.host import COMPILED, HOST_METHODS, Host, global_name
from llmspell.lua.scheduler import Scheduler
from llmspell.security.profiles import LIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, BinaryIO

    from llmspell.app import App

CHUNKS = ("values", "host", "base", "files", "globals")
ALIASES = {"Tools": "Tool", "display": "Display.display", "sleep": "Async.sleep"}
REGISTRY = Registry("llmspell.lua.globals")


class Outcome:
    """How a run ended.

    status: `ok` or `error`. values: the returned values as plain data, or None when one has no plain form; then
    `unconvertible` is the error to raise if they are asked for. error: what ended the run. exit_code: of `os.exit`.
    used: what was used of each limit. partial: a result that an error carried.
    """

    __slots__ = ("duration_ms", "error", "exit_code", "status", "unconvertible", "used", "values", "warnings")

    def __init__(
        self, *, error: LLMSpellError | None, exit_code: int | None, used: dict[str, Any], duration_ms: int
    ) -> None:
        self.status = "ok" if error is None else "error"
        self.values: list[Any] = []
        self.error = error
        self.exit_code = exit_code
        self.unconvertible: LLMSpellError | None = None
        self.used = used
        self.duration_ms = duration_ms
        self.warnings: list[str] = []

    @property
    def value(self) -> Any:
        """The first returned value; raises ValidationError when it has no plain form."""
        if self.unconvertible is not None:
            raise self.unconvertible
        return self.values[0] if self.values else None


class Interpreter:
    """One Lua state. profile: safe, standard or full. limits: overrides of the profile's, 0 = none (full only).

    tenant: whose run it is; it then sees nothing of anybody else. Raises AccessDenied for one that is not active.
    """

    def __init__(
        self,
        app: App,
        *,
        profile: str = "standard",
        limits: Mapping[str, int | None] | None = None,
        script: str | os.PathLike[str] | None = None,
        args: Mapping[str, Any] | Iterable[Any] | None = None,
        stdout: BinaryIO | None = None,
        stderr: BinaryIO | None = None,
        stdin: BinaryIO | None = None,
        budget: Mapping[str, float] | None = None,
        tenant: str | None = None,
        keep_tasks: bool = False,
    ) -> None:
        if profile not in LIMITS:
            raise ConfigurationError(f"unknown sandbox profile '{profile}': use safe, standard or full")
        self.app = app
        self.limits = _effective_limits(app, profile, limits)
        self._streams = {"stdout": stdout, "stderr": stderr}
        self._written = 0
        self._exit_code: int | None = None
        self._keep_tasks = keep_tasks
        self._main: tuple[Any, int] | None = None
        self._driver: Any = None
        self._began = 0.0
        self._closed = False
        name = os.path.basename(script) if script is not None else None
        roots = [Path(script).resolve().parent] if script is not None else []
        self.lane = Lane(
            app, profile=profile, limits=self.limits, script=name, write=self._write, used=self.used, end=self._end,
            stdin=stdin, roots=roots, budget=budget, tenant=None if tenant is None else app.admit(tenant),
        )  # fmt: skip
        given = args if args is None or isinstance(args, dict) else list(args)
        tokens = isinstance(given, list) and all(isinstance(item, str | bytes) for item in given)
        self.lane.arguments = Arguments(name, given or ()) if tokens else Arguments.of(given, script=name)
        self._open_state(profile, roots)

    def _open_state(self, profile: str, roots: list[Path]) -> None:
        from lupa import lua54

        from llmspell._core import Guard

        folder = Path(__file__).parent
        self._guard = Guard(str(folder.parent / "_core" / "_guard.so"))
        self._guard.attach(lua54.__file__)
        self._crossing = Crossing(lambda: self._guard.tripped)
        Host(self.lane.local, self.lane, self._crossing.methods, REGISTRY)
        self._runtime = lua54.LuaRuntime(
            encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False,
            attribute_handlers=(_refuse, _refuse),
        )  # fmt: skip
        chunks = [part for name in CHUNKS for part in (name.encode(), COMPILED.get(name) or _prelude(name))]
        numbers = ",".join(f"{name}={i}" for i, name in enumerate(HOST_METHODS))
        base = os.fspath(roots[0]) if roots else "."
        places = [base, *self.app.lua_settings()[1]]
        package_path = ";".join(f"{place}/?.lua;{place}/?/init.lua" for place in places)
        root, references = self._runtime.execute(
            _prelude("boot"),
            self._guard.path.encode(), b"spell_open", self._guard.address, self._crossing.dispatch, profile.encode(),
            self.limits["script_bytes"] or 1 << 62, package_path.encode(), numbers.encode(), *chunks,
        )  # fmt: skip
        self._crossing.root = root
        pairs = (item.split(b"=") for item in references.split(b","))
        self._entries = {name.decode(): int(number) for name, number in pairs}
        self._crossing.release = self._entries["release"]
        self.lane.scheduler = Scheduler(self._crossing, self._entries["task_started"], self.limits["tasks"])
        names = [global_name(stem) for stem in REGISTRY.names(outside=False)]
        arguments = self.lane.arguments
        self._call("install", names, ALIASES, {
            "named": arguments.named, "positional": arguments.positional, "script": arguments.script,
        })  # fmt: skip

    # -- running --

    def begin(self, source: bytes | str, name: str = "=chunk") -> Outcome | None:
        """Run a chunk until it ends, or until it first waits: then None, and `finish` goes on.

        name: as Lua names chunks: `@file`, `=label`. Raises nothing that the script did; that is in the Outcome.
        """
        data = source.encode() if isinstance(source, str) else bytes(source)
        self._arm()
        try:
            self._check_source(data)
            task = self._crossing.open_task(self._entries["run"], [data, name])
            out = self._crossing.resume(task, None, None)
        except LLMSpellError as error:
            return self._outcome(error)
        if not isinstance(out, bytes):
            self._main = (task, out)
            return None
        if self.lane.scheduler.live():
            self._main = (task, out)  # type: ignore[assignment]  # ended already: only its tasks are left to end
            return None
        return self._ended(out)

    async def finish(self) -> Outcome:
        """Run what `begin` left, on the running loop, to its end."""
        import asyncio

        assert self._main is not None
        (task, out), self._main = self._main, None
        loop = asyncio.get_running_loop()
        self._crossing.loop = loop
        self.lane.scheduler.start_deferred()
        self._driver = loop.create_task(self._crossing.drive(task, out, None))
        timer = None
        if self._deadline is not None:
            timer = loop.call_later(max(0.0, self._deadline - monotonic()), self._expire)
        if self._guard.tripped is not None:
            self._cancel_waits()
        try:
            packed = await self._driver
        except asyncio.CancelledError:
            self.interrupt()
            packed = b"T\x90"
        finally:
            self._driver = None
            if timer is not None:
                timer.cancel()
        names = (
            []
            if self._keep_tasks and self._guard.tripped is None
            else await self.lane.scheduler.stop("the script has ended")
        )
        outcome = self._ended(packed)
        if names and outcome.error is None and outcome.exit_code is None:
            shown = ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
            outcome.warnings.append(f"{len(names)} live task(s) cancelled at the end of the script: {shown}")
        self._disarm()
        if names or "Async" in self._described():
            outcome.warnings += [str(text) for text in self._call("unawaited")[0]]
        return outcome

    async def run(self, source: bytes | str, name: str = "=chunk") -> Outcome:
        """Run a chunk to its end on the running loop."""
        import asyncio

        self._crossing.loop = asyncio.get_running_loop()
        return self.begin(source, name) or await self.finish()

    def interrupt(self) -> None:
        """Stop the run: kind `cancelled`, code `interrupted`. From any thread, also while Lua spins."""
        self._guard.trip("interrupt")
        loop = self._crossing.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._cancel_waits)

    def watch_signal(self, number: int) -> None:
        """Trip the guard from a signal handler, before Python's own runs: stops a tight loop at once."""
        self._guard.watch_signal(number)

    async def close(self) -> None:
        """End what lives and free the state."""
        if self._closed:
            return
        self._closed = True
        if self._crossing.loop is not None:
            await self.lane.scheduler.stop("the interpreter is closed")
        await self.lane.close()
        self._crossing.root = None
        self._crossing.methods.clear()

    # -- asking --

    def is_complete(self, source: bytes | str) -> tuple[str, str]:
        """Tell whether a chunk is `complete`, `incomplete` (with a suggested indent) or `invalid`."""
        data = source.encode() if isinstance(source, str) else source
        self._arm()
        for text in (b"return " + data, data):
            ok, message = [*self._call("compile", text, "=input"), None][:2]
            if ok:
                return "complete", ""
        if str(message or "").endswith("<eof>"):
            return "incomplete", "  "
        return "invalid", ""

    def check(self, source: bytes | str, name: str) -> str | None:
        """Compile only; the syntax error, or None."""
        data = source.encode() if isinstance(source, str) else source
        self._check_source(data)
        self._arm()
        ok, message = [*self._call("compile", data, name), None][:2]
        return None if ok else str(message)

    def globals(self) -> dict[str, str]:
        """Return the names of all globals with their Lua types."""
        found: dict[str, str] = self._call("describe_globals")[0]
        return found

    def fields(self, path: str) -> list[dict[str, str]]:
        """Return `{name, type}` of the fields of the value at a dotted path of globals; empty when there is none."""
        return [dict(item) for item in self._call("fields", path)[0]]

    def shown(self) -> list[str]:
        """Return the results of the last chunk as `tostring` shows them."""
        texts = self._call("shown")[0]
        return [text if isinstance(text, str) else text.decode("utf-8", "replace") for text in texts]

    def set_global(self, name: str, value: Any) -> None:
        """Set a global of the scripts."""
        self._call("set_global", name, value)

    def used(self) -> dict[str, dict[str, Any]]:
        """Return resource -> {limit, used}."""
        guard = self._guard.used()
        used = {
            "wall_time_ms": int((monotonic() - self._began) * 1000) if self._began else 0,
            "memory_bytes": guard["memory_bytes"],
            "instructions": guard["instructions"],
            "output_bytes": self._written,
            "script_bytes": 0,
            "tasks": len(self.lane.scheduler.live()) if self.lane.scheduler else 0,
        }
        return {name: {"limit": self.limits[name], "used": value} for name, value in used.items()}

    # -- inside --

    def _call(self, entry: str, *args: Any) -> list[Any]:
        task = self._crossing.open_task(self._entries[entry], args)
        out = self._crossing.resume(task, None, None)
        assert isinstance(out, bytes)
        return self._crossing.result(out)

    def _described(self) -> set[str]:
        return {method.label.partition(".")[0] for method in self._crossing.methods[len(HOST_METHODS) :]}

    def _arm(self) -> None:
        self._guard.clear()
        self._exit_code = None
        self._written = 0
        self._began = monotonic()
        wall = self.limits["wall_time_ms"]
        self._deadline = self._began + wall / 1000 if wall else None
        self._guard.arm(
            instructions=self.limits["instructions"], memory_bytes=self.limits["memory_bytes"], deadline=self._deadline
        )
        self._crossing.drain()

    def _disarm(self) -> None:
        self._guard.clear()
        self._guard.arm(memory_bytes=self.limits["memory_bytes"])

    def _check_source(self, data: bytes) -> None:
        if data[:1] == b"\x1b" and self.lane.profile != "full":
            raise ValidationError("the script is binary: only Lua source text is run", code="binary_chunk")
        limit = self.limits["script_bytes"]
        if limit and len(data) > limit:
            raise _limit_error("script_bytes", limit, len(data))

    def _write(self, stream: str, data: bytes) -> None:
        self._written += len(data)
        limit = self.limits["output_bytes"]
        if limit and self._written > limit:
            self._guard.trip("output_bytes")
            raise _limit_error("output_bytes", limit, self._written)
        sink = self._streams[stream]
        if sink is not None:
            sink.write(data)
            sink.flush()

    def _end(self, status: int) -> None:
        self._exit_code = status
        self._guard.trip("interrupt")
        self._cancel_others()

    def _expire(self) -> None:
        self._guard.trip("wall_time_ms")
        self._cancel_waits()

    def _cancel_waits(self) -> None:
        if self._driver is not None:
            self._driver.cancel()
        self._cancel_others()

    def _cancel_others(self) -> None:
        self.lane.scheduler.each_task(lambda task: task.cancel())

    def _ended(self, packed: bytes) -> Outcome:
        try:
            self._crossing.result(packed)
        except Stopped:
            return self._outcome(self._stop_error())
        except LLMSpellError as error:
            return self._outcome(error)
        outcome = self._outcome(None)
        self._disarm()
        try:
            outcome.values = self._call("results")
        except LLMSpellError as error:
            outcome.unconvertible = error
        return outcome

    def _stop_error(self) -> LLMSpellError | None:
        if self._exit_code is not None:
            return None
        reason = self._guard.tripped
        if reason == "interrupt" or reason is None:
            return CancelledError("interrupted", code="interrupted")
        return _limit_error(reason, self.limits[reason], self.used()[reason]["used"])

    def _outcome(self, error: LLMSpellError | None) -> Outcome:
        duration = int((monotonic() - self._began) * 1000)
        exit_code = self._exit_code
        return Outcome(
            error=error if exit_code is None else None, exit_code=exit_code, used=self.used(), duration_ms=duration
        )


def _prelude(name: str) -> bytes:
    with open(f"{os.path.dirname(__file__)}/prelude/{name}.lua", "rb") as file:
        return file.read()


def _refuse(owner: object, name: object, *value: object) -> None:
    raise AttributeError("host objects have no fields")


def _limit_error(resource: str, limit: int, used: int) -> ResourceLimitError:
    return ResourceLimitError(
        f"Resource limit exceeded: {resource} (limit {limit}, used {used})",
        code="limit_exceeded",
        details={"resource": resource, "limit": limit, "used": used},
    )


def _effective_limits(app: App, profile: str, overrides: Mapping[str, int | None] | None) -> dict[str, int]:
    limits = dict(LIMITS[profile])
    configured, _, caps = app.lua_settings()
    for name in limits:
        value = configured.get(name)
        if value is not None:
            limits[name] = value
        if overrides and overrides.get(name) is not None:
            limits[name] = int(overrides[name] or 0)
        if limits[name] == 0 and profile != "full":
            raise ConfigurationError(
                f"engines.lua.limits.{name} = 0 (unlimited) is allowed in the full profile only",
                details={"key": f"engines.lua.limits.{name}"},
            )
    limits["wall_time_ms"] = min((wall for wall in (limits["wall_time_ms"], *caps) if wall), default=0)
    return limits
