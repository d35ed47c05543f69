"""Acting on files through directory descriptors, so that what was judged is what is touched.

A real path is walked from `/`, one component after the other, and no component may be a link: whoever swaps a folder
for a link between the judging and the walk gets an error, because the judged path has no links in it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from llmspell.errors import AlreadyExists, LLMSpellError, NotFound, StorageFailure, StorageFull
from llmspell.security.rules import path_denied

_DIR_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_folder(real: str) -> int:
    """Return a descriptor of the folder at a real path; for use as `dir_fd`, not for reading. Raises OSError."""
    fd = os.open("/", _DIR_FLAGS)
    try:
        for name in real.split("/"):
            if name:
                deeper = os.open(name, _DIR_FLAGS, dir_fd=fd)
                os.close(fd)
                fd = deeper
    except BaseException:
        os.close(fd)
        raise
    return fd


def storage_error(error: OSError, given: str) -> LLMSpellError:
    """Return our error for one of the system's about the path `given`."""
    details = {"path": given, "errno": error.errno}
    if error.errno == errno.ELOOP:
        return path_denied(given, "a link is in its way", violation="path_traversal")
    if error.errno == errno.ENXIO:
        return path_denied(given, "it is not a regular file")
    if error.errno == errno.ENOENT:
        return NotFound(f"{given!r} does not exist", details=details)
    if error.errno == errno.EEXIST:
        return AlreadyExists(f"{given!r} exists already", details=details)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"no space left to write {given!r}: free some space and try again", details=details)
    return StorageFailure(f"cannot use {given!r}: {error.strerror or error}", details=details)


def open_file(folder: int, name: str, flags: int, given: str, *, mode: int = 0o666) -> int:
    """Return a descriptor of a regular file, opened without following and without waiting.

    O_TRUNC takes effect only after the file was judged. Raises PathDenied for devices, FIFOs, sockets and for hard
    links to another user's file; IsADirectoryError for folders.
    """
    truncate = flags & os.O_TRUNC
    flags &= ~os.O_TRUNC
    try:
        # Looked at before it is opened: opening a device can already have an effect.
        check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), given)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    fd = os.open(name, flags | _FILE_FLAGS, mode & 0o777, dir_fd=folder)
    try:
        check_regular(os.fstat(fd), given)
        os.set_blocking(fd, True)
        if truncate:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_regular(status: os.stat_result, given: str) -> None:
    """Raise unless the status is that of a regular file which is ours to open."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory")
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "link")
    if not stat.S_ISREG(status.st_mode):
        raise path_denied(given, "it is not a regular file")
    if status.st_nlink > 1 and status.st_uid != os.geteuid():
        raise path_denied(given, "it is a hard link to a file of another owner")


def write_beside(folder: int, name: str, data: bytes, *, mode: int, sync: bool = True) -> None:
    """Replace `name` in the folder by a new file with `data`: temporary file, fsync, rename. Raises OSError."""
    temporary = f".{name[:200]}.{os.urandom(6).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fchmod(fd, mode)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):  # the rename was done before the interruption
            os.unlink(temporary, dir_fd=folder)
        raise
    if sync:
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(readable)
        finally:
            os.close(readable)


def entries(folder: int) -> list[tuple[str, os.stat_result]]:
    """Return names and statuses of a folder, sorted; links are not followed. Raises OSError."""
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    found: list[tuple[str, os.stat_result]] = []
    try:
        for name in sorted(os.listdir(readable)):
            try:
                found.append((name, os.stat(name, dir_fd=readable, follow_symlinks=False)))
            except FileNotFoundError:
                continue  # removed since it was listed
    finally:
        os.close(readable)
    return found


def remove_tree(folder: int, name: str, *, depth: int, given: str) -> int:
    """Delete a file, a link or a folder with all in it; return how many entries went. Links are deleted, not followed.

    Raises OSError, or StorageFailure when the tree is deeper than `depth`.
    """
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=folder)
        return 1
    if depth < 0:
        raise StorageFailure(
            f"{given!r} is nested deeper than tools.file_operations.max_depth", code="too_deep", details={"path": given}
        )
    inner = os.open(name, _DIR_FLAGS, dir_fd=folder)
    try:
        count = sum(remove_tree(inner, child, depth=depth - 1, given=given) for child, _ in entries(inner))
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)
    return count + 1
