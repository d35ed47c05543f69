"""The one crossing between Lua and async Python.

A script is a Lua coroutine. A call of an API function arrives here as (method, packed arguments). A result goes back at
once; a coroutine that really suspends is kept under a number, and the number is what the Lua coroutine yields. The
driver of that Lua coroutine, one asyncio task per Lua task, awaits it and resumes Lua with the packed result or error.

Measured against a worker thread per call this costs microseconds instead of tens of them, and scripts may wait inside
`pcall`, iterators, metamethods, and (with the prelude's versions) `table.sort` and `string.gsub`.

Until a script first waits there is no event loop at all: `start` runs it synchronously, and a call that may wait is
not begun before `drive` runs on a loop. So a script that never waits never pays for importing asyncio.
"""

from __future__ import annotations

from llmspell.errors import InternalError, LLMSpellError, StorageError
from llmspell.lua.convert import Converter
from llmspell.lua.errors import error_from_lua, error_to_lua

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Generator, Iterable
    from typing import Any

    from llmspell.lua.binding import Method

CANCEL_WAIT = -1
MANY_RELEASED = 512
PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple})
SWITCH = 0


class Stopped(Exception):  # noqa: N818 - a state of the run, not an error of anybody
    """The guard stopped the run: a limit, an interrupt, or `os.exit`."""


