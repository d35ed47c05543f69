"""Read, write, append, delete, list, copy, move and inspect files and folders inside the allowed paths."""

from __future__ import annotations

import base64
import binascii
import codecs
import errno
import fnmatch
import os
import stat
from pathlib import Path
from typing import Annotated, Any

from llmspell.errors import NotFound, StorageFailure
from llmspell.tools._base import (
    Case,
    DirPath,
    P,
    ReadPath,
    Result,
    ToolContext,
    ToolFailure,
    ToolHeader,
    WritePath,
    operation,
    violation,
)
from llmspell.tools._files import check_size, children, copy_file, copy_tree, describe, entry, kind_of, walk, write_file

TOOL = ToolHeader(
    category="filesystem",
    level="restricted",
    aliases=("files",),
    needs=("files",),
    tags=("file", "directory", "read", "write"),
    tests=(
        Case(
            "read", {"operation": "read", "path": "a.txt"}, {"text": "hello", "result": {"size": 5}}, {"a.txt": "hello"}
        ),
        Case(
            "read a part",
            {"operation": "read", "path": "a.txt", "offset": 1, "limit": 3},
            {"text": "ell", "result": {"truncated": True}},
            {"a.txt": "hello"},
        ),
        Case(
            "write",
            {"operation": "write", "path": "new/b.txt", "input": "hi"},
            {"result": {"bytes_written": 2, "created": True}},
        ),
        Case(
            "append",
            {"operation": "append", "path": "a.txt", "input": " you"},
            {"result": {"append_size": 4, "size": 9}},
            {"a.txt": "hello"},
        ),
        Case(
            "delete", {"operation": "rm", "path": "a.txt"}, {"result": {"deleted": True, "entries": 1}}, {"a.txt": ""}
        ),
        Case("create_dir", {"operation": "mkdir", "path": "folder"}, {"result": {"created": True}}),
        Case(
            "list_dir",
            {"operation": "ls", "path": "box"},
            {"text": "one.txt\ntwo.txt", "result": {"count": 2}},
            {"box/one.txt": "1", "box/two.txt": "2"},
        ),
        Case(
            "copy",
            {"operation": "cp", "path": "a.txt", "target_path": "b.txt"},
            {"result": {"size": 5}},
            {"a.txt": "hello"},
        ),
        Case(
            "move", {"operation": "mv", "path": "a.txt", "target_path": "b.txt"}, {"success": True}, {"a.txt": "hello"}
        ),
        Case("metadata", {"operation": "stat", "path": "a.txt"}, {"result": {"type": "file"}}, {"a.txt": "hello"}),
        Case("exists", {"operation": "exists", "path": "absent.txt"}, {"result": {"exists": False}}),
        Case("touch", {"operation": "touch", "path": "new.txt"}, {"success": True}),
        Case("absent", {"operation": "read", "path": "absent.txt"}, {"success": False, "error": {"code": "not_found"}}),
    ),
)

File = Annotated[ReadPath, P("File or folder")]
Place = Annotated[WritePath, P("File or folder")]
Target = Annotated[WritePath, P("Where it goes")]
Content = Annotated[str | bytes, P("Text, or base64 with binary")]
Encoding = Annotated[str, P("Character set")]
Binary = Annotated[bool, P("Content is base64")]
Overwrite = Annotated[bool, P("Replace what is there")]
Tree = Annotated[bool, P("Folders with all in them")]


@operation("read", text="content", read_only=True)
def read(
    path: File,
    encoding: Encoding = "utf-8",
    offset: Annotated[int, P("Bytes to skip", ge=0)] = 0,
    limit: Annotated[int | None, P("At most so many bytes", ge=0)] = None,
    binary: Binary = False,
    *,
    ctx: ToolContext,
) -> Result:
    """Read a file."""
    codec = _codec(encoding)
    with ctx.security.open(path) as file:
        size = os.fstat(file.fileno()).st_size
        wanted = max(0, size - offset) if limit is None else limit
        check_size(ctx, path, wanted if limit is None else min(limit, max(0, size - offset)))
        file.seek(offset)
        data = file.read(min(wanted, ctx.security.max_file_size))
    cut = offset + len(data) < size
    if binary:
        content = base64.b64encode(data).decode("ascii")
    else:
        content = _decode(data, codec, path, head_cut=offset > 0, tail_cut=cut)
    value = {
        "path": str(path),
        "content": content,
        "text": content,
        "input": content,
        "size": size,
        "encoding": "base64" if binary else encoding,
        "truncated": cut,
    }
    return Result(value, metadata=_about(path, size))


