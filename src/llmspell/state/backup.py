"""Backups of the store: full and incremental, verified, restored all or nothing, cleaned up by whole chains.

An incremental backup holds the rows written since the mark of its parent, deletions included, so its size follows the
changes. A chain is a full backup and the incrementals on it; it is kept or removed as the one thing it is.
Restoring reads and verifies the whole chain first and then replaces the content in one transaction of the
backend: other processes see the old content or the new one, and a kill at any moment leaves one of the two.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from llmspell.base import files
from llmspell.base import scope as scopes
from llmspell.base.clock import rfc3339
from llmspell.base.ids import short
from llmspell.base.offload import offload
from llmspell.errors import Conflict, CorruptData, LLMSpellError, NotFound, StorageError
from llmspell.state import archive
from llmspell.state.archive import Manifest
from llmspell.state.backends._base import Row, StateBackend, after
from llmspell.state.view import micros

_DAY = 86_400
Ids = list[str]
Manifests = list[Manifest]


class Source(Protocol):
    """What a backup needs of a store."""

    @property
    def backend(self) -> StateBackend:
        """The backend, opened."""
        ...

    @property
    def schema_version(self) -> str:
        """The schema version of the stored values."""
        ...

    def forget_counts(self) -> None:
        """Note that the content was replaced."""
        ...


class Settings(NamedTuple):
    """How backups are written and how long they stay."""

    compression: str = "zstd"
    level: int = 3
    max_backups: int = 10
    max_age_seconds: float = 2_592_000.0


class Validation(NamedTuple):
    """Whether a backup and all it stands on can be restored; `chain` from the full backup on."""

    is_valid: bool
    errors: list[str]
    chain: list[str]


class Restored(NamedTuple):
    """What a restore did; `safety_backup` is the id of the backup made before it."""

    backup_id: str
    entries: int
    duration_ms: int
    safety_backup: str | None
    dry_run: bool


class Cleaned(NamedTuple):
    """What a clean-up removed, or would; `reasons` tells for each retained backup why."""

    deleted: list[str]
    retained: list[str]
    space_freed: int
    reasons: dict[str, str]
    dry_run: bool


class Backups:
    """The backups of one store, in one folder. Any thread; one of create, restore, cleanup runs at a time."""

    def __init__(self, store: Source, folder: Path, settings: Settings | None = None) -> None:
        self._store = store
        self._folder = folder
        self._settings = settings or Settings()
        self._lock = threading.Lock()

    def list(self) -> Manifests:
        """Return the manifests of all backups, newest first; a damaged manifest is left out, `validate` names it."""
        found = []
        for ident in self._ids():
            try:
                found.append(archive.read_manifest(self._folder / ident))
            except StorageError:
                continue
        return sorted(found, key=lambda manifest: manifest.created_ns, reverse=True)

    def _ids(self) -> Ids:
        try:
            return sorted(entry for entry in os.listdir(self._folder) if entry.startswith("backup_"))
        except FileNotFoundError:
            return []

    def _path(self, ident: str) -> Path:
        if not ident.startswith("backup_") or not ident.replace("_", "").isalnum() or not ident.isascii():
            raise NotFound(f"there is no backup {ident!r}", details={"what": "backup", "id": ident})
        return self._folder / ident

    def info(self, ident: str) -> Manifest:
        """Return one manifest. Raises NotFound or CorruptData."""
        return archive.read_manifest(self._path(ident))

    def _chain(self, ident: str) -> Manifests:
        """Return the backup and all it stands on, full one first. Raises CorruptData on a gap."""
        chain = [self.info(ident)]
        while chain[0].incremental:
            child = chain[0]
            parent = self.info(child.parent_id or "")
            if parent.hash != child.parent_manifest_hash:
                raise CorruptData(
                    f"{parent.id} is not the backup that {child.id} was made on",
                    details={"path": str(self._folder / parent.id), "section": archive.MANIFEST, "offset": 0},
                )
            chain.insert(0, parent)
        return chain

    async def create(self, name: str | None = None, *, incremental: bool = False) -> Manifest:
        """Write a backup, then clean up by the settings, and return its manifest. Writers are not blocked.

        incremental: hold only what changed since the newest backup of this store; without a usable one it is full.
        Raises StorageFull or StorageFailure, with nothing left behind.
        """
        return await offload(self._create_and_clean, name, incremental)

    def _create_and_clean(self, name: str | None, incremental: bool) -> Manifest:
        with self._lock:
            manifest = self._create(name, incremental=incremental)
            self._cleanup(self._settings.max_backups, self._settings.max_age_seconds, dry_run=False)
        return manifest

    def _parent(self) -> Manifest | None:
        backend = self._store.backend
        for manifest in self.list():
            if manifest.store_id == backend.store_id:
                valid = manifest.seq_to >= backend.pruned and self._validate(manifest.id, deep=False).is_valid
                return manifest if valid else None
        return None

    def _create(self, name: str | None, *, incremental: bool) -> Manifest:
        started = time.perf_counter()
        backend = self._store.backend
        parent = self._parent() if incremental else None
        now = time.time_ns()
        ident = f"backup_{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now // 10**9))}_{short(8)}"
        partial = self._folder / f".partial-{os.getpid()}-{ident}"
        algorithm, compress = archive.compressor(self._settings.compression, self._settings.level)
        counts = dict.fromkeys(("entry_count", "deleted_count", "raw_bytes", "stored_bytes"), 0)
        seen: set[bytes] = set()
        moment = micros()

        try:
            self._remove_torn()
            partial.mkdir(mode=0o700, parents=True)
            mark = backend.mark()
            with backend.snapshot() as view:
                rows = view.changes(parent.seq_to) if parent else view.scan(b"", b"\xff")
                chosen = (row if row.live(moment) else row._replace(value=None) for row in rows)
                wanted = (row for row in chosen if parent or row.value is not None)
                parts = archive.write_parts(partial, _noting(wanted, seen), compress, counts)
            manifest = archive.seal(
                Manifest(
                    id=ident,
                    name=name,
                    created_at=rfc3339(now / 1e9),
                    created_ns=now,
                    backup_type="incremental" if parent else "full",
                    parent_id=parent.id if parent else None,
                    parent_manifest_hash=parent.hash if parent else None,
                    store_id=backend.store_id,
                    seq_from=parent.seq_to if parent else 0,
                    seq_to=mark,
                    schema_version=self._store.schema_version,
                    include=["state"],
                    scopes=sorted(pair[0].text for prefix in seen if (pair := scopes.split(prefix)) is not None),
                    compression={"algorithm": algorithm, "level": self._settings.level},
                    parts=parts,
                    duration_ms=int((time.perf_counter() - started) * 1000),
                    tool_version=_version(),
                    entry_count=counts["entry_count"],
                    deleted_count=counts["deleted_count"],
                    raw_bytes=counts["raw_bytes"],
                    stored_bytes=counts["stored_bytes"],
                )
            )
            files.replace(partial / archive.MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
            partial.rename(self._folder / ident)
        except OSError as error:
            raise files.os_error(error, str(partial)) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return manifest

    def _remove_torn(self) -> None:
        """Remove what processes left behind that died while writing a backup."""
        for folder in self._folder.glob(".partial-*"):
            try:
                os.kill(int(folder.name.split("-")[1]), 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)
            except PermissionError:
                continue

    async def validate(self, ident: str, *, deep: bool = True) -> Validation:
        """Check a backup and all it stands on; an unknown one is invalid. deep: read every byte back."""
        return await offload(lambda: self._validate(ident, deep=deep))

    def _validate(self, ident: str, *, deep: bool) -> Validation:
        try:
            chain = self._chain(ident)
        except StorageError as error:
            return Validation(False, [error.message], [])
        errors = []
        for manifest in chain:
            folder = self._folder / manifest.id
            for part in manifest.parts:
                try:
                    if deep:
                        archive.read_part(folder, part)
                    elif (folder / part.file).stat().st_size != part.bytes:
                        errors.append(f"{manifest.id}: {part.file} has the wrong size")
                except OSError as error:
                    errors.append(files.os_error(error, str(folder / part.file)).message)
                except LLMSpellError as error:
                    errors.append(error.message)
        return Validation(not errors, errors, [manifest.id for manifest in chain])

    async def restore(
        self, ident: str, *, dry_run: bool = False, backup_current: bool = True, scopes: Sequence[str] | None = None
    ) -> Restored:
        """Make the store hold exactly what a backup holds, all or nothing, after verifying the whole chain.

        backup_current: write a backup of the present content first. scopes: restore only these, leave the others alone.
        Raises NotFound, CorruptData (naming the newest backup that is whole).
        """
        return await offload(lambda: self._restore(ident, dry_run, backup_current, scopes))

    def _restore(self, ident: str, dry_run: bool, backup_current: bool, only: Sequence[str] | None) -> Restored:
        started = time.perf_counter()
        ranges = None
        if only is not None:
            ranges = [(p := scopes.parse(text).prefix, after(p)) for text in only]
        with self._lock:
            rows: dict[bytes, Row] = {}
            try:
                for manifest in self._chain(ident):
                    for row in archive.read_rows(self._folder / manifest.id, manifest):
                        if ranges is None or any(low <= row.key < high for low, high in ranges):
                            rows[row.key] = row
            except CorruptData as error:
                whole = next(
                    (m.id for m in self.list() if m.id != ident and self._validate(m.id, deep=True).is_valid), None
                )
                offer = f"; the newest whole backup is {whole}" if whole else ""
                raise CorruptData(f"{error.message}{offer}", details=error.details) from error
            now = micros()
            live = [row for row in rows.values() if row.live(now)]
            safety = None
            if not dry_run:
                if backup_current:
                    safety = self._create(f"before restore of {ident}", incremental=False).id
                self._store.backend.replace_all(live, now, ranges=ranges)
                self._store.forget_counts()
        entries = sum(1 for row in live if scopes.split(row.key) is not None)
        return Restored(ident, entries, int((time.perf_counter() - started) * 1000), safety, dry_run)

    async def cleanup(
        self, *, keep: int | None = None, older_than_seconds: float | None = None, dry_run: bool = False
    ) -> Cleaned:
        """Remove old backups by whole chains; the newest restorable chain always stays.

        keep: number of backups to keep, older_than_seconds: age to remove from, both in place of the settings.
        """

        def clean() -> Cleaned:
            with self._lock:
                if keep is None and older_than_seconds is None:
                    return self._cleanup(self._settings.max_backups, self._settings.max_age_seconds, dry_run=dry_run)
                return self._cleanup(keep, older_than_seconds, dry_run=dry_run, important=False)

        return await offload(clean)

    def _cleanup(self, keep: int | None, age: float | None, *, dry_run: bool, important: bool = True) -> Cleaned:
        found = self.list()
        by_id = {manifest.id: manifest for manifest in found}
        reasons = _protected(found) if important else {}
        now = time.time_ns()
        for place, manifest in enumerate(found):
            old = age is not None and (now - manifest.created_ns) / 1e9 > age
            surplus = keep is not None and place >= keep
            if not old and not surplus:
                reasons.setdefault(manifest.id, "recent")
        newest = next((m for m in found if self._validate(m.id, deep=False).is_valid), None)
        if newest is not None:
            reasons.setdefault(newest.id, "newest restorable chain")
        for ident in tuple(reasons):
            parent = by_id[ident].parent_id
            while parent is not None and parent in by_id:
                reasons.setdefault(parent, f"{ident} stands on it")
                parent = by_id[parent].parent_id
        deleted = [manifest.id for manifest in found if manifest.id not in reasons]
        freed = sum(self._remove(ident, dry_run=dry_run) for ident in deleted)
        return Cleaned(deleted, [m.id for m in found if m.id in reasons], freed, reasons, dry_run)

    def _remove(self, ident: str, *, dry_run: bool) -> int:
        folder = self._folder / ident
        try:
            size = sum(path.stat().st_size for path in folder.iterdir())
            if not dry_run:
                gone = self._folder / f".partial-{os.getpid()}-{ident}"
                folder.rename(gone)
                shutil.rmtree(gone)
        except OSError as error:
            raise files.os_error(error, str(folder)) from error
        return size

    async def delete(self, ident: str, *, cascade: bool = False) -> None:
        """Remove one backup; with `cascade` also all that stand on it, else Conflict when there are any."""
        await offload(self._delete, ident, cascade)

    def _delete(self, ident: str, cascade: bool) -> None:
        with self._lock:
            doomed = [self.info(ident).id]
            found = self.list()
            for one in doomed:
                doomed += [m.id for m in found if m.parent_id == one]
            if len(doomed) > 1 and not cascade:
                raise Conflict(f"{doomed[1]} stands on {ident}: delete it first, or cascade", retryable=False)
            for one in reversed(doomed):
                self._remove(one, dry_run=False)

    def usage(self) -> dict[str, int]:
        """Return `{total_backups, total_size, full_backups, incremental_backups}`; size in bytes."""
        found = self.list()
        incremental = sum(1 for manifest in found if manifest.incremental)
        size = sum(manifest.stored_bytes for manifest in found)
        return {
            "total_backups": len(found),
            "total_size": size,
            "full_backups": len(found) - incremental,
            "incremental_backups": incremental,
        }


def _protected(found: Manifests) -> dict[str, str]:
    """Tell which full backups are kept whatever their number and age: found is newest first."""
    reasons: dict[str, str] = {}
    full = [manifest for manifest in found if not manifest.incremental]
    if full:
        reasons[full[0].id] = "newest full backup"
    now = time.time_ns() // 10**9
    for span, count, word in ((_DAY, 7, "day"), (7 * _DAY, 4, "week")):
        firsts: dict[int, str] = {}
        for manifest in full:
            firsts[manifest.created_ns // 10**9 // span] = manifest.id
        for number, ident in firsts.items():
            if number > now // span - count:
                reasons.setdefault(ident, f"first full backup of its {word}")
    return reasons


def _noting(rows: Iterable[Row], seen: set[bytes]) -> Iterator[Row]:
    for row in rows:
        seen.add(row.key[: row.key.index(b":", row.key.index(b":") + 1) + 1])
        yield row


def _version() -> str:
    from llmspell.version import __version__

    return __version__
