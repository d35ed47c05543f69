"""`Debug`: the log of the interpreter, timers, memory figures; dumps and stacks of Lua values are in `debug.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.errors import ValidationError
from llmspell.lua.globals._base import Handle

if TYPE_CHECKING:
    from typing import ClassVar

    from llmspell.app import App

_ALIASES = {
    "logWithData": "log_with_data",
    "setLevel": "set_level",
    "getLevel": "get_level",
    "setEnabled": "set_enabled",
    "isEnabled": "is_enabled",
    "addModuleFilter": "add_module_filter",
    "removeModuleFilter": "remove_module_filter",
    "clearModuleFilters": "clear_module_filters",
    "setDefaultFilterEnabled": "set_default_filter_enabled",
    "addAdvancedFilter": "add_advanced_filter",
    "getFilterSummary": "get_filter_summary",
    "getCapturedEntries": "get_captured_entries",
    "clearCaptured": "clear_captured",
    "recordEvent": "record_event",
    "performanceReport": "performance_report",
    "jsonReport": "json_report",
    "flameGraph": "flame_graph",
    "memoryStats": "memory_stats",
    "memorySnapshot": "memory_snapshot",
}


class TimerMethods:
    """Methods of a timer handle."""

    of_global: ClassVar[bool] = True

    def __init__(self, owner: Global) -> None:
        self._timers = owner.timers

    def stop(self, ident: str) -> float | None:
        """Stop and return the milliseconds, nil when it was stopped before."""
        spent: float | None = self._timers().stop(ident)
        return spent

    def lap(self, ident: str, name: str) -> bool:
        """Note the time under a name."""
        return bool(self._timers().lap(ident, name))

    def elapsed(self, ident: str) -> float | None:
        """Return the milliseconds so far, or of the whole when it was stopped."""
        timer = self._timers().get(ident)
        return None if timer is None else timer.elapsed_ms

    def laps(self, ident: str) -> list[dict[str, Any]]:
        """Return the laps `{name, ms}` in order."""
        timer = self._timers().get(ident)
        return [] if timer is None else [{"name": name, "ms": ms} for name, ms in timer.laps]


class Global:
    """See the module."""

    aliases: ClassVar[dict[str, str]] = _ALIASES
    handles: ClassVar[dict[str, type]] = {"timer": TimerMethods}

    def __init__(self, app: App, lane: Any) -> None:
        self._app = app
        self._lane = lane

    @property
    def _log(self) -> Any:
        return self._lane.debug

    def log(self, level: str, msg: Any = None, module: str | None = None) -> None:
        """Keep an entry of a level."""
        self._log.log(level, _text(msg), module)

    def log_with_data(self, level: str, msg: Any = None, data: Any = None, module: str | None = None) -> None:
        """Keep an entry with plain data."""
        self._log.log(level, _text(msg), module, data)

    def trace(self, msg: Any = None, module: str | None = None) -> None:
        """Keep a trace entry."""
        self._log.log("trace", _text(msg), module)

    def debug(self, msg: Any = None, module: str | None = None) -> None:
        """Keep a debug entry."""
        self._log.log("debug", _text(msg), module)

    def info(self, msg: Any = None, module: str | None = None) -> None:
        """Keep an info entry."""
        self._log.log("info", _text(msg), module)

    def warn(self, msg: Any = None, module: str | None = None) -> None:
        """Keep a warning."""
        self._log.log("warn", _text(msg), module)

    def error(self, msg: Any = None, module: str | None = None) -> None:
        """Keep an error entry."""
        self._log.log("error", _text(msg), module)

    def set_level(self, level: str) -> bool:
        """Set the least important level that is kept; false for an unknown word."""
        return bool(self._log.set_level(level))

    def get_level(self) -> str:
        """Return the level in upper case."""
        return str(self._log.get_level())

    def set_enabled(self, enabled: bool) -> None:
        """Switch the log on or off."""
        self._log.set_enabled(enabled)

    def is_enabled(self) -> bool:
        """Tell whether the log is on."""
        return bool(self._log.enabled)

    def add_module_filter(self, pattern: str, enabled: bool) -> None:
        """Let a module, and those below it, log or be silent; `*` and `?` are wildcards."""
        if not self._log.filters.add_plain(pattern, enabled):
            raise ValidationError(f"the filter {pattern[:40]!r} is too long, or there are too many filters")

    def remove_module_filter(self, pattern: str) -> bool:
        """Remove the filters of a pattern; tell whether there was one."""
        return bool(self._log.filters.remove(pattern))

    def clear_module_filters(self) -> None:
        """Remove all filters."""
        self._log.filters.clear()

    def set_default_filter_enabled(self, enabled: bool) -> None:
        """Say what holds for modules that no filter matches."""
        self._log.filters.set_default(enabled)

    def add_advanced_filter(self, pattern: str, kind: str, enabled: bool) -> bool:
        """Add an exact, wildcard, regex or hierarchical filter; false for another kind or a bad pattern."""
        return bool(self._log.filters.add(pattern, kind, enabled))

    def get_filter_summary(self) -> dict[str, Any]:
        """Return the filters and what holds without them."""
        return dict(self._log.filters.summary())

    def get_captured_entries(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the newest entries, oldest first."""
        return [entry.plain() for entry in self._log.captured(None if limit is None else max(0, limit))]

    def clear_captured(self) -> None:
        """Forget the kept entries."""
        self._log.clear()

    def timers(self) -> Any:
        """Return the timers; `debug.lua` takes this name out of the table."""
        return self._log.timers

    def timer(self, name: str) -> Handle:
        """Start a timer."""
        timer = self.timers().start(name)
        return Handle("timer", timer.ident, fields={"id": timer.ident, "name": name})

    def record_event(self, timer: str, name: str, metadata: Any = None) -> bool:
        """Note an event of a running timer."""
        return bool(self.timers().record(timer, name, metadata))

    def performance_report(self) -> str:
        """Return the figures of all stopped timers as a table."""
        return str(self.timers().report())

    def json_report(self) -> str:
        """Return timers, events and memory as JSON."""
        from llmspell.base.jsontext import dumps

        timers = self.timers()
        return dumps({"timers": timers.statistics(), "events": timers.events(), "memory": self.memory_stats()})

    def flame_graph(self) -> str:
        """Return folded stacks of the timers that lay inside each other, in microseconds."""
        return str(self.timers().flame_graph())

    def memory_stats(self) -> dict[str, int]:
        """Return `{used_bytes, allocated_bytes, resident_bytes, collections}`; `debug.lua` measures `used_bytes`."""
        import gc

        allocated = int(self._lane.used()["memory_bytes"]["used"])
        return {
            "used_bytes": allocated,
            "allocated_bytes": allocated,
            "resident_bytes": _resident_bytes(),
            "collections": sum(generation["collections"] for generation in gc.get_stats()),
        }

    def memory_snapshot(self) -> dict[str, Any]:
        """Return what the memory did while each timer ran."""
        return dict(self.timers().memory_snapshot())

    def mask(self, name: str, text: Any) -> Any:
        """Return a text as it may be shown under a name; `debug.lua` takes this name out of the table."""
        return self._log.mask({name: text})[name]


def _text(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else str(value)
    )


def _resident_bytes() -> int:
    import os

    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
