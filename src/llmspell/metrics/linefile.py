"""A file that gets lines and is put aside when it is full, so that a script that logs without end fills no disk."""

from __future__ import annotations

import os
from typing import Any

from llmspell.errors import ConfigurationError, StorageFailure


class LineFile:
    """Lines at the end of a file: `path`, and the older ones `path.1` .. `path.<max_files - 1>`, oldest last.

    append: keep what the file held before. max_size: bytes at which a new file is begun. Raises ConfigurationError when
    the file cannot be opened.
    """

    def __init__(self, path: str, *, append: bool, max_size: int, max_files: int, key: str) -> None:
        self._path = path
        self._max_size = max_size
        self._max_files = max_files
        self._key = key
        self._fd = self._opened(0 if append else os.O_TRUNC)
        self._size = os.fstat(self._fd).st_size

    @classmethod
    def of(cls, settings: Any) -> LineFile | None:
        """Return the file that the section `debug` names, None when it names none. Raises ConfigurationError."""
        if settings.output_file_path is None:
            return None
        return cls(
            settings.output_file_path,
            append=settings.output_file_append,
            max_size=settings.output_file_max_size,
            max_files=settings.output_file_max_files,
            key="debug.output.file.path",
        )

    def _opened(self, flags: int) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags, 0o640)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self._key} {self._path}: {error.strerror}", details={"key": self._key}
            ) from error

    def write(self, line: str) -> None:
        """Add a line; the newline is added here. Raises StorageFailure."""
        data = (line + "\n").encode("utf-8", "replace")
        if self._size and self._size + len(data) > self._max_size:
            self._begin()
        try:
            os.write(self._fd, data)
        except OSError as error:
            details = {"path": self._path, "errno": error.errno}
            raise StorageFailure(f"cannot write {self._key} {self._path}: {error.strerror}", details=details) from error
        self._size += len(data)

    def _begin(self) -> None:
        os.close(self._fd)
        for number in range(self._max_files - 1, 0, -1):
            newer = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.exists(newer):
                os.replace(newer, f"{self._path}.{number}")
        self._fd = self._opened(os.O_TRUNC)
        self._size = 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
