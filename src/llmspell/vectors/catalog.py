"""`Catalog`: the collections of a vectors folder, opened at first use."""

from __future__ import annotations

import re
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from llmspell.errors import InvalidArgument, NotFound, StorageFailure
from llmspell.vectors import files
from llmspell.vectors.collection import Collection

if TYPE_CHECKING:
    from llmspell.vectors.records import Recorded

FILE = "data.db"
MAX_FOLDER = 200
_ESCAPED = re.compile(r"%([0-9a-f]{2})")


def folder_name(name: str) -> str:
    """Return the folder of a collection: small letters, digits, `_` and `-` stand for themselves, other bytes as %xx.

    Capitals are escaped too, so that two names never meet in a file system that ignores case. Raises InvalidArgument.
    """
    try:
        raw = name.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("the name of a collection is no valid text", details={"name": "collection"}) from error
    text = "".join(chr(b) if chr(b) in "abcdefghijklmnopqrstuvwxyz0123456789_-" else f"%{b:02x}" for b in raw)
    if not 0 < len(text) <= MAX_FOLDER or any(b < 32 for b in raw):
        raise InvalidArgument(
            f"bad collection name {name[:40]!r}: expected 1 to {MAX_FOLDER} letters, digits, '_' or '-' "
            "(others count three per byte), no control characters",
            details={"name": "collection", "value": name[:100]},
        )
    return text


def _name(folder: str) -> str:
    raw = _ESCAPED.sub(lambda hit: chr(int(hit[1], 16)), folder)
    return raw.encode("latin-1").decode()


class Catalog:
    """Collections by name. folder: where their folders are. memory: keep them in memory until `save`."""

    def __init__(self, folder: Path, *, memory: bool, durability: str, max_bytes: int) -> None:
        self.folder = folder
        self._memory = memory
        self._durability = durability
        self._max_bytes = max_bytes
        self._opened: dict[str, Collection] = {}
        self._lock = threading.Lock()  # protects _opened

    def _file(self, name: str) -> Path:
        return self.folder / folder_name(name) / FILE

    def find(self, name: str) -> Collection | None:
        """Return a collection, or None where there is none."""
        file = self._file(name)
        with self._lock:
            known = self._opened.get(name)
            if known is not None or self._memory or not file.exists() or not file.stat().st_size:
                return known
            try:
                return self._open(name, str(file), None)
            except NotFound:
                return None

    def opened(self, name: str) -> Collection | None:
        """Return a collection if it is in use already."""
        return self._opened.get(name)

    def make(self, name: str, recorded: Recorded) -> Collection:
        """Return a collection, made with `recorded` when there is none."""
        found = self.find(name)
        if found is not None:
            return found
        file = self._file(name)
        with self._lock:
            return self._opened.get(name) or self._open(name, files.MEMORY if self._memory else str(file), recorded)

    def _open(self, name: str, path: str, recorded: Recorded | None) -> Collection:
        found = Collection(name, path, recorded=recorded, durability=self._durability, max_bytes=self._max_bytes)
        self._opened[name] = found
        return found

    def names(self) -> list[str]:
        """Return the names of all collections, sorted."""
        names = set(self._opened)
        if not self._memory and self.folder.is_dir():
            names |= {_name(file.parent.name) for file in self._files()}
        return sorted(names)

    def _files(self) -> list[Path]:
        # A dot is in no name: such a folder is one whose removal was interrupted.
        return [file for file in self.folder.glob(f"*/{FILE}") if "." not in file.parent.name and file.stat().st_size]

    def drop(self, name: str) -> int:
        """Remove a collection with its file; return how many vectors it had, 0 where there is none."""
        found = self.find(name)
        if found is None:
            return 0
        vectors = int(found.stats()["vectors"])
        with self._lock:
            self._opened.pop(name, None)
        found.close()
        folder = self._file(name).parent
        if folder.is_dir():
            doomed = folder.with_name(f"{folder.name}.gone-{time.time_ns()}")
            try:
                folder.rename(doomed)
                shutil.rmtree(doomed)
            except OSError as error:
                raise StorageFailure(
                    f"cannot remove {folder}: {error.strerror}", details={"path": str(folder), "errno": error.errno}
                ) from error
        return vectors

    def save(self) -> None:
        """Put every open collection on the disk."""
        for name, found in list(self._opened.items()):
            found.save()
            if self._memory:
                found.copy_to(str(self._file(name)))

    def load(self) -> None:
        """Take what the folder holds; only collections in memory can differ from it."""
        if not self._memory or not self.folder.is_dir():
            return
        for file in self._files():
            name = _name(file.parent.name)
            with self._lock:
                found = self._opened.get(name)
                if found is None:
                    recorded = Collection(name, str(file)).recorded
                    found = self._open(name, files.MEMORY, recorded)
            found.copy_from(str(file))

    def close(self) -> None:
        """Close all collections."""
        with self._lock:
            opened, self._opened = self._opened, {}
        for found in opened.values():
            found.close()