@operation("write", destructive=True)
def write(
    path: Place,
    input: Content,  # noqa: A002 - the parameter's published name
    encoding: Encoding = "utf-8",
    binary: Binary = False,
    create_dirs: Annotated[bool, P("Make missing folders")] = True,
    overwrite: Overwrite = True,
    mode: Annotated[str | None, P("Permissions in octal", pattern="^0?[0-7]{3}$", examples=["644"])] = None,
    *,
    ctx: ToolContext,
) -> Result:
    """Write a whole file, replacing it at once."""
    data = _encode(input, encoding, binary=binary)
    check_size(ctx, path, len(data))
    if create_dirs:
        ctx.security.mkdir(path.parent, parents=True, exist_ok=True)
    created = write_file(ctx, path, data, overwrite=overwrite, mode=None if mode is None else int(mode, 8))
    value = {"path": str(path), "bytes_written": len(data), "created": created, "size": len(data)}
    return Result(value, text=f"Wrote {len(data)} bytes to {path}", metadata=_about(path, len(data)))


@operation("append")
def append(
    path: Place,
    input: Content,  # noqa: A002 - the parameter's published name
    create: Annotated[bool, P("Make the file if it is missing")] = True,
    encoding: Encoding = "utf-8",
    *,
    ctx: ToolContext,
) -> Result:
    """Add to the end of a file."""
    data = _encode(input, encoding, binary=False)
    if not create and not ctx.security.exists(path):
        raise NotFound(f"{str(path)!r} does not exist", details={"path": str(path)})
    with ctx.security.open(path, "ab") as file:
        size = os.fstat(file.fileno()).st_size + len(data)
        check_size(ctx, path, size)
        file.write(data)
    value = {"path": str(path), "append_size": len(data), "size": size}
    return Result(value, text=f"Appended {len(data)} bytes to {path}", metadata=_about(path, size))


@operation("delete", aliases=("rm", "remove"), destructive=True)
def delete(
    path: Place,
    recursive: Annotated[bool, P("Delete a folder with all in it", level="privileged")] = False,
    missing_ok: Annotated[bool, P("A missing file is no failure")] = False,
    *,
    ctx: ToolContext,
) -> Result:
    """Delete a file or link, or with recursive a folder."""
    try:
        folder = stat.S_ISDIR(ctx.security.stat(path, follow=False).st_mode)
        if folder and not recursive:
            raise ToolFailure("is_directory", f"{path} is a directory: delete it with recursive = true")
        count = ctx.security.remove(path, recursive=recursive)
    except NotFound:
        if not missing_ok:
            raise
        value = {"path": str(path), "deleted": False, "entries": 0}
        return Result(value, text=f"{path} does not exist", metadata=_about(path))
    word = "directory" if folder else "file"
    value = {"path": str(path), "deleted": True, "entries": count}
    return Result(value, text=f"Deleted {word} {path}", metadata=_about(path))


@operation("create_dir", aliases=("mkdir",))
def create_dir(
    path: Annotated[DirPath, P("Folder")],
    recursive: Annotated[bool, P("Make missing parents; a folder that is there is fine")] = False,
    *,
    ctx: ToolContext,
) -> Result:
    """Make a folder."""
    created = ctx.security.mkdir(path, parents=recursive, exist_ok=recursive)
    value = {"path": str(path), "recursive": recursive, "created": created}
    text = f"Created directory {path}" if created else f"Directory {path} exists"
    return Result(value, text=text, metadata=_about(path))


@operation("list_dir", aliases=("ls", "dir", "list"), read_only=True)
def list_dir(
    path: Annotated[DirPath, P("Folder")],
    recursive: Tree = False,
    pattern: Annotated[str | None, P("Names wanted, with * ? [ ]", max_length=1000)] = None,
    hidden: Annotated[bool, P("Names that begin with a dot")] = True,
    limit: Annotated[int, P("At most so many entries", ge=1, le=100_000)] = 1000,
    *,
    ctx: ToolContext,
) -> Result:
    """List a folder."""
    found = walk(ctx, path, depth=ctx.security.max_depth - 1) if recursive else iter(children(ctx, path))
    if recursive:
        ctx.security.scan(path)
    entries: list[dict[str, Any]] = []
    truncated = False
    for child, status in found:
        relative = child.relative_to(path)
        if not hidden and any(part.startswith(".") for part in relative.parts):
            continue
        if pattern is not None and not fnmatch.fnmatchcase(child.name, pattern):
            continue
        if len(entries) == limit:
            truncated = True
            break
        entries.append(entry(child, status) | {"name": str(relative)})
    value = {"path": str(path), "entries": entries, "count": len(entries), "truncated": truncated}
    return Result(value, text="\n".join(item["name"] for item in entries), metadata=_about(path, count=len(entries)))


@operation("copy", aliases=("cp",))
def copy(
    path: File, target_path: Target, overwrite: Overwrite = False, recursive: Tree = False, *, ctx: ToolContext
) -> Result:
    """Copy a file, or with recursive a folder."""
    security = ctx.security
    folder = stat.S_ISDIR(security.stat(path).st_mode)
    target = _into(ctx, path, target_path)
    if folder and not recursive:
        raise ToolFailure("is_directory", f"{path} is a directory: copy it with recursive = true")
    if target == path or (folder and target.is_relative_to(path)):
        raise ToolFailure("same_place", f"{path} cannot be copied onto or into itself")
    if folder:
        if not overwrite and security.exists(target):
            raise ToolFailure("already_exists", f"{target} exists already: set overwrite = true")
        size = copy_tree(ctx, path, target, overwrite=overwrite, depth=security.max_depth)
    else:
        size = copy_file(ctx, path, target, overwrite=overwrite)
    value = {"path": str(path), "source": str(path), "target": str(target), "size": size}
    return Result(value, text=f"Copied {path} to {target}", metadata=_about(target, size))


