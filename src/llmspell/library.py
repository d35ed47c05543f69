"""llmspell as a library: `open` an App, `run` spells in it, from async code or, by `run_sync`, from any other.

    async with llmspell.open() as app:
        outcome = await llmspell.run("return 1 + 1", app=app)
        envelope = await app.tools.call("calculator", {"input": "6*7"}, llmspell.Context())
        app.state.save("global", "answer", outcome.value)

Files of the user (home, project, environment) are layers of the configuration, as on the command line.
"""

from __future__ import annotations

import io
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from llmspell._core import VectorIndex
from llmspell.app import App
from llmspell.base.context import Context
from llmspell.config import Config, load
from llmspell.errors import ComponentError, InvalidArgument, NotFound, StorageFailure
from llmspell.lua.engine import Interpreter
from llmspell.lua.engine import Outcome as EngineOutcome
from llmspell.state import StateStore
from llmspell.vectors import VectorEntry, VectorQuery, VectorStorage

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
    from concurrent.futures import ThreadPoolExecutor

__all__ = [
    "App",
    "Context",
    "Outcome",
    "StateStore",
    "VectorEntry",
    "VectorIndex",
    "VectorQuery",
    "VectorStorage",
    "open",
    "run",
    "run_sync",
]

T = TypeVar("T")
_loop: asyncio.AbstractEventLoop | None = None
_closed: WeakSet[App] = WeakSet()
_pool: ThreadPoolExecutor | None = None
SYNC_THREAD = "llmspell-sync"
_lock = threading.Lock()  # protects _loop, the private loop of run_sync, and _pool, the threads of run
MAX_SPELLS = 32


class Outcome:
    """How a spell ended.

    status: `ok` or `error`. value, values: what it returned, as plain data. stdout, stderr: what it wrote.
    error: an LLMSpellError, or None. exit_code: of `os.exit`, or None. used: resource -> {limit, used}.
    """

    def __init__(self, outcome: EngineOutcome, stdout: bytes, stderr: bytes) -> None:
        self.status = outcome.status
        self.error = outcome.error
        self.exit_code = outcome.exit_code
        self.used = outcome.used
        self.duration_ms = outcome.duration_ms
        self.stdout = stdout.decode("utf-8", "replace")
        self.stderr = stderr.decode("utf-8", "replace")
        self._outcome = outcome

    @property
    def value(self) -> Any:
        """The first returned value; raises ValidationError when it has no plain form."""
        return self._outcome.value

    @property
    def values(self) -> list[Any]:
        """All returned values; raises ValidationError when one has no plain form."""
        if self._outcome.unconvertible is not None:
            raise self._outcome.unconvertible
        return self._outcome.values


@asynccontextmanager
async def open(
    config: Config | Mapping[str, Any] | str | Path | None = None,
    *,
    home: str | Path | None = None,
    cwd: str | Path | None = None,
    **overrides: Any,
) -> AsyncIterator[App]:
    """Open an App and close it at the end of the block.

    config: a Config, a mapping of dotted keys, or a file; None for the user's own layers. home: data folder.
    overrides: configuration keys with `__` for dots, `rag__enabled=False`.
    Raises ConfigurationError with every mistake.
    """
    from llmspell.config.terminal import environment, home_folder

    environ = environment()
    folder = Path(home_folder(str(home) if home is not None else None))
    here = Path(cwd) if cwd is not None else Path.cwd()
    if isinstance(config, Config) and not overrides:
        tree = config
    else:
        flags = {key.replace("__", "."): value for key, value in overrides.items()}
        if config is not None and not isinstance(config, Config | str | Path):
            flags = {**_table(config), **flags}
        explicit = config if isinstance(config, str | Path) else None
        tree = load(explicit=explicit, environ=environ, cwd=here, home=folder, flags=flags).config
    app = App(tree, home=folder, cwd=here, environ=environ)
    try:
        yield app
    finally:
        _closed.add(app)
        await app.close()


def _table(config: object) -> Mapping[str, Any]:
    from collections.abc import Mapping

    if isinstance(config, Mapping):
        return config
    raise InvalidArgument(
        f"config: expected a Config, a mapping of dotted keys, or a file, got {type(config).__name__}",
        details={"name": "config"},
    )


