"""Tasks and gates of one interpreter: what `Async` is made of.

A gate is a number that tasks wait on until somebody opens it; a task is a Lua coroutine with its own driver, and its
gate opens when it ends. What tasks were given and what they returned stays in Lua, so values are never copied.
"""

from __future__ import annotations

from llmspell.errors import CancelledError, ResourceLimitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from typing import Any

    from llmspell.lua.crossing import Crossing


class Scheduler:
    """Starts, cancels and awaits the tasks of one interpreter.

    entry: number of the Lua function that runs a task by its id. limit: live tasks at once, 0 = none.
    """

    def __init__(self, crossing: Crossing, entry: int, limit: int) -> None:
        self._crossing = crossing
        self._entry = entry
        self._limit = limit
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._deferred: list[str] = []
        self._gates: dict[str, list[asyncio.Future[None]] | None] = {}
        self._reasons: dict[str, str] = {}
        self._count = 0
        self.background: set[asyncio.Task[Any]] = set()

    @property
    def current(self) -> str | None:
        """Id of the task whose Lua code runs now; None in the main chunk."""
        return self._crossing.current

    def live(self) -> list[str]:
        """Return the ids of tasks that have not ended."""
        return [*self._tasks, *self._deferred]

    def spawn(self) -> str:
        """Begin a task at the next switch point; returns its id. Raises ResourceLimitError at the limit."""
        used = len(self._tasks) + len(self._deferred)
        if self._limit and used >= self._limit:
            raise ResourceLimitError(
                f"Resource limit exceeded: tasks (limit {self._limit}, used {used + 1})",
                code="limit_exceeded",
                details={"resource": "tasks", "limit": self._limit, "used": used + 1},
            )
        self._count += 1
        name = f"task-{self._count}"
        self._gates[name] = []
        if self._crossing.loop is None:
            self._deferred.append(name)
        else:
            self._start(name)
        return name

    def start_deferred(self) -> None:
        """Start what was spawned before there was a loop."""
        deferred, self._deferred = self._deferred, []
        for name in deferred:
            self._start(name)

    def _start(self, name: str) -> None:
        loop = self._crossing.loop
        assert loop is not None
        self._tasks[name] = loop.create_task(self._run(name), name=name)

    async def _run(self, name: str) -> None:
        from llmspell.lua.crossing import Stopped

        try:
            task = self._crossing.open_task(self._entry, [name])
            out = self._crossing.resume(task, None, name)
            if not isinstance(out, bytes):
                out = await self._crossing.drive(task, out, name)
            self._crossing.result(out)
        except Stopped:
            return
        finally:
            self._tasks.pop(name, None)
            self._reasons.pop(name, None)
            self.open(name)

    def cancel(self, name: str, reason: str) -> bool:
        """Raise `cancelled` inside a task at its wait; false when it has ended."""
        if name in self._deferred:
            self._deferred.remove(name)
            self.open(name)
            return True
        task = self._tasks.get(name)
        if task is None:
            return False
        self._reasons[name] = reason
        return task.cancel(reason)

    def gate(self) -> str:
        """Make a closed gate."""
        self._count += 1
        name = f"gate-{self._count}"
        self._gates[name] = []
        return name

    def open(self, name: str) -> None:
        """Open a gate for good: whoever waits goes on, whoever comes later does not wait."""
        waiting = self._gates.pop(name, None)
        for future in waiting or ():
            if not future.done():
                future.set_result(None)

    async def wait(self, name: str, timeout_ms: float | None = None) -> bool:
        """Wait until a gate is open; false when the time ran out before."""
        waiting = self._gates.get(name)
        if waiting is None:
            return True
        loop = self._crossing.loop
        assert loop is not None
        future = loop.create_future()
        waiting.append(future)
        timer = None
        if timeout_ms is not None:
            timer = loop.call_later(max(0.0, timeout_ms) / 1000, _expire, future)
        try:
            return bool(await future is None)
        finally:
            if timer is not None:
                timer.cancel()
            if future in waiting:
                waiting.remove(future)

    def keep(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine of a global in the background until the interpreter closes."""
        loop = self._crossing.loop
        if loop is None:
            raise CancelledError("nothing can run in the background before the script waits")
        task = loop.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
        return task

    async def stop(self, reason: str) -> list[str]:
        """Cancel all live tasks and wait for their ends; returns their ids."""
        names = self.live()
        for name in list(self._deferred):
            self.cancel(name, reason)
        tasks = [*self._tasks.values(), *self.background]
        for task in tasks:
            task.cancel(reason)
        if tasks:
            import asyncio

            await asyncio.wait(tasks, timeout=2.0)
        return names

    def each_task(self, do: Callable[[asyncio.Task[Any]], object]) -> None:
        """Call `do` with every running asyncio task."""
        for task in [*self._tasks.values(), *self.background]:
            do(task)


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(False)