@operation("move", aliases=("mv", "rename"), destructive=True)
def move(path: Place, target_path: Target, overwrite: Overwrite = False, *, ctx: ToolContext) -> Result:
    """Move or rename a file or folder."""
    security = ctx.security
    status = security.stat(path, follow=False)
    target = _into(ctx, path, target_path)
    if target == path or target.is_relative_to(path):
        raise ToolFailure("same_place", f"{path} cannot be moved onto or into itself")
    try:
        security.rename(path, target, overwrite=overwrite)
    except StorageFailure as error:
        if error.details.get("errno") != errno.EXDEV:
            raise
        if stat.S_ISDIR(status.st_mode):
            copy_tree(ctx, path, target, overwrite=overwrite, depth=security.max_depth)
        else:
            copy_file(ctx, path, target, overwrite=overwrite)
        security.remove(path, recursive=True)
    value = {"path": str(path), "source": str(path), "target": str(target)}
    return Result(value, text=f"Moved {path} to {target}", metadata=_about(target, status.st_size))


@operation("metadata", aliases=("stat", "info"), read_only=True)
def metadata(path: Place, *, ctx: ToolContext) -> Result:
    """Tell size, times and permissions of a file, folder or link."""
    status = ctx.security.stat(path, follow=False)
    value = describe(path, status)
    if stat.S_ISLNK(status.st_mode):
        value["symlink_target"] = ctx.security.readlink(path)
    text = "\n".join(f"{name}: {item}" for name, item in value.items())
    return Result(value, text=text, metadata=_about(path, status.st_size))


@operation("exists", read_only=True)
def exists(path: Place, *, ctx: ToolContext) -> Result:
    """Tell whether a file or folder is there."""
    try:
        kind = kind_of(ctx.security.stat(path, follow=False))
    except (NotFound, StorageFailure):
        return Result({"path": str(path), "exists": False}, text=f"{path} does not exist", metadata=_about(path))
    return Result({"path": str(path), "exists": True, "type": kind}, text=f"{path} exists", metadata=_about(path))


@operation("touch")
def touch(path: Place, *, ctx: ToolContext) -> Result:
    """Make an empty file, or set the time of one that is there to now."""
    with ctx.security.open(path, "ab") as file:
        os.utime(file.fileno())
        status = os.fstat(file.fileno())
    value = {"path": str(path), "modified": entry(path, status)["modified"]}
    return Result(value, text=f"Touched {path}", metadata=_about(path, status.st_size))


def _about(path: Path, size: int | None = None, **more: Any) -> dict[str, Any]:
    about: dict[str, Any] = {"file_path": str(path), **more}
    if size is not None:
        about["file_size"] = size
    return about


def _into(ctx: ToolContext, source: Path, target: Path) -> Path:
    """Return the target, inside it if it is a folder that is there."""
    try:
        there = ctx.security.stat(target)
    except (NotFound, StorageFailure):
        return target
    return target / source.name if stat.S_ISDIR(there.st_mode) and target != source else target


def _codec(encoding: str) -> str:
    try:
        info = codecs.lookup(encoding)
    except (LookupError, ValueError) as error:
        raise violation("encoding", f"unknown character set {encoding[:40]!r}") from error
    # Codecs such as zip or rot13 turn bytes into bytes, and could inflate a small file without bounds.
    if not info._is_text_encoding:  # noqa: SLF001 - the only place where codecs tells it
        raise violation("encoding", f"{encoding!r} is not a character set")
    return info.name


def _decode(data: bytes, codec: str, path: Path, *, head_cut: bool, tail_cut: bool) -> str:
    """Return the text; a character cut by offset or limit is left out."""
    if head_cut and codec == "utf-8":
        start = next((i for i, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), len(data[:4]))
        data = data[start:]
    try:
        return codecs.getincrementaldecoder(codec)("strict").decode(data, not tail_cut)
    except UnicodeError as error:
        raise ToolFailure(
            "decode_error",
            f"{path.name} is not {codec} text: read it with binary = true or another encoding",
            {"path": str(path), "encoding": codec},
        ) from error


def _encode(content: str | bytes, encoding: str, *, binary: bool) -> bytes:
    if binary:
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise violation("input", "base64 text expected with binary = true") from error
    if isinstance(content, bytes):
        return content
    try:
        return content.encode(_codec(encoding))
    except UnicodeError as error:
        raise violation("input", f"the text cannot be written as {encoding}") from error
