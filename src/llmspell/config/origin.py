"""Layers of configuration and where a value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

DEFAULT, PROFILE, SYSTEM, HOME, PROJECT, FILE = "default", "profile", "system", "home", "project", "file"
ENVIRONMENT, COMMAND_LINE = "environment", "command_line"
Origin = tuple[str, str | None, int | None]


class Problem(NamedTuple):
    """One thing wrong with the configuration; `denied` marks a project file that reaches too far."""

    key: str
    message: str
    path: str | None = None
    line: int | None = None
    suggestion: str | None = None
    denied: bool = False

    def text(self) -> str:
        """Return `file:line: message`."""
        place = f"{self.path}:{self.line}: " if self.path and self.line else f"{self.path}: " if self.path else ""
        return place + self.message

    def plain(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "key": self.key,
            "message": self.message,
            "path": self.path,
            "line": self.line,
            "suggestion": self.suggestion,
        }


class Layer(NamedTuple):
    """What one source states. `text` marks text of the environment or a flag.

    trusted: False for project files of untrusted folders and for profiles they bring or choose.
    """

    word: str
    source: str | None
    values: dict[str, Any]
    lines: dict[str, int]
    text: bool = False
    trusted: bool = True

    def place(self, path: str) -> tuple[str | None, int | None]:
        """Return file and line of a key, or of the nearest table around it."""
        while path:
            if path in self.lines:
                return self.source, self.lines[path]
            path = path.rpartition(".")[0]
        return self.source, None

    @property
    def folder(self) -> Path | None:
        """Folder that relative paths of this layer start from; None for layers that are no file."""
        return Path(self.source).parent if self.source and self.word not in (ENVIRONMENT, COMMAND_LINE) else None


class Entry(NamedTuple):
    """One value of one layer under its canonical path."""

    path: str
    value: Any
    layer: Layer
    given: str

    @property
    def origin(self) -> Origin:
        """Layer word, file and line."""
        return (self.layer.word, *self.layer.place(self.given))
