"""Expired documents leave the disk off everybody's path: a thread asks every minute while a catalog is in use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from logging import getLogger
from weakref import WeakMethod

from llmspell.errors import LLMSpellError

EVERY_S = 60.0


class Sweeper:
    """sweep: a method, held weakly: a catalog that is forgotten is swept no more."""

    def __init__(self, sweep: Callable[[], object], *, every_s: float = EVERY_S) -> None:
        self._sweep = WeakMethod(sweep)
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="llmspell-sweep", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            sweep = self._sweep()
            if sweep is None:
                return
            try:
                sweep()
            except LLMSpellError as error:  # a busy file or a full disk: the next round comes
                getLogger(__name__).warning("expired documents stay to the next round: %s", error.message)
            del sweep

    def stop(self) -> None:
        """End, after the round that is running."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()