class Started:
    """A coroutine that has run to its first suspension outside of `await`; awaiting this goes on from there."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, waiting = self._coroutine, self._first
        step: Callable[[Any], Any]
        argument: Any
        while True:
            try:
                value = yield waiting
            except BaseException as error:  # handed to the coroutine, which decides
                step, argument = coroutine.throw, error
            else:
                step, argument = coroutine.send, value
            try:
                waiting = step(argument)
            except StopIteration as stop:
                return stop.value

    def close(self) -> None:
        """Give the coroutine up."""
        self._coroutine.close()


class Function:
    """A Lua function as an async callable; each call is a further coroutine of the same Lua state.

    `sync` runs it without a loop, for callers that must not wait.
    """

    __slots__ = ("__weakref__", "_crossing", "number")

    def __init__(self, crossing: Crossing, number: int) -> None:
        self._crossing = crossing
        self.number = number

    def __del__(self) -> None:
        self._crossing.released.append(self.number)

    async def __call__(self, *args: Any) -> Any:
        """Return the first result, None without one."""
        results = await self.many(*args)
        return results[0] if results else None

    async def many(self, *args: Any) -> list[Any]:
        """Return all results."""
        return await self._crossing.call(self.number, list(args))

    def sync(self, *args: Any, message: str = "this function may not wait") -> list[Any]:
        """Return all results; raises StorageError(message) when the function waits."""
        return self._crossing.call_now(self.number, list(args), message)


class Crossing:
    """Calls in both directions for one Lua state.

    methods: what a method number means. root: lupa's function that starts a task. tripped: the reason why the guard
    stopped the run, or None.
    """

    def __init__(self, tripped: Callable[[], str | None]) -> None:
        self.methods: list[Method] = []
        self.released: list[int] = []
        self.release: int | None = None
        self.convert = Converter(lambda number: Function(self, number), Function)
        self.root: Any = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.current: str | None = None
        self.failure: BaseException | None = None
        self._tripped = tripped
        self._waits: dict[int, Any] = {}
        self._next_wait = 0

    # -- Lua calls Python --

    def dispatch(self, number: int, payload: bytes) -> bytes | int:
        """Run one call of a script. Never raises: an exception here would jump over Lua frames."""
        try:
            if number == CANCEL_WAIT:
                self._drop_wait(self.convert.decode(payload)[0])
                return b"V\x90"
            if len(self.released) > MANY_RELEASED:
                self.drain()
            if self._tripped() is not None:
                return b"E" + self.convert.encode([{"text": "stopped"}])
            method = self.methods[number]
            result = method.call(self.convert.decode(payload))
            if type(result) not in PLAIN and hasattr(result, "__await__"):
                return self._begin(result)
            return self.answer(result)
        except BaseException as error:
            return self.refusal(error)

    def _begin(self, waiting: Any) -> bytes | int:
        if self.loop is not None and hasattr(waiting, "send"):
            try:
                first = waiting.send(None)
            except StopIteration as stop:
                return self.answer(stop.value)
            waiting = Started(waiting, first)
        self._next_wait += 1
        self._waits[self._next_wait] = waiting
        return self._next_wait

    def _drop_wait(self, number: int) -> None:
        waiting = self._waits.pop(number, None)
        if hasattr(waiting, "close"):
            waiting.close()
        elif hasattr(waiting, "cancel"):
            waiting.cancel()

    def answer(self, result: Any) -> bytes:
        """Pack results: a tuple is several; None is one nil, so that `print(G.get("absent"))` prints it."""
        if result is None:
            return b"V\x91\xc0"
        return b"V" + self.convert.encode(list(result) if type(result) is tuple else [result])

    def refusal(self, error: BaseException) -> bytes:
        """Pack an error."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.failure = error
        if isinstance(error, TypeError) and "cannot convert" in str(error):
            error = InternalError(str(error))
        try:
            return b"E" + self.convert.encode([error_to_lua(error, self.released)])
        except Exception:
            return b"E" + self.convert.encode([{"kind": getattr(error, "kind", "internal"), "message": str(error)}])

    # -- Python calls Lua --

    def open_task(self, number: int, args: Iterable[Any]) -> Any:
        """Return a new Lua task that will call function `number`."""
        return self.root.coroutine(number, self.convert.encode(list(args)))

    def resume(self, task: Any, payload: bytes | None, name: str | None) -> bytes | int:
        """Run a task until it ends (bytes) or waits (the number of the wait)."""
        before, self.current = self.current, name
        try:
            out: bytes | int = task.send(payload)
        finally:
            self.current = before
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return out

    def result(self, out: bytes) -> list[Any]:
        """Return the results of an ended task; raises its error, or Stopped."""
        status = out[:1]
        if status == b"V":
            return self.convert.decode(out[1:])
        if status == b"T":
            raise Stopped
        raise error_from_lua(self.convert.decode(out[1:])[0], self.released)

    async def drive(self, task: Any, out: bytes | int, name: str | None) -> bytes:
        """Await what the task waits for and resume it, until it ends; returns its packed results."""
        while not isinstance(out, bytes):
            reply = await self._reply(out)
            out = self.resume(task, reply, name)
        return out

    async def _reply(self, number: int) -> bytes:
        try:
            if number == SWITCH:
                from asyncio import sleep

                await sleep(0)
                return b"V\x90"
            return self.answer(await self._waits.pop(number))
        except BaseException as error:
            if isinstance(error, LLMSpellError) or self._tripped() is None:
                return self.refusal(error)
            return b"E" + self.convert.encode([{"text": "stopped"}])

    async def call(self, number: int, args: list[Any]) -> list[Any]:
        """Call Lua function `number` in a further coroutine."""
        name = self.current
        task = self.open_task(number, args)
        out = self.resume(task, None, name)
        return self.result(out if isinstance(out, bytes) else await self.drive(task, out, name))

    def drain(self) -> None:
        """Let the Lua state forget the functions and errors that nobody holds any more."""
        count = len(self.released)
        numbers = self.released[:count]
        del self.released[:count]
        if numbers and self.release is not None:
            try:
                self.call_now(self.release, [numbers], "release does not wait")
            except Stopped:
                return  # the run is over; what it held goes with its state

    def call_now(self, number: int, args: list[Any], message: str) -> list[Any]:
        """Call Lua function `number`; raises StorageError(message) inside it when it waits."""
        task = self.open_task(number, args)
        out = self.resume(task, None, self.current)
        while not isinstance(out, bytes):
            if out != SWITCH:
                self._drop_wait(out)
            out = self.resume(task, self.refusal(StorageError(message, code="may_not_wait")), self.current)
        return self.result(out)
