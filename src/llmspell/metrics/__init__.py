"""What happened and how long it took: counters, the debug log of scripts, timers, and the form of log lines."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.metrics.debuglog import DebugLog as DebugLog
    from llmspell.metrics.debuglog import Entry as Entry
    from llmspell.metrics.registry import Metrics as Metrics
    from llmspell.metrics.timers import Timers as Timers

_HOMES = {"DebugLog": "debuglog", "Entry": "debuglog", "Metrics": "registry", "Timers": "timers"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
