"""Where the tenants of a collection live: a folder each under `tenants/`, named by a hash of the scope.

    <collection>/tenants/<blake3 of the scope, 32 hex>/data.db    the documents, with the scope written inside
    <collection>/tenants/<blake3 of the scope, 32 hex>/scope      its text again: listing opens no database

No text of a user is ever part of a path, and a file is used only for the scope that is written in it.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from llmspell.errors import CorruptData, StorageFailure

FOLDER = "tenants"
PREFIX = "tenant:"
FILE = "data.db"
_LABEL = "scope"
PAGE_BYTES = 1024  # an empty schema has some thirty pages


def is_tenant(scope: str) -> bool:
    """Tell whether a scope has a file of its own."""
    return scope.startswith(PREFIX)


def file_of(collection: Path, scope: str) -> Path:
    """Return the file of a tenant in the folder of a collection."""
    from blake3 import blake3

    return collection / FOLDER / blake3(scope.encode()).hexdigest(length=16) / FILE


def private_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, for the owner only."""
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            folder.mkdir(exist_ok=True, mode=0o700)


def label(file: Path, scope: str) -> None:
    """Make the folder of a tenant's file, with the text of its scope."""
    try:
        private_folder(file.parent)
        descriptor = os.open(file.parent / _LABEL, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(scope.encode())
    except OSError as error:
        raise failure("make", file.parent, error) from error


def check(file: str, found: str | None, scope: str) -> None:
    """Refuse a file that was written for another scope. Raises CorruptData."""
    if found != scope:
        raise CorruptData(
            f"{file} does not belong to the scope it stands for: take it away, or bring the right file back",
            details={"path": file, "section": "scope"},
        )


def listed(collection: Path) -> list[str]:
    """Return the scopes with a folder in a collection, sorted."""
    found = []
    for file in (collection / FOLDER).glob(f"*/{_LABEL}"):
        try:
            scope = file.read_bytes().decode()
        except (OSError, UnicodeDecodeError):  # removed just now, or no file of ours
            continue
        own = file_of(collection, scope)
        if own.parent == file.parent and holds(own):
            found.append(scope)
    return sorted(found)


def holds(file: Path) -> bool:
    """Tell whether a file is there and not empty."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def discard(folder: Path, bin_folder: Path) -> None:
    """Remove a folder: gone under its name at once, by a move into the bin, then from the disk."""
    doomed = bin_folder / f"{folder.name}-{os.getpid()}-{time.time_ns()}"
    try:
        private_folder(bin_folder)
        folder.rename(doomed)
        shutil.rmtree(doomed)
    except FileNotFoundError:  # another caller was sooner
        return
    except OSError as error:
        raise failure("remove", folder, error) from error


def failure(what: str, path: Path, error: OSError) -> StorageFailure:
    """Return the error of a system call on a path."""
    return StorageFailure(f"cannot {what} {path}: {error.strerror}", details={"path": str(path), "errno": error.errno})
