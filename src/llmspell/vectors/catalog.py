"""`Catalog`: the collections of a vectors folder, opened at first use; every tenant has a file of its own in them."""

from __future__ import annotations

import re
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from llmspell.errors import InvalidArgument, NotFound
from llmspell.vectors import files, swap, tenants
from llmspell.vectors.collection import Collection
from llmspell.vectors.sweeper import Sweeper

if TYPE_CHECKING:
    from llmspell.vectors.records import IndexSettings, Recorded

FILE = tenants.FILE
MAX_FOLDER = 200
_ESCAPED = re.compile(r"%([0-9a-f]{2})")
_COUNTS = (
    "documents", "chunks", "vectors", "bytes", "scopes", "tokens", "expired", "generation", "removed", "build_ms",
    "memory_bytes",
)  # fmt: skip
_WEIGHED_EVERY = 16  # openings of tenants between two looks at the bytes of their indexes
Key = tuple[str, str]


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
    """Collections by name. folder: where their folders are. memory: keep them in memory until `save`.

    max_bytes: of the indexes of a collection, and of all tenants together. max_tenants: files of tenants that are open
    at once; the least recently used are closed, and cost nothing then.
    """

    def __init__(
        self,
        folder: Path,
        *,
        memory: bool,
        durability: str,
        max_bytes: int,
        max_tenants: int = 128,
        index: IndexSettings | None = None,
    ) -> None:
        self.folder = folder
        self._memory = memory
        self._durability = durability
        self._max_bytes = max_bytes
        self._max_tenants = max_tenants
        self._index = index
        self._opened: dict[str, Collection] = {}
        self._awake: OrderedDict[Key, Collection] = OrderedDict()  # tenants with an open file, by last use
        self._known: WeakValueDictionary[Key, Collection] = WeakValueDictionary()  # tenants anybody holds
        self._opens = 0
        self._going: set[Key] = set()  # tenants that are being removed
        self._lock = threading.Condition()  # protects the tables; told when a removal has ended
        self._sweeper = Sweeper(self.sweep)
        self._bin = folder / ".gone"
        if not memory:
            if self._bin.is_dir():  # a removal was interrupted
                shutil.rmtree(self._bin, ignore_errors=True)
            swap.recover(folder)

    def _file(self, name: str) -> Path:
        return self.folder / folder_name(name) / FILE

    def find(self, name: str, scope: str = "global", *, sure: bool = False) -> Collection | None:
        """Return the collection that holds a scope, or None. sure: look whether another process removed it just now."""
        if tenants.is_tenant(scope) and not self._memory:
            found = self._find_tenant(name, scope, sure=sure)
            if found is not None:
                return found
            main = self.find(name, sure=sure)  # stores made before tenants had files of their own
            return main if main is not None and main.holds(scope) else None
        known = self._opened.get(name)
        if known is not None and known.is_current(sure=sure):
            return known
        file = self._file(name)
        with self._lock:
            known = self._opened.get(name)
            if known is not None and not known.is_current(sure=True):
                self._opened.pop(name).close(save=False)
                known = None
            if known is not None or self._memory or not tenants.holds(file):
                return known
            try:
                return self._open(name, str(file), None)
            except NotFound:
                return None

    def _find_tenant(self, name: str, scope: str, *, sure: bool = False) -> Collection | None:
        key = (name, scope)
        awake = self._awake.get(key)
        if awake is not None and awake.is_current(sure=sure) and key not in self._going:  # as almost always
            self._use(key, awake)
            return awake
        with self._lock:
            if key in self._going:
                return None
            known = self._known.get(key)
            if known is not None and known.is_current(sure=sure):
                self._use(key, known)
                return known
            file = tenants.file_of(self.folder / folder_name(name), scope)
            if known is not None:
                self._forget(key, known)
            if not tenants.holds(file):
                return None
            try:
                found = self._open_tenant(key, file, None)
            except NotFound:
                return None
        self._let_rest()
        return found

    def _open_tenant(self, key: Key, file: Path, recorded: Recorded | None) -> Collection:
        found = Collection(
            key[0],
            str(file),
            recorded=recorded,
            durability=self._durability,
            max_bytes=self._max_bytes,
            scope=key[1],
            index=self._index,
        )
        found.on_wake = partial(self._use, key)
        self._known[key] = found
        self._use(key, found)
        self._sweeper.start()
        self._opens += 1
        return found

    def _use(self, key: Key, found: Collection) -> None:
        # Single steps of an OrderedDict are atomic: a collection that wakes tells so without our lock.
        self._awake[key] = found
        self._awake.move_to_end(key)

    def _forget(self, key: Key, found: Collection) -> None:
        self._awake.pop(key, None)
        self._known.pop(key, None)
        found.close(save=False)

    def _let_rest(self) -> None:
        """Close the tenants that were not used for longest; those in use just now stay."""
        surplus = len(self._awake) - self._max_tenants
        if self._opens % _WEIGHED_EVERY == 0 and self._bytes() > self._max_bytes:
            surplus = max(surplus, len(self._awake) // 4)
        for _ in range(surplus):
            try:
                key, found = self._awake.popitem(last=False)
            except KeyError:
                return
            if not found.rest():
                self._use(key, found)

    def _bytes(self) -> int:
        return sum(found.memory_bytes for found in list(self._awake.values()))

    def opened(self, name: str) -> Collection | None:
        """Return a collection if it is in use already."""
        return self._opened.get(name)

    def make(self, name: str, recorded: Recorded, scope: str = "global") -> Collection:
        """Return the collection that holds a scope, made with `recorded` when there is none."""
        found = self.find(name, scope, sure=True)
        if found is not None:
            return found
        if tenants.is_tenant(scope) and not self._memory:
            self.make(name, recorded)
            return self._make_tenant(name, scope, recorded)
        file = self._file(name)
        with self._lock:
            return self._opened.get(name) or self._open(name, files.MEMORY if self._memory else str(file), recorded)

    def _make_tenant(self, name: str, scope: str, recorded: Recorded) -> Collection:
        file = tenants.file_of(self.folder / folder_name(name), scope)
        with self._lock:
            self._lock.wait_for(lambda: (name, scope) not in self._going)
            known = self._known.get((name, scope))
            if known is not None and known.is_current():
                return known
            tenants.label(file, scope)
            found = self._open_tenant((name, scope), file, recorded)
        self._let_rest()
        return found

    def _open(self, name: str, path: str, recorded: Recorded | None) -> Collection:
        found = Collection(
            name,
            path,
            recorded=recorded,
            durability=self._durability,
            max_bytes=self._max_bytes,
            index=self._index,
        )
        self._opened[name] = found
        self._sweeper.start()
        return found

    def names(self) -> list[str]:
        """Return the names of all collections, sorted."""
        names = set(self._opened)
        if not self._memory and self.folder.is_dir():
            names |= {_name(file.parent.name) for file in self._files()}
        return sorted(names)

    def _files(self) -> list[Path]:
        # A dot is in no name: such a folder is one whose removal was interrupted.
        return [file for file in self.folder.glob(f"*/{FILE}") if "." not in file.parent.name and tenants.holds(file)]

    def scopes(self, name: str) -> list[str]:
        """Return the scopes of a collection that hold something, tenants among them, sorted."""
        main = self.find(name)
        own = [] if main is None else main.scopes()
        apart = [] if self._memory else tenants.listed(self.folder / folder_name(name))
        return sorted({*own, *apart})

    def stats(self, name: str, scope: str | None = None) -> dict[str, Any]:
        """Return counts as `Collection.stats` does, of a scope or of all; zeros where there is none."""
        total: dict[str, Any] = {**dict.fromkeys(_COUNTS, 0), "last_ingest_at": None}
        if scope is not None:
            found = self.find(name, scope)
            return total if found is None else found.stats(scope)
        for counts in self._every(name):
            for what in _COUNTS:
                total[what] += counts.get(what, 0)
            times = [at for at in (total["last_ingest_at"], counts["last_ingest_at"]) if at is not None]
            total["last_ingest_at"] = max(times, default=None)
        return total

    def _every(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the counts of the collection and of its tenants; those that rest are not woken for it."""
        main = self.find(name)
        if main is not None:
            yield main.stats()
        folder = self.folder / folder_name(name)
        for scope in () if self._memory else tenants.listed(folder):
            resting = None
            if (name, scope) not in self._awake:
                resting = files.peek(tenants.file_of(folder.absolute(), scope))
            found = None if resting is not None else self._find_tenant(name, scope)
            if resting is not None:
                yield resting
            elif found is not None:
                yield found.stats()

    def drop_scope(self, name: str, scope: str) -> dict[str, int]:
        """Remove a scope with all in it, a tenant with its file; return counts: documents, vectors, bytes."""
        found = self.find(name, scope)
        if found is None:
            return {"documents": 0, "vectors": 0, "bytes": 0}
        if found is self._opened.get(name):
            return found.delete_scope(scope)
        counts = found.stats(scope)
        with self._lock:
            if (name, scope) in self._going:
                return {"documents": 0, "vectors": 0, "bytes": 0}
            self._going.add((name, scope))
            self._awake.pop((name, scope), None)
            self._known.pop((name, scope), None)
        try:
            # Only when no connection is left: one that opened the file here would find another's log beside it.
            found.close(save=False)
            tenants.discard(Path(found.path).parent, self._bin)
        finally:
            with self._lock:
                self._going.discard((name, scope))
                self._lock.notify_all()
        return {what: int(counts[what]) for what in ("documents", "vectors", "bytes")}

    def drop(self, name: str) -> int:
        """Remove a collection with its files; return how many vectors it had, 0 where there is none."""
        found = self.find(name)
        if found is None:
            return 0
        vectors = int(self.stats(name)["vectors"])
        with self._lock:
            self._opened.pop(name, None)
            found.close(save=False)
            for key, tenant in list(self._known.items()):
                if key[0] == name:
                    self._forget(key, tenant)
            folder = self._file(name).parent
            if folder.is_dir():
                tenants.discard(folder, self._bin)
        return vectors

    def take(self, name: str, other: Catalog) -> None:
        """Put the collection of another catalog, which is closed, in the place of the one here.

        A process that dies in between leaves the old one, or the new one where `recover` finds it.
        """
        if self._memory:
            with self._lock:
                old, self._opened[name] = self._opened.pop(name, None), other._opened.pop(name)
            if old is not None:
                old.close()
            return
        made, place = other._file(name).parent, self._file(name).parent
        other.close()
        (made / swap.COMPLETE).touch(mode=0o600)
        self.drop(name)
        with self._lock:
            swap.move(made, place)

    def sweep(self) -> int:
        """Remove expired documents from what is open; return how many."""
        return sum(found.sweep() for found in [*self._opened.values(), *self._awake.values()])

    def compact(self, name: str, scope: str | None = None) -> dict[str, int]:
        """Free what removed vectors still hold in loaded indexes, of a scope or the collection; return counts."""
        total = {"removed": 0, "relinked": 0, "bytes_freed": 0}
        own = [self._opened.get(name), *(found for key, found in list(self._awake.items()) if key[0] == name)]
        for found in own:
            for what, amount in found.compact(scope).items() if found is not None else ():
                total[what] += amount
        return total

    def build(self) -> int:
        """Build and save the graphs of what is open; return the bytes written, 0 in memory."""
        return 0 if self._memory else sum(found.build() for found in [*self._opened.values(), *self._awake.values()])

    def save(self) -> int:
        """Put every open collection on the disk; return the bytes of graphs that were written."""
        written = 0
        for name, found in list(self._opened.items()):
            written += found.save()
            if self._memory:
                found.copy_to(str(self._file(name)))
        return written + sum(found.save() for found in list(self._awake.values()))

    def load(self) -> None:
        """Take what the folder holds; only collections in memory can differ from it."""
        if not self._memory or not self.folder.is_dir():
            return
        for file in self._files():
            name = _name(file.parent.name)
            with self._lock:
                found = self._opened.get(name)
                if found is None:
                    source = Collection(name, str(file))
                    recorded = source.recorded
                    source.close()
                    found = self._open(name, files.MEMORY, recorded)
            found.copy_from(str(file))

    def close(self) -> None:
        """Close all collections."""
        self._sweeper.stop()
        with self._lock:
            opened, self._opened = list(self._opened.values()), {}
            opened += list(self._known.values())
            self._awake.clear()
            self._known.clear()
        for found in opened:
            found.close()
