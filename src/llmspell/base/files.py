"""Replacing a file so that a crash leaves the old one or the new one, never a mixture."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from llmspell.errors import LLMSpellError, StorageFailure, StorageFull


def replace(path: str | Path, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Write `data` to `path` by temporary file, fsync, rename and fsync of the folder.

    mode: of a new file, set at creation. Raises StorageFull or StorageFailure; the old file is then untouched.
    """
    with replacing(path, mode=mode, sync=sync) as file:
        file.write(data)


@contextmanager
def replacing(path: str | Path, *, mode: int = 0o600, sync: bool = True) -> Iterator[IO[bytes]]:
    """Give a file to write that takes the place of `path` as the block ends; what raises leaves the old file.

    Raises as `replace` does.
    """
    target = Path(path)
    temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(fd)
        os.rename(temporary, target)
        if sync:
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, LLMSpellError):
            raise os_error(error, str(target)) from error
        raise


def os_error(error: OSError, path: str) -> StorageFull | StorageFailure:
    """Translate an operating system error about `path`."""
    details = {"path": path, "errno": error.errno}
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"no space left to write {path}: free some space and try again", details=details)
    return StorageFailure(f"cannot write {path}: {error.strerror or error}", details=details)
