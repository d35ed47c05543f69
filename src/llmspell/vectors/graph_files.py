"""Saved indexes beside the rows: `ns-<blake3 of the scope, 16 hex>.lsvx`, tagged with the state of the rows they hold.

An index is derived: whatever is wrong with its file, the rows are there to make it anew. One process saves at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from llmspell._core import VectorIndex
from llmspell.errors import LLMSpellError
from llmspell.vectors.attributes import Columns

LOCK = "LOCK"
_MAX_TAG = 4096


class Tag(msgspec.Struct, kw_only=True):
    """What a file holds. created, number: of the collection and its scope. columns: None without attributes."""

    created: float
    number: int
    top: int
    seq: int
    columns: Columns | None = None

    def encode(self) -> bytes:
        """Return the bytes of the tag; more fields than fit are left out, and then filters do without the index."""
        data = msgspec.json.encode(self)
        if len(data) > _MAX_TAG:
            data = msgspec.json.encode(msgspec.structs.replace(self, columns=Columns(overflow=True)))
        return data


def path_of(folder: Path, scope: str) -> Path:
    """Return the file of the index of a scope."""
    from blake3 import blake3

    return folder / f"ns-{blake3(scope.encode()).hexdigest(length=8)}.lsvx"


def load(file: Path) -> tuple[VectorIndex, Tag] | str:
    """Return a saved index with its tag, or why it cannot be used."""
    try:
        index = VectorIndex.open(file, mmap=True)
        return index, msgspec.json.decode(index.tag, type=Tag)
    except LLMSpellError as error:
        return error.message
    except msgspec.DecodeError as error:
        return f"its tag is damaged: {error}"


@contextmanager
def saving(folder: Path) -> Iterator[bool]:
    """Tell whether this process may save now: another one that does so goes first."""
    import fcntl

    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        for draft in folder.glob("*.lsvx.tmp-*"):  # of a process that died while it held the lock
            draft.unlink(missing_ok=True)
        yield True
    finally:
        os.close(descriptor)


def remove(folder: Path, scope: str) -> None:
    """Remove the file of a scope."""
    path_of(folder, scope).unlink(missing_ok=True)
