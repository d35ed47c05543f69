"""Running a coroutine so that it can be stopped from outside, and streaming out of it, without asking for a loop.

A run that never waits must finish without an event loop, so nothing here touches asyncio until the coroutine really
suspends. From then on the future it waits for is at hand: cancelling that future is what `Task.cancel` does, and its
loop keeps the timer of the deadline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from llmspell.base.clock import monotonic
from llmspell.base.types import Chunk
from llmspell.errors import CancelledError, TimeoutError  # noqa: A004 - the tree's own class


class Texts:
    """Chunks of text that came at once, not made yet. index: of the first."""

    __slots__ = ("index", "model", "stream_id", "texts")

    def __init__(self, texts: list[str], index: int, model: str | None, stream_id: str) -> None:
        self.texts = texts
        self.index = index
        self.model = model
        self.stream_id = stream_id

    def chunks(self) -> list[Chunk]:
        """Return them as chunks."""
        return [
            Chunk(type="text", text=text, index=index, model=self.model, stream_id=self.stream_id)
            for index, text in enumerate(self.texts, self.index)
        ]


class Stopper:
    """What stops one run: a deadline, or `stop`.

    deadline: monotonic seconds or None. After a stop every further step of the run raises `error`.
    """

    __slots__ = ("_timer", "_waiting", "deadline", "error", "limit_s", "name", "phase")

    def __init__(self, name: str, *, deadline: float | None, limit_s: float | None) -> None:
        self.name = name
        self.deadline = deadline
        self.limit_s = limit_s
        self.phase = "model"
        self.error: CancelledError | TimeoutError | None = None
        self._waiting: Any = None
        self._timer: Any = None

    def stop(self, reason: str) -> None:
        """Stop the run with CancelledError: at once when it waits, else at its next check."""
        if self.error is None:
            self.error = CancelledError(f"agent '{self.name}': {reason}", component=f"agent:{self.name}")
            self._interrupt()

    def check(self) -> None:
        """Raise when the run was stopped or its time is up."""
        if self.error is None and self.deadline is not None and monotonic() >= self.deadline:
            self.error = self._late()
        if self.error is not None:
            raise self.error

    def _late(self) -> TimeoutError:
        limit = "its deadline" if self.limit_s is None else f"{self.limit_s:g} s"
        return TimeoutError(
            f"agent '{self.name}' did not finish within {limit}",
            details={"phase": self.phase, "duration_ms": None if self.limit_s is None else round(self.limit_s * 1000)},
            component=f"agent:{self.name}",
        )

    def _expire(self) -> None:
        self._timer = None
        if self.error is None:
            self.error = self._late()
            self._interrupt()

    def _interrupt(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def waits(self, future: Any) -> None:
        """Note what the run waits for; None when it goes on."""
        self._waiting = future if hasattr(future, "cancel") else None
        if future is None or self._timer is not None or self.deadline is None:
            return
        loop = getattr(future, "get_loop", None)
        if loop is not None:
            self._timer = loop().call_later(max(0.0, self.deadline - monotonic()), self._expire)

    def close(self) -> None:
        """Drop the timer."""
        self._waiting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stopped_by(self, error: BaseException) -> bool:
        """Whether `error` is the cancellation that this stopper caused."""
        return self.error is not None and type(error).__name__ == "CancelledError" and error is not self.error


@coroutine
def stoppable(inner: Coroutine[Any, Any, Any], stopper: Stopper) -> Generator[Any, Any, Any]:
    """Await `inner`; its first real wait arms the stopper. A stop raises the stopper's error in place of asyncio's."""
    send: Any = None
    failure: BaseException | None = None
    try:
        while True:
            try:
                waited = inner.send(send) if failure is None else inner.throw(failure)
            except StopIteration as done:
                return done.value
            stopper.waits(waited)
            send, failure = None, None
            try:
                send = yield waited
            except GeneratorExit:
                inner.close()
                raise
            except BaseException as error:  # noqa: BLE001, RUF100 - handed into the run, which decides
                failure = error
    except BaseException as error:
        if stopper.stopped_by(error):
            raise stopper.error from None  # type: ignore[misc] # stopped_by says it is set
        raise
    finally:
        stopper.close()


class Ready:
    """Asks an async iterator without waiting: `now` gives the next item if it is there already, else None.

    After a None, `later` waits for that item. The end is StopAsyncIteration from either.
    """

    __slots__ = ("_inner", "_step", "_waited")

    def __init__(self, inner: AsyncIterator[Any]) -> None:
        self._inner = inner
        self._step: Any = None
        self._waited: Any = None

    def now(self) -> Any:
        """Return the next item, or None if it has to be waited for."""
        step = self._inner.__anext__()
        try:
            self._waited = step.send(None)  # type: ignore[attr-defined] # the step of an async generator
        except StopIteration as found:
            return found.value
        self._step = step
        return None

    async def later(self) -> Any:
        """Wait for the item that was not there."""
        return await _resumed(self._step, self._waited)


@coroutine
def hand_over(chunk: Chunk | Texts) -> Generator[Chunk | Texts, Any, Any]:
    """Give chunks to the stream that drives this run; awaiting returns when the consumer asks for what follows."""
    return (yield chunk)


class AgentStream(AsyncIterator[Chunk]):
    """Chunks of one run, made as they are asked for; `result` is there after the last one.

    The run is a coroutine that hands its chunks over by `hand_over`, so nothing is produced ahead of the consumer but
    texts that the model had sent already.
    """

    __slots__ = ("_done", "_make", "_run", "_texts", "result")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._make = make
        self._run: Coroutine[Any, Any, Any] | None = None
        self._done = False
        self._texts: list[Chunk] = []
        self.result: Any = None

    def __aiter__(self) -> AgentStream:
        return self

    async def __anext__(self) -> Chunk:
        if self._texts:
            return self._texts.pop()
        item = await self.several()
        if isinstance(item, Chunk):
            return item
        self._texts = item.chunks()[::-1]
        return self._texts.pop()

    async def several(self) -> Chunk | Texts:
        """Return the next chunk, or several of text at once. Raises StopAsyncIteration at the end."""
        item = None if self._done else await _next_chunk(self)
        if item is None:
            raise StopAsyncIteration
        return item

    async def collect(self) -> Any:
        """Drain the stream and return the result."""
        async for _ in self:
            pass
        return self.result

    async def aclose(self) -> None:
        """Cancel the run and wait until it has cleaned up."""
        if self._done:
            return
        self._done = True
        self._texts.clear()
        if self._run is not None:
            import asyncio

            try:
                await _thrown(self._run, asyncio.CancelledError("the stream was closed"))
            except asyncio.CancelledError:
                return


@coroutine
def _thrown(run: Coroutine[Any, Any, Any], error: BaseException) -> Generator[Any, Any, None]:
    """Raise `error` inside a run and await what it still has to do; chunks it offers meanwhile are dropped."""
    failure: BaseException | None = error
    send: Any = None
    while True:
        try:
            out = run.send(send) if failure is None else run.throw(failure)
        except StopIteration:
            return
        send, failure = None, None
        if isinstance(out, Chunk | Texts):
            continue
        try:
            send = yield out
        except GeneratorExit:
            run.close()
            raise
        except BaseException as later:  # noqa: BLE001, RUF100 - handed into the run, which decides
            failure = later


@coroutine
def _next_chunk(stream: AgentStream) -> Generator[Any, Any, Chunk | Texts | None]:
    run = stream._run = stream._run or stream._make()  # noqa: SLF001 - the other half of the class
    send: Any = None
    failure: BaseException | None = None
    while True:
        try:
            out = run.send(send) if failure is None else run.throw(failure)
        except StopIteration as done:
            stream.result = done.value
            stream._done = True  # noqa: SLF001 - as above
            return None
        except BaseException:
            stream._done = True  # noqa: SLF001 - as above
            raise
        if isinstance(out, Chunk | Texts):
            return out
        send, failure = None, None
        try:
            send = yield out
        except GeneratorExit:
            run.close()
            raise
        except BaseException as error:  # noqa: BLE001, RUF100 - handed into the run, which decides
            failure = error


@coroutine
def hop() -> Generator[None, None, None]:
    """Hand control back once, so that what follows runs inside a task of the caller's loop."""
    yield


