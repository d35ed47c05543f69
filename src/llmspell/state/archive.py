"""The files of one backup: compressed parts with checksums and a manifest that vouches for all of them.

    <folder>/<id>/data-000.bin    rows: 4 bytes length, MessagePack [key, value, version, created, updated, expires]
    <folder>/<id>/manifest.json   `Manifest`, with `hash` = BLAKE3 of the manifest without it, as sorted JSON

A folder is written under a temporary name and renamed into place last: a listed backup is complete.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from llmspell._core import pack, unpack
from llmspell.base.files import os_error
from llmspell.errors import ConfigurationError, CorruptData, LLMSpellError, NotFound, VersionMismatch
from llmspell.state.backends._base import Row

FORMAT = 1
PART_BYTES = 64 * 1024 * 1024
MANIFEST = "manifest.json"


class Part(msgspec.Struct, frozen=True):
    """One data file."""

    file: str
    bytes: int
    blake3: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds and what it stands on. Times are RFC 3339 in UTC; sizes are bytes."""

    format: int = FORMAT
    id: str
    name: str | None = None
    created_at: str
    created_ns: int
    backup_type: str
    parent_id: str | None = None
    parent_manifest_hash: str | None = None
    store_id: str
    seq_from: int
    seq_to: int
    schema_version: str
    include: list[str]
    scopes: list[str]
    entry_count: int
    deleted_count: int
    raw_bytes: int
    stored_bytes: int
    compression: dict[str, Any]
    encryption: None = None
    parts: list[Part]
    duration_ms: int
    tool_version: str
    hash: str = ""

    @property
    def incremental(self) -> bool:
        """Whether it holds only changes since its parent."""
        return self.backup_type == "incremental"


def seal(manifest: Manifest) -> Manifest:
    """Return the manifest with its hash."""
    from blake3 import blake3

    blank = msgspec.structs.replace(manifest, hash="")
    return msgspec.structs.replace(blank, hash=blake3(msgspec.json.encode(blank, order="sorted")).hexdigest())


def read_manifest(folder: Path) -> Manifest:
    """Read and check a manifest. Raises NotFound, CorruptData or VersionMismatch."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no backup {folder.name!r}", details={"what": "backup", "id": folder.name}) from error
    except OSError as error:
        raise os_error(error, str(path)) from error
    try:
        head = msgspec.json.decode(text)
        if isinstance(head, dict) and isinstance(head.get("format"), int) and head["format"] > FORMAT:
            raise VersionMismatch(
                f"{folder.name} has format {head['format']}, this program reads up to {FORMAT}: use a newer llmspell",
                details={"path": str(path), "found": head["format"], "supported": FORMAT},
            )
        manifest = msgspec.convert(head, Manifest)
    except msgspec.MsgspecError as error:
        raise _damaged(path, f"is no manifest ({error})") from error
    if seal(manifest).hash != manifest.hash or manifest.id != folder.name:
        raise _damaged(path, "was changed after it was written")
    return manifest


def _damaged(path: Path, what: str) -> CorruptData:
    details = {"path": str(path), "section": path.name, "offset": 0}
    return CorruptData(f"{path.parent.name}: {path.name} {what}", details=details)


def compressor(wanted: str, level: int) -> tuple[str, Callable[[bytes], bytes]]:
    """Return the algorithm that is used for a wanted one, and its function.

    `zstd` is used where this Python or the package zstandard has it; else gzip takes its place.
    """
    if wanted == "none":
        return "none", bytes
    if wanted == "zstd" and (found := _zstd()) is not None:
        compress = found[0]
        return "zstd", lambda data: compress(data, level)
    if wanted in ("gzip", "zstd"):
        return "gzip", lambda data: zlib.compress(data, level)
    raise ConfigurationError(f"unknown backup compression {wanted!r}: use none, gzip or zstd")


def _opener(algorithm: str) -> Callable[[bytes], bytes]:
    if algorithm == "none":
        return bytes
    if algorithm == "gzip":
        return zlib.decompress
    if algorithm == "zstd" and (found := _zstd()) is not None:
        return found[1]
    raise ConfigurationError(f"this backup is compressed with {algorithm}: run pip install zstandard to read it")


def _zstd() -> tuple[Callable[[bytes, int], bytes], Callable[[bytes], bytes]] | None:
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("compression") is not None:
        module = import_module("compression.zstd")
        return module.compress, module.decompress
    if find_spec("zstandard") is not None:
        module = import_module("zstandard")
        return lambda data, level: module.compress(data, level), module.decompress
    return None


def write_parts(
    folder: Path, rows: Iterable[Row], compress: Callable[[bytes], bytes], counts: dict[str, int]
) -> list[Part]:
    """Write the rows as parts; `counts` gets entry_count, deleted_count, raw_bytes, stored_bytes."""
    parts: list[Part] = []
    buffer = bytearray()

    def flush() -> None:
        if buffer:
            parts.append(_write_part(folder / f"data-{len(parts):03d}.bin", compress(bytes(buffer))))
            counts["raw_bytes"] += len(buffer)
            counts["stored_bytes"] += parts[-1].bytes
            buffer.clear()

    for row in rows:
        record = pack(list(row[:6]))
        buffer += len(record).to_bytes(4, "big") + record
        if not row.key.startswith(b"meta::"):
            counts["deleted_count" if row.value is None else "entry_count"] += 1
        if len(buffer) >= PART_BYTES:
            flush()
    flush()
    return parts


def _write_part(path: Path, data: bytes) -> Part:
    from blake3 import blake3

    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except OSError as error:
        raise os_error(error, str(path)) from error
    return Part(path.name, len(data), blake3(data).hexdigest())


def read_part(folder: Path, part: Part) -> bytes:
    """Return the stored bytes of a part. Raises CorruptData when they are not what was written."""
    from blake3 import blake3

    path = folder / Path(part.file).name
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    except OSError as error:
        raise os_error(error, str(path)) from error
    if len(data) != part.bytes or blake3(data).hexdigest() != part.blake3:
        raise _damaged(path, "does not match its checksum")
    return data


def _row(record: Any) -> Row:
    key, value, version, created, updated, expires = record
    if not isinstance(key, bytes) or not isinstance(value, bytes | None):
        raise TypeError("a key or a value is not bytes")
    return Row(key, value, int(version), int(created), int(updated), expires, 0)


def read_rows(folder: Path, manifest: Manifest) -> Iterator[Row]:
    """Yield the rows of one backup, tombstones included; every part is checked before it is used."""
    extract = _opener(str(manifest.compression.get("algorithm")))
    for part in manifest.parts:
        data = read_part(folder, part)
        try:
            raw = memoryview(extract(data))
            at = 0
            while at < len(raw):
                size = int.from_bytes(raw[at : at + 4], "big")
                yield _row(unpack(raw[at + 4 : at + 4 + size]))
                at += 4 + size
        except (zlib.error, ValueError, TypeError, LLMSpellError) as error:
            raise _damaged(folder / part.file, f"cannot be read ({error})") from error
