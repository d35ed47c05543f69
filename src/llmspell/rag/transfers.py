"""Whole collections and scopes of a `Rag`: written to files and read back, embedded anew, handed to a tenant."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from llmspell.base.files import os_error, replacing
from llmspell.base.offload import offload
from llmspell.errors import Conflict, EmbedderMismatch, NotFound
from llmspell.rag import export_file, sessions
from llmspell.rag.embedding import ANY, Wanted
from llmspell.rag.session_collections import SessionCollections
from llmspell.security.policies import denied
from llmspell.vectors import claims
from llmspell.vectors.catalog import Catalog
from llmspell.vectors.documents import stored
from llmspell.vectors.records import Recorded, Stored
from llmspell.vectors.settings import index_settings
from llmspell.vectors.swap import NEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmspell.embedders._source import Run, Source
    from llmspell.rag.place import Place
    from llmspell.tenancy import Reservation
    from llmspell.vectors.collection import Collection

MAX_PASSES = 20


class Transfers(SessionCollections):
    """What moves documents without their authors."""

    async def export(self, path: str | Path | IO[bytes], **place: Any) -> dict[str, int]:
        """Write the documents of a place to a file, with their vectors; return counts: documents, vectors.

        path: or an open file. Raises NotFound for a collection that is not there, StorageFull, StorageFailure.
        """
        where = self.place(**place)
        shows = self._shows(self._enter("search", where))
        found = self._existing(*where)
        holder = self._catalog.find(where.collection, where.scope)
        head = export_file.header(where.collection, found.recorded)
        if isinstance(path, str | Path):
            with replacing(path) as file:
                return await offload(_write, file, head, holder, where.scope, shows)
        return await offload(_write, path, head, holder, where.scope, shows)

    async def import_documents(self, path: str | Path, *, reembed: bool = False, **place: Any) -> dict[str, int]:
        """Store the documents of a file that `export` wrote; return counts: documents, vectors.

        Each goes to the scope that is stated, else to its own. The file is checked whole before anything is stored.
        reembed: make new vectors where the collection, made with another embedder, refuses those of the file.
        Raises MalformedData, VersionMismatch, EmbedderMismatch, StorageFailure.
        """
        named = any(place.get(name) is not None for name in ("scope", "tenant_id", "session_id"))
        file = await offload(_opened, path)
        with file:
            head = export_file.read_header(file, str(path))
            collection = place.pop("collection", None) or head.collection
            where = self.place(collection=collection, **place)
            sizes = await offload(_sizes, file, head)
            targets = {scope: where if named else self.place(collection=collection, scope=scope) for scope in sizes}
            for target in dict.fromkeys(targets.values()):
                self._enter("insert", target, whole=True)
            sources = {to: await self._receiver(head, to, reembed=reembed) for to in dict.fromkeys(targets.values())}
            file.seek(0)
            file.readline()
            with ExitStack() as held:
                claimed = {to: held.enter_context(self._held_for(to, targets, sizes)) for to in sources}
                return await self._receive_all(file, head, targets, sources, claimed)

    def _held_for(
        self, to: Place, targets: Mapping[str, Place], sizes: Mapping[str, Counter[str]]
    ) -> AbstractContextManager[Reservation | None]:
        """Return what is held for all the documents that go to a place."""
        total: Counter[str] = Counter()
        for scope, target in targets.items():
            total.update(sizes[scope] if target == to else {})
        return self._reserve(to, total) or nullcontext()

    async def _receive_all(
        self,
        file: IO[bytes],
        head: export_file.Header,
        targets: Mapping[str, Place],
        sources: Mapping[Place, Source | None],
        claimed: Mapping[Place, Reservation | None],
    ) -> dict[str, int]:
        counts = {"documents": 0, "vectors": 0}
        lines = export_file.read_lines(file, head.dimensions)
        while batch := await offload(next, lines, None):
            for scope in dict.fromkeys(scope for scope, _ in batch):
                entries = [entry for owner, entry in batch if owner == scope]
                to = targets[scope]
                await self._receive(to, entries, sources[to], claimed[to])
                counts["documents"] += len(entries)
                counts["vectors"] += sum(len(entry.parts) for entry in entries)
        return counts

    async def _receiver(self, head: export_file.Header, where: Place, *, reembed: bool) -> Source | None:
        """Return the embedder that makes the vectors anew, None where those of the file are right."""
        collection = where.collection
        if self._settings_of(*where) is None:
            wanted = Wanted(head.embedder, head.model, head.dimensions)
            await offload(lambda: self._made(collection, wanted, scope=where.scope, metric=head.metric))
        found = self._existing(*where)
        if found.recorded.embedder_id == head.embedder_id:
            return None
        if not reembed:
            raise EmbedderMismatch(
                f"the collection {collection!r} was made with {found.recorded.embedder_id}, the file with "
                f"{head.embedder_id}: import with reembed, or into another collection",
                details={"collection": collection, "recorded": found.recorded.embedder_id, "given": head.embedder_id},
            )
        return self._collection_embedder(found)

    async def _receive(
        self, where: Place, entries: list[Stored], source: Source | None, held: Reservation | None
    ) -> None:
        settings = self._existing(*where).recorded
        holder = await offload(self._catalog.make, where.collection, settings, where.scope)
        if source is not None:
            entries = await _embedded(entries, source.run(where.scope))
        await offload(_put, holder, where.scope, entries, held)

    def _existing(self, name: str, scope: str = "global") -> Collection:
        found = self._settings_of(name, scope)
        if found is None:
            raise NotFound(f"there is no collection {name!r}", details={"what": "collection", "id": name})
        return found

    async def reindex(
        self,
        collection: str | None = None,
        *,
        embedder: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
    ) -> dict[str, Any]:
        """Embed a collection anew, all its scopes, with its own embedder or another one; return what was done.

        Searches see the old vectors until all new ones are there; a process that dies leaves the old collection.
        Raises NotFound, and Conflict when others write without a pause.
        """
        self._check_enabled()
        where = self.place(collection=collection)
        self._enter("update", where, whole=True)
        if not self._sees_all:
            raise denied("update", where.scope, "the documents of all would be embedded anew")
        name = where.collection
        old, began = self._existing(name), time.monotonic()
        wanted, known = Wanted(embedder, model, dimensions), old.recorded
        source = self.embedder(*(Wanted(known.embedder, known.model, known.dimensions) if wanted == ANY else wanted))
        await source.prepare()
        recorded = Recorded(
            embedder=source.name,
            model=source.model,
            embedder_id=source.id,
            dimensions=source.dim,
            metric=known.metric,
            created=known.created,
        )
        storage = self.config.vector_storage
        fresh = Catalog(
            self._catalog.folder / NEW,
            memory=storage.backend == "memory",
            durability=storage.durability,
            max_bytes=1 << 26,
            index=index_settings(storage.hnsw),
        )
        try:
            run = source.run(name, cache=False)  # texts of all tenants go through it
            await offload(fresh.drop, name)
            counts = await self._copied(name, fresh, recorded, run)
            await offload(self._catalog.take, name, fresh)
        finally:
            fresh.close()
        took = (time.monotonic() - began) * 1000
        described = {"collection": name, "embedder": source.name, "dimensions": source.dim}
        return {**described, **counts, "embedding_cost_usd": run.spent.cost_usd, "duration_ms": took}

    async def _copied(self, name: str, fresh: Catalog, recorded: Recorded, run: Run) -> dict[str, int]:
        """Copy until nothing changed during a pass; a pass after the first embeds what changed alone."""
        done: dict[tuple[str, str], bytes] = {}
        for _ in range(MAX_PASSES):
            before = self._stamps(name)
            main = await offload(fresh.make, name, recorded)
            for note, value in self._existing(name).notes().items():
                main.set_note(note, value)
            seen: dict[tuple[str, str], bytes] = {}
            vectors = 0
            for scope in self._catalog.scopes(name):
                target = await offload(fresh.make, name, recorded, scope)
                entries = self._entries(name, scope)
                while batch := await offload(next, entries, None):
                    changed = []
                    for entry in batch:
                        mark = _mark(entry)
                        seen[scope, entry.id] = mark
                        vectors += len(entry.parts)
                        if done.get((scope, entry.id)) != mark:
                            changed.append(entry)
                    await offload(target.put, scope, await _embedded(changed, run))
                gone = [ident for (where, ident) in done if where == scope and (where, ident) not in seen]
                await offload(target.delete, scope, gone)
            done = seen
            if self._stamps(name) == before:
                return {"documents": len(seen), "vectors": vectors, "scopes": len({scope for scope, _ in seen})}
        raise Conflict(f"the collection {name!r} changes all the time: reindex it when less is written")

    def _stamps(self, name: str) -> dict[str, Any]:
        """Return what tells whether any scope changed."""
        found: dict[str, Any] = {}
        for scope in self._catalog.scopes(name):
            holder = self._catalog.find(name, scope)
            stamp = None if holder is None else holder.stamp(scope)
            found[scope] = stamp and stamp[1:]  # the first number is of the opening: files rest and are opened again
        return found

    def _entries(self, name: str, scope: str) -> Iterator[list[Stored]]:
        holder = self._catalog.find(name, scope)
        after = ""
        while holder is not None and (batch := stored(holder, scope, after=after)):
            yield batch
            after = batch[-1].id

    async def migrate_session_to_tenant(self, session_id: str, tenant_id: str) -> int:
        """Hand the documents of a session, in every collection, to a tenant, and end the session's collection.

        Ids and metadata stay; a life that came from the session alone ends with it. Returns how many vectors moved.
        """
        session = self._own_session(sessions.check_id(session_id))
        source, target = self.place(session_id=session_id), self.place(tenant_id=tenant_id)
        self._enter("delete", source, whole=True)
        self._enter("insert", target, whole=True)
        record = self._session(source)
        moved = 0
        with await offload(self._held_to_move, source, target) as held:
            for name in self._catalog.names():
                found = self._catalog.find(name, source.scope)
                entries = self._entries(name, source.scope)
                while found is not None and (batch := await offload(next, entries, None)):
                    kept = [_without_life(entry, record.get("vector_ttl")) for entry in batch]
                    holder = await offload(self._catalog.make, name, found.recorded, target.scope)
                    await offload(_put, holder, target.scope, kept, held)
                    await offload(found.delete, source.scope, [entry.id for entry in kept])
                    moved += sum(len(entry.parts) for entry in kept)
                if found is not None:
                    sessions.remove(found, session)
        return moved

    def _held_to_move(self, source: Place, target: Place) -> AbstractContextManager[Reservation | None]:
        """Return what is held in a place for all documents of a scope."""
        total: Counter[str] = Counter()
        for name in self._catalog.names():
            found = self._catalog.find(name, source.scope)
            if found is not None:
                total.update(claims.tally_of(found, source.scope)[0])
        return self._reserve(target, total) or nullcontext()


def _put(holder: Collection, scope: str, entries: list[Stored], held: Reservation | None) -> None:
    """Store documents, on what is held for them."""
    if held is not None:
        held.check()
    holder.put(scope, entries, claim=None if held is None else held.id)


def _sizes(file: IO[bytes], head: export_file.Header) -> dict[str, Counter[str]]:
    """Return what the documents of a file take, by scope; every line of it can be stored."""
    sizes: dict[str, Counter[str]] = {}
    for batch in export_file.read_lines(file, head.dimensions):
        for scope, entry in batch:
            sizes.setdefault(scope, Counter()).update(claims.size(entry))
    return sizes


def _write(
    file: IO[bytes],
    head: export_file.Header,
    holder: Collection | None,
    scope: str,
    shows: Callable[[Mapping[str, Any]], bool],
) -> dict[str, int]:
    encoder = msgspec.json.Encoder()
    counts = {"documents": 0, "vectors": 0}
    file.write(encoder.encode(head) + b"\n")
    after = ""
    while holder is not None and (batch := stored(holder, scope, after=after, limit=export_file.BATCH)):
        for entry in batch:
            if not shows({"metadata": entry.metadata}):
                continue
            file.write(encoder.encode(export_file.line(scope, entry)) + b"\n")
            counts["documents"] += 1
            counts["vectors"] += len(entry.parts)
        after = batch[-1].id
    return counts


def _opened(path: str | Path) -> IO[bytes]:
    try:
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"no file {path}", details={"what": "file", "id": str(path)}) from error
    except OSError as error:
        raise os_error(error, str(path)) from error


def _mark(entry: Stored) -> bytes:
    """Return what tells a document that changed."""
    return msgspec.json.encode([entry.digest, entry.metadata, entry.ingested, entry.expires, entry.event_time])


def _without_life(entry: Stored, life: float | None) -> Stored:
    given = life is not None and entry.expires is not None and abs(entry.expires - entry.ingested - life) < 1e-3
    return msgspec.structs.replace(entry, expires=None) if given else entry


async def _embedded(entries: list[Stored], run: Run) -> list[Stored]:
    """Return documents with new vectors."""
    vectors = await run.embed([part.text for entry in entries for part in entry.parts])
    at, made = 0, []
    for entry in entries:
        made.append(msgspec.structs.replace(entry, vectors=vectors[at : at + len(entry.parts)]))
        at += len(entry.parts)
    return made
