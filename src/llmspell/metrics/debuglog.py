"""The log of scripts: levels, module filters, a ring of kept entries, and a sink for what goes to standard error.

One per interpreter, behind the globals `Debug` and `Logger`. What is kept or passed on has its secrets masked by the
redactor that the application gives; the sink gets a finished line and decides nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from llmspell.base.clock import rfc3339
from llmspell.errors import InvalidArgument
from llmspell.metrics.filters import Filters
from llmspell.metrics.lines import json_line, text_line
from llmspell.metrics.weight import weigh

if TYPE_CHECKING:
    from llmspell.metrics.timers import Timers

KEEP = 10_000
KEEP_CHARS = 16 * 1024 * 1024
MESSAGE_LIMIT = 65_536
RANKS = {"off": 0, "fatal": 1, "error": 1, "warn": 2, "info": 3, "debug": 4, "trace": 5}
_ALIASES = {"warning": "warn"}


class Entry(NamedTuple):
    """One kept entry; `at` in seconds since 1970 UTC, `level` in upper case."""

    at: float
    level: str
    message: str
    module: str | None
    metadata: Any

    def plain(self) -> dict[str, Any]:
        """Return the entry as a script sees it."""
        found: dict[str, Any] = {"timestamp": rfc3339(self.at), "level": self.level, "message": self.message}
        if self.module is not None:
            found["module"] = self.module
        if self.metadata is not None:
            found["metadata"] = self.metadata
        return found


class DebugLog:
    """Entries of one interpreter.

    sink: called with the rank of a level (1 error .. 5 trace) and a finished line. redact: masks secrets in plain data.
    memory: bytes in use, for timers. module: name used where a call gives none. level: threshold at the start.
    keep: number of entries in the ring. as_json: the form of the lines.
    """

    def __init__(
        self,
        *,
        sink: Callable[[int, str], None] | None = None,
        redact: Callable[[Any], Any] | None = None,
        memory: Callable[[], int] | None = None,
        module: str | None = None,
        level: str = "info",
        enabled: bool = True,
        keep: int = KEEP,
        as_json: bool = False,
    ) -> None:
        self._sink = sink
        self._line = json_line if as_json else text_line
        self._redact = redact or (lambda data: data)
        self._memory = memory or (lambda: 0)
        self.module = module
        self.filters = Filters()
        self._entries: deque[tuple[int, Entry]] = deque()
        self._keep = keep
        self._weight = 0
        self._level = level
        self._enabled = enabled
        self._threshold = RANKS[level] if enabled else 0

    @cached_property
    def timers(self) -> Timers:
        """The timers of the interpreter."""
        from llmspell.metrics.timers import Timers

        return Timers(self._memory)

    def _rank(self, level: str) -> int:
        word = level.lower()
        rank = RANKS.get(_ALIASES.get(word, word), 0)
        if not rank:
            raise InvalidArgument(
                f"unknown level {level!r}: use error, warn, info, debug or trace",
                details={"name": "level", "value": level, "allowed": ["error", "warn", "info", "debug", "trace"]},
            )
        return rank

    def log(self, level: str, message: str | Callable[[], str], module: str | None = None, data: Any = None) -> None:
        """Keep an entry and pass its line on, when level and filters allow; a callable message is called only then.

        Raises InvalidArgument for an unknown level.
        """
        rank = self._rank(level)
        if rank > self._threshold:
            return
        name = module or self.module
        if not self.filters.allows(name or ""):
            return
        text = message() if callable(message) else message
        if len(text) > MESSAGE_LIMIT:
            text = text[:MESSAGE_LIMIT] + "..."
        text = self._redact(text)
        data = None if data is None else self._redact(data)
        word = level.lower()
        entry = Entry(time.time(), _ALIASES.get(word, word).upper(), text, name, data)
        self._keep_entry(entry)
        if self._sink is not None:
            fields: dict[str, Any] = {} if name is None else {"module": name}
            fields |= data if isinstance(data, Mapping) else {} if data is None else {"data": data}
            self._sink(rank, self._line(entry.level, "script_runtime", "log", text, fields, epoch=entry.at))

    def _keep_entry(self, entry: Entry) -> None:
        """Keep the newest entries: at most `keep`, and no more text than `KEEP_CHARS`, for scripts fill this."""
        weight = weigh((entry.message, entry.module, entry.metadata))
        self._entries.append((weight, entry))
        self._weight += weight
        while self._entries and (len(self._entries) > self._keep or self._weight > KEEP_CHARS):
            self._weight -= self._entries.popleft()[0]

    def allows(self, level: str) -> bool:
        """Tell whether entries of a level are kept."""
        return self._rank(level) <= self._threshold

    def set_level(self, level: str) -> bool:
        """Set the threshold; False for an unknown word."""
        word = _ALIASES.get(level.lower(), level.lower())
        if word not in RANKS or word == "fatal":
            return False
        self._level = word
        self.set_enabled(self._enabled)
        return True

    def get_level(self) -> str:
        """Return the threshold in upper case."""
        return self._level.upper()

    def set_enabled(self, enabled: bool) -> None:
        """Switch the log on or off; the threshold stays."""
        self._enabled = enabled
        self._threshold = RANKS[self._level] if enabled else 0

    @property
    def enabled(self) -> bool:
        """Whether the log is on."""
        return self._enabled

    def captured(self, limit: int | None = None) -> list[Entry]:
        """Return the newest `limit` kept entries, oldest first."""
        entries = [entry for _, entry in self._entries]
        return entries if limit is None else entries[max(0, len(entries) - limit) :]

    def clear(self) -> None:
        """Forget the kept entries."""
        self._entries.clear()
        self._weight = 0

    def mask(self, data: Any) -> Any:
        """Return plain data with its secrets masked."""
        return self._redact(data)
