"""The state machine of an agent: which state may follow which, what happened so far, and who waits for what.

    Uninitialized -> Initializing -> Ready <-> Running, Ready and Running <-> Paused
    any of them -> Error -> Recovering -> Ready;  any -> Terminating -> Terminated

Execution drives it: `begin` and `end` frame a run. It never needs an event loop unless somebody really waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from time import time
from typing import TYPE_CHECKING, Any

from llmspell.base.clock import monotonic, rfc3339
from llmspell.errors import ComponentError

if TYPE_CHECKING:
    import asyncio

ALLOWED: dict[str, frozenset[str]] = {
    "Uninitialized": frozenset({"Initializing", "Error", "Terminating"}),
    "Initializing": frozenset({"Ready", "Error", "Terminating"}),
    "Ready": frozenset({"Running", "Paused", "Terminating", "Error"}),
    "Running": frozenset({"Ready", "Paused", "Terminating", "Error"}),
    "Paused": frozenset({"Ready", "Running", "Terminating", "Error"}),
    "Error": frozenset({"Recovering", "Terminating", "Terminated"}),
    "Recovering": frozenset({"Ready", "Error", "Terminating"}),
    "Terminating": frozenset({"Terminated", "Error"}),
    "Terminated": frozenset(),
}
HISTORY = 1000
MAX_RECOVERIES = 3
BREAKER_FAILURES = 3
BREAKER_OPEN_S = 15.0


class Lifecycle:
    """State of one agent.

    name: for messages. breaker: three failed runs in a row lead to Error for 15 s. auto_recovery: the first run after
    those 15 s recovers by itself.
    """

    def __init__(self, name: str, *, breaker: bool = False, auto_recovery: bool = True) -> None:
        self.name = name
        self.breaker = breaker
        self.auto_recovery = auto_recovery
        self.state = "Uninitialized"
        self.active = 0
        self.last_error: str | None = None
        self.recoveries = 0
        self.errors = 0
        self.transitions = 0
        self._failures = 0
        self._kept_running = False
        self._born = self._entered = monotonic()
        self._opened: float | None = None
        self._history: deque[tuple[str, str, float, float, str | None]] = deque(maxlen=HISTORY)
        self._time_in: dict[str, float] = {}
        self._waiters: list[asyncio.Future[None]] = []

    def to(self, state: str, reason: str | None = None) -> None:
        """Go to `state`. Raises ComponentError (`invalid_transition`) when the table forbids it."""
        old = self.state
        if state not in ALLOWED[old]:
            raise self._invalid(f"Invalid transition: {old} -> {state}")
        now = monotonic()
        elapsed = now - self._entered
        self._time_in[old] = self._time_in.get(old, 0.0) + elapsed
        self._history.append((old, state, time(), elapsed, reason))
        self._entered = now
        self.state = state
        self.transitions += 1
        if self._waiters:
            self._wake()

    def _invalid(self, message: str) -> ComponentError:
        return ComponentError(message, code="invalid_transition", component=f"agent:{self.name}")

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def initialize(self) -> None:
        """Go to Ready from Uninitialized; nothing happens when Ready."""
        if self.state != "Ready":
            self.to("Initializing")
            self.to("Ready")

    def start(self) -> None:
        """Stay in Running until `stop`, also between runs."""
        if self.state != "Running":
            self.to("Running", "start")
        self._kept_running = True

    def pause(self) -> None:
        """Hold: no new run, and runs in flight stop before their next model or tool call."""
        self.to("Paused", "pause")

    def resume(self) -> None:
        """Continue after `pause`: Ready, or Running while runs are in flight."""
        if self.state != "Paused":
            raise self._invalid(f"Invalid transition: {self.state} -> Ready")
        self.to("Running" if self.active else "Ready", "resume")

    def stop(self) -> None:
        """Go from Running or Paused to Ready."""
        if self.state not in ("Running", "Paused"):
            raise self._invalid(f"Invalid transition: {self.state} -> Ready")
        self._kept_running = False
        self.to("Ready", "stop")

    def terminate(self) -> None:
        """Go to Terminated for good; a second call does nothing."""
        if self.state == "Terminated":
            return
        if self.state != "Terminating":
            self.to("Terminating", "terminate")
        self.to("Terminated")

    def set_error(self, message: str) -> None:
        """Go to Error and remember `message`."""
        self.last_error = message
        self.errors += 1
        self._opened = None
        if self.state != "Error":
            self.to("Error", message)

    def recover(self) -> None:
        """Go from Error to Ready; at most three times without a successful run in between."""
        if self.state != "Error":
            raise self._invalid(f"Invalid transition: {self.state} -> Recovering")
        if self.recoveries >= MAX_RECOVERIES:
            raise ComponentError(
                f"agent '{self.name}' was recovered {MAX_RECOVERIES} times without a successful run",
                code="recovery_exhausted",
                component=f"agent:{self.name}",
            )
        self.to("Recovering", "recover")
        self.recoveries += 1
        self._opened = None
        self.to("Ready")

    def reset(self) -> None:
        """Forget the last error and be Ready."""
        if self.state == "Error":
            self.to("Recovering", "reset")
        if self.state != "Ready" and not self.active:
            self.to("Ready", "reset")
        self.last_error = None
        self.recoveries = self._failures = 0
        self._kept_running = False

    def begin(self) -> None:
        """Enter a run. Raises ComponentError (`invalid_transition`) unless Ready or Running."""
        tripped = self.state == "Error" and self._opened is not None
        if tripped and self.auto_recovery and monotonic() - (self._opened or 0.0) >= BREAKER_OPEN_S:
            self.recover()
        if self.state not in ("Ready", "Running"):
            raise self._invalid(f"Agent '{self.name}' cannot execute in state {self.state}: expected Ready or Running")
        if self.state == "Ready":
            self.to("Running", "execute")
        self.active += 1

    def end(self, error: BaseException | None) -> None:
        """Leave a run."""
        self.active -= 1
        if error is None:
            self._failures = self.recoveries = 0
        else:
            self._failures += 1
            self.last_error = str(error)
        if self.state != "Running":
            return
        if self.breaker and self._failures >= BREAKER_FAILURES:
            self._failures = 0
            self.set_error(str(error))
            self._opened = monotonic()
        elif not self.active and not self._kept_running:
            self.to("Ready")

    async def until_changed(self) -> None:
        """Wait for the next transition."""
        import asyncio

        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def hold(self) -> Awaitable[None] | None:
        """Return what to await while Paused, or None when the run may go on at once."""
        return self._held() if self.state == "Paused" else None

    async def _held(self) -> None:
        while self.state == "Paused":
            await self.until_changed()

    def history(self) -> list[dict[str, Any]]:
        """Return the transitions, oldest first; `elapsed` is the time in the old state in milliseconds."""
        entries = []
        for old, new, epoch, elapsed, reason in self._history:
            entry: dict[str, Any] = {
                "from": old,
                "to": new,
                "timestamp": rfc3339(epoch),
                "elapsed": round(elapsed * 1000, 3),
            }
            if reason is not None:
                entry["reason"] = reason
            entries.append(entry)
        return entries

    def statistics(self) -> dict[str, Any]:
        """Return counters and the milliseconds spent in each state."""
        now = monotonic()
        spent = dict(self._time_in)
        spent[self.state] = spent.get(self.state, 0.0) + now - self._entered
        return {
            "current_state": self.state,
            "total_transitions": self.transitions,
            "recovery_attempts": self.recoveries,
            "error_count": self.errors,
            "uptime": round((now - self._born) * 1000, 3),
            "last_transition": rfc3339(self._history[-1][2]) if self._history else None,
            "state_time_distribution": {state: round(seconds * 1000, 3) for state, seconds in spent.items()},
        }
