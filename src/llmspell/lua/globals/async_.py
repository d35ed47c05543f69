"""Async: tasks, and waiting for several things at once: the loop's part; what tasks do lives in `async_.lua`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.app import App, Lane


class Global:
    """Primitives of the companion chunk: tasks and gates by name."""

    def __init__(self, app: App, lane: Lane) -> None:
        del app
        self._scheduler = lane.scheduler

    def start(self, running: bool = True) -> str:
        """Begin a task; returns its id, which is also its gate."""
        del running
        return str(self._scheduler.spawn())

    def stop(self, name: str, reason: str) -> bool:
        """Cancel a task."""
        return bool(self._scheduler.cancel(name, reason))

    def gate(self) -> str:
        """Make a closed gate."""
        return str(self._scheduler.gate())

    def open(self, name: str) -> None:
        """Open a gate."""
        self._scheduler.open(name)

    async def wait(self, name: str, timeout_ms: float | None = None) -> bool:
        """Wait until a gate is open; false when the time ran out."""
        return bool(await self._scheduler.wait(name, timeout_ms))

    def current_id(self) -> Any:
        """Return the id of the running task, or nil."""
        return self._scheduler.current

    async def sleep(self, ms: float) -> None:
        """Wait so many milliseconds."""
        import asyncio

        await asyncio.sleep(max(0.0, ms) / 1000)