@coroutine
def _resumed(inner: Coroutine[Any, Any, Any], waited: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that was stepped once and waits for `waited`."""
    send: Any = None
    while True:
        try:
            send = yield waited
        except GeneratorExit:
            inner.close()
            raise
        except BaseException as error:  # noqa: BLE001, RUF100 - handed into the coroutine, which decides
            failure: BaseException | None = error
        else:
            failure = None
        try:
            waited = inner.send(send) if failure is None else inner.throw(failure)
        except StopIteration as done:
            return done.value


async def side_by_side(jobs: list[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Run jobs concurrently, at most `at_once`. The first failure cancels the others and is raised.

    Each job is stepped by hand first: jobs that do not wait finish right there, and a loop is only needed for two or
    more that really wait.
    """
    waiting = list(reversed(jobs))
    begun: list[Any] = []
    try:
        while waiting and len(begun) < at_once:
            job = waiting.pop()
            try:
                waited = job.send(None)
            except StopIteration:
                continue
            begun.append(_resumed(job, waited))
        if not begun:
            return
        if len(begun) == 1 and not waiting:
            await begun.pop()
            return
        await hop()
        await _in_tasks(begun, waiting)
    finally:
        for job in (*begun, *waiting):
            job.close()


async def _in_tasks(begun: list[Any], waiting: list[Coroutine[Any, Any, None]]) -> None:
    import asyncio

    async def worker(first: Any) -> None:
        await first
        while waiting:
            await waiting.pop()

    tasks = [asyncio.ensure_future(worker(job)) for job in begun]
    begun.clear()
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
