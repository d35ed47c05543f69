"""Ctrl-C while a script of the REPL runs: it ends the script and not the session."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmspell.cli.streams import Source
    from llmspell.lua.engine import Interpreter


@contextmanager
def interruptible(interp: Interpreter, source: Source | None = None) -> Iterator[None]:
    """Turn SIGINT into an interrupt of the interpreter, and of its blocking read, while the block runs."""

    def stop(_number: int, _frame: object) -> None:
        interp.interrupt()
        if source is not None:
            source.interrupted()

    before = signal.signal(signal.SIGINT, stop)
    interp.watch_signal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if source is not None:
            source.resume()
