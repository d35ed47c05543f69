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

from llmspell._core import VectorIndex
from llmspell.app import App
from llmspell.base.context import Context
from llmspell.base.offload import offload
from llmspell.config import Config, load
from llmspell.lua.engine import Interpreter
from llmspell.lua.engine import Outcome as EngineOutcome
from llmspell.state import StateStore

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping

__all__ = ["App", "Context", "Outcome", "StateStore", "VectorIndex", "open", "run", "run_sync"]

T = TypeVar("T")
_loop: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()  # protects _loop, the private loop of run_sync


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
            flags = {**config, **flags}
        explicit = config if isinstance(config, str | Path) else None
        tree = load(explicit=explicit, environ=environ, cwd=here, home=folder, flags=flags).config
    app = App(tree, home=folder, cwd=here, environ=environ)
    try:
        yield app
    finally:
        await app.close()


async def run(
    source: str | Path,
    *,
    app: App | None = None,
    args: Mapping[str, Any] | Iterable[Any] = (),
    sandbox: str = "safe",
    limits: Mapping[str, int] | None = None,
    budget: Mapping[str, float] | None = None,
) -> Outcome:
    """Run a spell in a fresh interpreter; what it does wrong is in the Outcome and never raised.

    source: Lua text, or a Path of a file. app: from `open`; None opens one for this run. limits: resource -> number.
    Cancelling the awaiting task interrupts the spell. Raises ConfigurationError for an unknown sandbox or limit.
    """
    if app is None:
        async with open() as own:
            return await run(source, app=own, args=args, sandbox=sandbox, limits=limits, budget=budget)
    stdout, stderr = io.BytesIO(), io.BytesIO()
    path = source if isinstance(source, Path) else None
    text = await offload(_source, source)
    given = args if isinstance(args, dict) else list(args)
    interp = Interpreter(
        app, profile=sandbox, limits=limits, script=path, args=given, stdout=stdout, stderr=stderr, budget=budget
    )
    try:
        outcome = await interp.run(text, f"@{path}" if path is not None else "=spell")
    finally:
        await interp.close()
    return Outcome(outcome, stdout.getvalue(), stderr.getvalue())


def _source(source: str | Path) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source.encode()


def run_sync(awaitable: Awaitable[T]) -> T:
    """Run an awaitable on a private loop thread and return its result; works inside a running loop, too."""
    import asyncio

    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="llmspell-sync", daemon=True).start()
        loop = _loop

    async def wait() -> T:
        return await awaitable

    return asyncio.run_coroutine_threadsafe(wait(), loop).result()
