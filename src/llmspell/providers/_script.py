"""Scripts of the scripted model: turns, how far they were played, and the log of requests. Safe from any thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmspell.errors import ConfigurationError, ProviderError

LOG_LENGTH = 1000


class Turns:
    """The turns of one script. Each request takes the next one; with `loop` the first follows the last."""

    def __init__(self, turns: Sequence[Any], *, loop: bool = False) -> None:
        self._turns = list(turns)
        self._loop = loop
        self._played = 0
        self._lock = threading.Lock()  # protects _played

    def claim(self) -> tuple[int, Any]:
        """Take the next turn: its number from 1, and the turn. Raises ProviderError `script_exhausted`."""
        with self._lock:
            index = self._played
            if self._loop and self._turns:
                turn = self._turns[index % len(self._turns)]
            elif index < len(self._turns):
                turn = self._turns[index]
            else:
                raise exhausted()
            self._played += 1
        return index + 1, turn


def exhausted() -> ProviderError:
    """Return the error of a script that has no turn left."""
    return ProviderError(
        "scripted model: no reply left",
        code="script_exhausted",
        details={"provider": "scripted"},
        component="provider:scripted",
        retryable=False,
    )


class Scripts:
    """All named scripts of the process, and what each was asked. The log keeps the last 1000 requests of a name."""

    def __init__(self, configured: Mapping[str, Any] | None = None) -> None:
        self._configured = dict(configured or {})
        self._turns: dict[str, Turns] = {}
        self._log: dict[str, deque[dict[str, Any]]] = {}
        self._lock = threading.Lock()  # protects all three

    def define(self, name: str, turns: Sequence[Any], *, loop: bool = False) -> None:
        """Define or replace the script `name`; its log starts anew."""
        with self._lock:
            self._turns[name] = Turns(turns, loop=loop)
            self._log.pop(name, None)

    def get(self, name: str) -> Turns:
        """Return the script `name`, an empty one where there is none."""
        with self._lock:
            if name not in self._turns:
                self._turns[name] = _load(name, self._configured.get(name))
            return self._turns[name]

    def names(self) -> list[str]:
        """Return the names of all scripts, sorted."""
        with self._lock:
            return sorted({*self._configured, *self._turns})

    def record(self, name: str, request: dict[str, Any]) -> None:
        """Append a request to the log of `name`."""
        with self._lock:
            self._log.setdefault(name, deque(maxlen=LOG_LENGTH)).append(request)

    def log(self, name: str) -> list[dict[str, Any]]:
        """Return the requests `name` received, in order."""
        with self._lock:
            return list(self._log.get(name, ()))


def _load(name: str, entry: Any) -> Turns:
    if entry is None:
        return Turns(())
    key = f"providers.scripted.scripts.{name}"
    if isinstance(entry, Mapping) and "script_file" in entry:
        entry = {**_read(Path(str(entry["script_file"])), key), **{k: v for k, v in entry.items() if k == "loop"}}
    if isinstance(entry, list):
        entry = {"turns": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("turns"), list):
        raise ConfigurationError(
            f"{key}: a script is a table with a list 'turns', or with 'script_file'", details={"key": key}
        )
    return Turns(entry["turns"], loop=bool(entry.get("loop", False)))


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        if path.suffix == ".toml":
            import tomllib

            value: Any = tomllib.loads(path.read_text("utf-8"))
        else:
            value = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{key}: cannot read {path}: {error}", details={"key": key}) from error
    return {"turns": value} if isinstance(value, list) else dict(value) if isinstance(value, Mapping) else {}
