"""What the file tools share: entries of a folder, times as text, walking trees under the sandbox."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell.base.clock import rfc3339
from llmspell.errors import StorageError
from llmspell.tools._base import ToolFailure

if TYPE_CHECKING:
    from llmspell.tools._base import ToolContext


def kind_of(status: os.stat_result) -> str:
    """Return `file`, `directory`, `symlink` or `unknown`."""
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(status.st_mode) else "unknown"


def entry(path: Path, status: os.stat_result) -> dict[str, Any]:
    """Return the record of one entry of a folder."""
    return {
        "name": path.name,
        "path": str(path),
        "type": kind_of(status),
        "size": status.st_size,
        "modified": rfc3339(status.st_mtime),
    }


def describe(path: Path, status: os.stat_result) -> dict[str, Any]:
    """Return all that is known of a file, folder or link."""
    created = getattr(status, "st_birthtime", status.st_ctime)
    return {
        "path": str(path),
        "type": kind_of(status),
        "size": status.st_size,
        "readonly": not status.st_mode & 0o222,
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "created": rfc3339(created),
        "modified": rfc3339(status.st_mtime),
        "accessed": rfc3339(status.st_atime),
    }


def children(ctx: ToolContext, folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the entries of a folder that the sandbox admits, sorted by name; links are not followed."""
    security = ctx.security
    found = [(folder / name, status) for name, status in security.scan(folder)]
    return [(path, status) for path, status in found if security.admits(path)]


def walk(ctx: ToolContext, folder: Path, *, depth: int) -> Iterator[tuple[Path, os.stat_result]]:
    """Give all entries below a folder, parents before children, down to `depth` further levels.

    A folder that cannot be read is reported as a warning and passed over.
    """
    ctx.check()
    try:
        listed = children(ctx, folder)
    except StorageError as error:
        ctx.warn(f"{folder}: {error.message}")
        return
    for path, status in listed:
        yield path, status
        if depth > 0 and stat.S_ISDIR(status.st_mode):
            yield from walk(ctx, path, depth=depth - 1)


def check_size(ctx: ToolContext, path: Path, size: int) -> None:
    """Raise ToolFailure `too_large` for more bytes than a tool may read or write."""
    limit = ctx.security.max_file_size
    if size > limit:
        raise ToolFailure(
            "too_large",
            f"{path.name} has {size} bytes, more than the {limit} of tools.file_operations.max_file_size",
            {"path": str(path), "size": size, "limit": limit},
            error_kind="resource_limit",
        )


def copy_file(ctx: ToolContext, source: Path, target: Path, *, overwrite: bool) -> int:
    """Copy one file with its mode; return its size. Raises AlreadyExists."""
    security = ctx.security
    with security.open(source) as file:
        status = os.fstat(file.fileno())
        check_size(ctx, source, status.st_size)
        data = file.read(security.max_file_size + 1)
    check_size(ctx, source, len(data))
    mode = stat.S_IMODE(status.st_mode) & 0o777
    write_file(ctx, target, data, overwrite=overwrite, mode=mode)
    return len(data)


def copy_tree(ctx: ToolContext, source: Path, target: Path, *, overwrite: bool, depth: int) -> int:
    """Copy a folder with all in it; links and special files are left out with a warning. Return the bytes copied."""
    if depth < 0:
        raise ToolFailure("too_deep", f"{source} is nested deeper than tools.file_operations.max_depth")
    ctx.check()
    ctx.security.mkdir(target, exist_ok=True)
    size = 0
    for path, status in children(ctx, source):
        if stat.S_ISDIR(status.st_mode):
            size += copy_tree(ctx, path, target / path.name, overwrite=overwrite, depth=depth - 1)
        elif stat.S_ISREG(status.st_mode):
            size += copy_file(ctx, path, target / path.name, overwrite=overwrite)
        else:
            ctx.warn(f"{path} is a {kind_of(status)} and was not copied")
    return size


def write_file(ctx: ToolContext, path: Path, data: bytes, *, overwrite: bool, mode: int | None) -> bool:
    """Write a whole file, atomically if so configured; tell whether it is new. Raises AlreadyExists."""
    security = ctx.security
    check_size(ctx, path, len(data))
    if overwrite and security.atomic_writes:
        return security.replace(path, data, mode=mode)
    new = not security.exists(path)
    with security.open(path, "wb" if overwrite else "xb", create_mode=0o644 if mode is None else mode) as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        file.write(data)
    return new
