"""Replacing a file so that a crash leaves the old one or the new one, never a mixture."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from llmspell.errors import StorageFailure, StorageFull


def replace(path: str | Path, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Write `data` to `path` by temporary file, fsync, rename and fsync of the folder.

    mode: of a new file, set at creation. Raises StorageFull or StorageFailure; the old file is then untouched.
    """
    target = Path(path)
    temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, target)
        if sync:
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise os_error(error, str(target)) from error


def os_error(error: OSError, path: str) -> StorageFull | StorageFailure:
    """Translate an operating system error about `path`."""
    details = {"path": path, "errno": error.errno}
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"no space left to write {path}: free some space and try again", details=details)
    return StorageFailure(f"cannot write {path}: {error.strerror or error}", details=details)