async def run(
    source: str | bytes | Path,
    *,
    app: App | None = None,
    args: Mapping[str, Any] | Iterable[Any] = (),
    sandbox: str = "safe",
    limits: Mapping[str, int] | None = None,
    budget: Mapping[str, float] | None = None,
    tenant: str | None = None,
    thread: bool = True,
) -> Outcome:
    """Run a spell in a fresh interpreter; what it does wrong is in the Outcome and never raised.

    source: Lua text, or a Path of a file. app: from `open`; None opens one for this run. limits: resource -> number.
    tenant: whose spell it is; it then sees the documents and the state of this tenant alone.
    thread: run on a thread and loop of its own, so that a busy spell holds up nobody; tools registered with `app.tools`
    are then called there. False runs on the caller's loop. At most 32 spells run at once in threads; more wait.
    Cancelling the awaiting task interrupts the spell, which cannot catch it, and raises once the spell has ended.
    Raises ConfigurationError for an unknown sandbox, InvalidArgument for a bad source, argument or limit,
    ValidationError for a bad budget, InvalidScope and AccessDenied for a bad or inactive tenant, NotFound for a file
    that is not there, ComponentError for a closed App.
    """
    text, path = _source(source)
    _check(limits, budget)
    if app is None:
        async with open() as own:
            return await run(
                source, app=own, args=args, sandbox=sandbox, limits=limits, budget=budget, tenant=tenant, thread=thread
            )
    if app in _closed:
        raise ComponentError("this App is closed: spells run inside its `async with` block", code="closed")
    stdout, stderr = io.BytesIO(), io.BytesIO()
    name = f"@{path}" if path is not None else "=spell"
    given = _given(args)

    def make() -> Interpreter:
        return Interpreter(
            app,
            profile=sandbox,
            limits=limits,
            script=path,
            args=given,
            stdout=stdout,
            stderr=stderr,
            budget=budget,
            tenant=tenant,
        )

    outcome = await (_in_a_thread(make, text, name) if thread else _here(make(), text, name))
    return Outcome(outcome, stdout.getvalue(), stderr.getvalue())


async def _here(interp: Interpreter, text: bytes, name: str) -> EngineOutcome:
    try:
        return await _to_its_end(interp, text, name)
    finally:
        await interp.close()


async def _in_a_thread(make: Callable[[], Interpreter], text: bytes, name: str) -> EngineOutcome:
    """Run on a thread with a loop of its own: Lua runs without the GIL, so nobody waits for a busy spell."""
    import asyncio

    made: list[Interpreter] = []

    async def work() -> EngineOutcome:
        interp = make()
        made.append(interp)
        try:
            return await _here(interp, text, name)
        finally:
            await interp.app.leave_loop()

    def body() -> EngineOutcome:
        return new_loop(work())

    running = asyncio.get_running_loop().run_in_executor(_threads(), body)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        for interp in made:
            interp.interrupt()
        await asyncio.wait([running], timeout=5)
        raise


def new_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a new loop of this thread, uvloop where it is installed."""
    import asyncio

    factory: Callable[[], asyncio.AbstractEventLoop]
    try:
        from uvloop import new_event_loop as factory
    except ImportError:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            from concurrent.futures import ThreadPoolExecutor

            _pool = ThreadPoolExecutor(max_workers=MAX_SPELLS, thread_name_prefix="llmspell-spell")
        return _pool


async def _to_its_end(interp: Interpreter, text: bytes, name: str) -> EngineOutcome:
    """Run a chunk; a cancellation interrupts it first, for a script that catches errors would go on."""
    import asyncio

    task = asyncio.ensure_future(interp.run(text, name))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        interp.interrupt()
        await asyncio.wait([task])
        raise


def _source(source: object) -> tuple[bytes, Path | None]:
    """Return the text to run and its file."""
    if isinstance(source, Path):
        try:
            return source.read_bytes(), source
        except FileNotFoundError as error:
            raise NotFound(f"no script {source}", details={"path": str(source)}) from error
        except OSError as error:
            message = f"cannot read the script {source}: {error.strerror}"
            raise StorageFailure(message, details={"path": str(source), "errno": error.errno}) from error
    if isinstance(source, bytes):
        return source, None
    if not isinstance(source, str):
        raise InvalidArgument(
            f"source: expected Lua text or a pathlib.Path, got {type(source).__name__}", details={"name": "source"}
        )
    return source.encode("utf-8", "surrogateescape"), None


def _check(limits: Mapping[str, int] | None, budget: Mapping[str, float] | None) -> None:
    """Refuse limits and budgets that would limit nothing."""
    from llmspell.base.budget import Budget
    from llmspell.base.profile_limits import LIMITS

    known = LIMITS["standard"]
    for name, value in (limits or {}).items():
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if name not in known or not (whole or value is None):
            raise InvalidArgument(
                f"limits: {name} = {value!r}: expected a whole number of at least 0 for one of {', '.join(known)}",
                details={"name": "limits", "allowed": list(known)},
            )
    Budget.parse(budget or {})


def _given(args: object) -> dict[str, Any] | list[Any]:
    """Return the arguments of a spell as a table or a list."""
    from collections.abc import Iterable, Mapping

    if isinstance(args, Mapping):
        return dict(args)
    if isinstance(args, str | bytes) or not isinstance(args, Iterable):
        raise InvalidArgument(
            f"args: expected a mapping or a list of values, got {type(args).__name__}", details={"name": "args"}
        )
    return list(args)


def run_sync(awaitable: Awaitable[T]) -> T:
    """Run an awaitable on a private loop thread and return its result; works inside a running loop, too."""
    import asyncio

    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name=SYNC_THREAD, daemon=True).start()
        loop = _loop
    if threading.current_thread().name == SYNC_THREAD:
        raise ComponentError("run_sync inside of what run_sync runs would wait for itself: use await", code="deadlock")

    async def wait() -> T:
        return await awaitable

    return asyncio.run_coroutine_threadsafe(wait(), loop).result()
