"""What stores in SQLite files share: a private new file, and our errors for those of SQLite."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmspell.base.files import os_error
from llmspell.errors import CorruptData, StorageError, StorageFailure, StorageFull

BUSY_SECONDS = 5.0
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_ERRNO = {
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.ENOENT,
    sqlite3.SQLITE_IOERR: errno.EIO,
}


def create(path: Path) -> None:
    """Make the file with mode 0600 and its folder with 0700, unless they are there. Raises StorageFailure."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise os_error(error, str(path)) from error


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise our errors for those of SQLite."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error, path) from error


def storage_error(error: sqlite3.Error, path: str) -> StorageError:
    """Return our error for one of SQLite about a file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"no space left to write {path}: free some space and try again", details={"path": path})
    if code in _CORRUPT:
        return CorruptData(
            f"{path} is damaged ({error}): restore a backup, the file itself was not touched",
            details={"path": path, "section": "database", "offset": 0},
        )
    if code in _BUSY:
        return StorageError(
            f"{path} was locked by another process for {BUSY_SECONDS:g} s: try again",
            code="locked",
            details={"path": path},
            retryable=True,
        )
    return StorageFailure(f"{path}: {error}", details={"path": path, "errno": _ERRNO.get(code, 0)}, retryable=False)
