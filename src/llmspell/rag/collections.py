"""Collections of a `Rag`: made, listed, counted, emptied, dropped; and which place is meant."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmspell.base.offload import offload
from llmspell.errors import InvalidArgument
from llmspell.rag import accounts, sessions, stats
from llmspell.rag.chunking import recipe
from llmspell.rag.embedding import ANY, Wanted, with_probe
from llmspell.rag.gated import Gated
from llmspell.rag.place import SESSION_COLLECTION, Place, scope_text, session_of
from llmspell.security.policies import denied
from llmspell.tenancy.records import scope_of
from llmspell.vectors.catalog import Catalog, folder_name
from llmspell.vectors.records import Recorded
from llmspell.vectors.settings import index_settings

if TYPE_CHECKING:
    from llmspell import config as configuration
    from llmspell.embedders._base import Services
    from llmspell.embedders._source import Run, Source
    from llmspell.tenancy import Gate, Held
    from llmspell.vectors.collection import Collection

METRICS = {"l2": "euclidean", "ip": "inner_product", "innerproduct": "inner_product", "l1": "manhattan"}
CHUNKING = "chunking"
KNOWN_METRICS = ("cosine", "euclidean", "inner_product", "manhattan")


class Collections(Gated):
    """home: its `vectors/` holds the collections unless the configuration names a folder."""

    def __init__(
        self,
        config: configuration.model.Rag,
        *,
        home: Path,
        services: Callable[[], Services] | None = None,
        gate: Gate | None = None,
    ) -> None:
        storage = config.vector_storage
        folder = Path(storage.persistence_path).expanduser() if storage.persistence_path else home / "vectors"
        super().__init__(config, folder=folder, services=services, gate=gate)
        self._catalog = Catalog(
            folder,
            memory=storage.backend == "memory",
            durability=storage.durability,
            max_bytes=storage.max_memory_mb * 1_048_576,
            max_tenants=storage.max_open_tenants,
            index=index_settings(storage.hnsw),
        )
        self._counters: dict[tuple[str, str, str], float] = defaultdict(float)

    def place(
        self,
        *,
        collection: str | None = None,
        scope: str | None = None,
        scope_id: str | None = None,
        tenant_id: str | None = None,
        session_id: str | None = None,
    ) -> Place:
        """Return where documents are meant to be. The collection of a session is the session's scope."""
        self._check_enabled()
        text = self._own_scope(scope_text(scope, scope_id, tenant_id=tenant_id, session_id=session_id))
        name = self.config.default_collection if collection is None else collection
        folder_name(name)
        named = session_of(name)
        session = None if named is None else self._own_session(named)
        if session is not None and self._session_record(session) is not None:
            if text not in (self._own_scope("global"), f"session:{session}"):
                raise InvalidArgument(
                    f"the collection {name!r} belongs to session {named!r}", details={"name": "scope"}
                )
            return Place(self.config.default_collection, f"session:{session}")
        if text.startswith(sessions.PREFIX):
            self._session_record(text.removeprefix(sessions.PREFIX))
        return Place(name, text)

    def _session_record(self, session: str) -> dict[str, Any] | None:
        """Return what is recorded of a session. One that expired is removed with its documents, and is not there."""
        base = self._catalog.find(self.config.default_collection)
        record = None if base is None else sessions.find(base, session)
        if record is not None and sessions.is_over(record):
            self._clear(f"{sessions.PREFIX}{session}")
            return None
        return record

    def _settings_of(self, name: str, scope: str) -> Collection | None:
        """Return the collection whose settings a place has: its own, else those that the owner gave the name.

        A caller who cannot leave a tenant is not told what others made of a name.
        """
        found = self._catalog.find(name, scope)
        apart = found is not None or self._home is not None or "dimensions" in self._stated_index(scope)
        return found if apart else self._catalog.find(name)

    def _made(
        self, name: str, wanted: Wanted = ANY, *, scope: str = "global", metric: str | None = None
    ) -> tuple[Collection, Source, bool]:
        """Return the collection that holds a scope, made when there is none, its embedder, and whether it is new."""
        found = self._settings_of(name, scope)
        if found is None:
            own = self._stated_index(scope)
            chosen = self.embedder(wanted.name, wanted.model, wanted.dimensions or own.get("dimensions"))
            apart = self._home is not None or "dimensions" in own
            if apart and self._catalog.find(name) is None and self.embedder().dim:
                self._catalog.make(name, self._recorded(self.embedder(), None))  # the name stays the owner's to use
            return self._place_made(name, with_probe(self._recorded(chosen, metric), chosen), scope), chosen, True
        if metric is not None and metric != found.recorded.metric:
            raise InvalidArgument(
                f"the collection {name!r} exists with metric {found.recorded.metric}, not {metric}",
                details={"name": "metric", "value": metric},
            )
        chosen = self._collection_embedder(found, wanted)
        return self._place_made(name, with_probe(found.recorded, chosen), scope), chosen, False

    def _place_made(self, name: str, recorded: Recorded, scope: str) -> Collection:
        """Return the collection that holds a scope; a new place of a tenant gets the index that the tenant states."""
        known = self._catalog.find(name, scope)
        if known is not None:
            return known
        made = self._catalog.make(name, recorded, scope)
        index = {key: value for key, value in self._stated_index(scope).items() if key != "dimensions"}
        if index:
            made.create_scope(scope, index)
        return made

    def _recorded(self, chosen: Source, metric: str | None) -> Recorded:
        if not chosen.dim:
            raise InvalidArgument(
                f"the length of vectors of {chosen.name}/{chosen.model} is not known before the first: "
                "state dimensions",
                details={"name": "dimensions"},
            )
        return Recorded(
            embedder=chosen.name,
            model=chosen.model,
            embedder_id=chosen.id,
            dimensions=chosen.dim,
            metric=metric or self.config.vector_storage.hnsw.metric,
            created=time.time(),
        )

    async def _holder(self, where: Place, wanted: Wanted, *, cache: bool) -> tuple[Collection, Run]:
        """Return the collection that a place writes to, made when there is none, and its embedder."""
        if self._settings_of(*where) is None:
            await self.embedder(*wanted).prepare()
        found, chosen, _ = await offload(lambda: self._made(where.collection, wanted, scope=where.scope))
        return found, self._working(found, chosen, where.scope, query=False, cache=cache)

    def _count(self, where: Place, what: str, amount: float) -> None:
        self._counters[where.collection, where.scope, what] += amount

    def _count_spent(self, where: Place, run: Run) -> None:
        for what, amount in stats.spent(run.spent).items():
            self._count(where, what, amount)

    def create_collection(self, name: str, **settings: Any) -> dict[str, Any]:
        """Make a collection, or return the one that is there, which other settings refuse.

        settings: metric, embedder, model, dimensions; chunking, which documents are cut by unless an ingestion states
        another way. Raises InvalidArgument, EmbedderMismatch.
        """
        self._check_enabled()
        chunking = settings.pop("chunking", None)
        cutting = recipe(self.config.chunking, chunking)
        metric = settings.pop("metric", None)
        metric = METRICS.get(str(metric), metric)
        if metric is not None and metric not in KNOWN_METRICS:
            raise InvalidArgument(
                f"there is no metric {metric!r}; there are: {', '.join(KNOWN_METRICS)}",
                details={"name": "metric", "value": metric, "allowed": list(KNOWN_METRICS)},
            )
        wanted = Wanted(settings.pop("embedder", None), settings.pop("model", None), settings.pop("dimensions", None))
        where = self.place(collection=name)
        self._enter("insert", where)
        found, chosen, new = self._made(where.collection, wanted, scope=where.scope, metric=metric, **settings)
        if new and chunking:
            found.set_note(CHUNKING, chunking)
        elif chunking and recipe(self.config.chunking, self._chunking_of(found, where)) != cutting:
            raise InvalidArgument(f"the collection {name!r} exists with other chunking", details={"name": "chunking"})
        return {
            "name": name,
            "embedder": chosen.name,
            "dimensions": found.recorded.dimensions,
            "created": new,
            "metric": found.recorded.metric,
        }

    def _chunking_of(self, found: Collection, where: Place) -> dict[str, Any]:
        """Return how the documents of a place are cut unless somebody says otherwise."""
        own: dict[str, Any] | None = found.note(CHUNKING)
        main = None if own is not None or self._home is not None else self._catalog.find(where.collection)
        return own or (main.note(CHUNKING) if main is not None else None) or {}

    def list_collections(self) -> list[dict[str, Any]]:
        """Return the collections with their settings and counts, by name; those of sessions are among them."""
        self._check_enabled()
        listed = []
        scope = self._own_scope("global")
        for name in self._catalog.names():
            self._enter("search", Place(name, scope), whole=True)
            found = self._catalog.find(name, scope)
            if found is not None:
                listed.append(stats.listed(name, found, self._visible(name)))
        base = self._catalog.find(self.config.default_collection)
        listed.extend(() if base is None else self._listed_sessions(base))
        return sorted(listed, key=lambda item: str(item["name"]))

    def _listed_sessions(self, base: Collection) -> Iterator[dict[str, Any]]:
        self.sweep_sessions()
        prefix = self._own_session("")
        for session in sessions.names(base):
            if session.startswith(prefix) and self._sees(f"session:{session}"):
                counts = base.stats(f"session:{session}")
                yield stats.listed(f"{SESSION_COLLECTION}{session.removeprefix(prefix)}", base, counts)

    def _visible(self, name: str, scope: str | None = None) -> dict[str, Any]:
        """Return the counts of a collection, or of a scope in it, as far as the caller may know them."""
        if scope is not None or self._sees_all:
            return self._catalog.stats(name, scope)
        total: Counter[str] = Counter()
        last = None
        for each in self._catalog.scopes(name) if self._home is None else [self._own_scope("global")]:
            if self._sees(each):
                counts = self._catalog.stats(name, each)
                last = max((at for at in (last, counts["last_ingest_at"]) if at is not None), default=None)
                total.update({what: counts[what] for what in stats.COUNTS})
        return {**dict.fromkeys(stats.COUNTS, 0), **total, "last_ingest_at": last}

    def list_scopes(self, *, collection: str | None = None) -> list[dict[str, Any]]:
        """Return the scopes of a collection that hold something: scope, documents, vectors, bytes."""
        where = self.place(collection=collection)
        self._enter("search", where, whole=True)
        listed = []
        for scope in self._catalog.scopes(where.collection) if self._home is None else [where.scope]:
            if self._sees(scope):
                counts = self._catalog.stats(where.collection, scope)
                listed.append({"scope": scope, **{what: counts[what] for what in ("documents", "vectors", "bytes")}})
        return [item for item in listed if item["documents"]]

    async def drop_collection(self, name: str) -> int:
        """Remove a collection; return how many vectors it had, 0 where there is none."""
        where = self.place(collection=name)
        self._enter("delete", where, whole=True)
        if where.scope.startswith("session:"):
            return (await offload(self._removed, where, self._catalog.names()))["vectors"]
        if self._sees_all:
            return await offload(self._catalog.drop, name)
        removed = 0
        for scope in await offload(self._catalog.scopes, name) if self._home is None else [where.scope]:
            if self._sees(scope):
                removed += (await offload(self._removed, Place(name, scope), [name]))["vectors"]
        return removed

    def get_stats(
        self, scope: str | None = None, scope_id: str | None = None, *, collection: str | None = None
    ) -> dict[str, Any]:
        """Return counts of a scope, or of a whole collection when only that is named; unknown places give zeros.

        A text that names a collection and no scope of the default one counts that collection.
        """
        self._check_enabled()
        if collection is None and scope is not None and scope_id is None and not self._is_scope(scope):
            collection, scope = scope, None
        if scope is None and collection is None:
            scope = "global"
        where = self.place(collection=collection, scope=scope, scope_id=scope_id)
        self._enter("search", where, whole=True)
        whole = scope is None and where.scope == "global"
        found = self._settings_of(*where)
        counts = self._visible(where.collection, None if whole else where.scope)
        if not self._sees_all:
            counts = {**counts, "memory_bytes": 0}  # of indexes that others' documents may be in, too
        used = stats.used(self._counters, where, whole=whole, sees=self._sees)
        return stats.counted(found, counts, used, self.config.embedding, self.dimensions_of())

    def _is_scope(self, text: str) -> bool:
        if text == "global" or ":" in text:
            return True
        base = self._catalog.find(self.config.default_collection)
        known = base is not None and self._own_scope(scope_text(text)) in base.scopes()
        return known or (session_of(text) is None and self._settings_of(text, self._own_scope("global")) is None)

    def cleanup_scope(self, scope: str, scope_id: str | None = None) -> int:
        """Remove a scope from every collection; return how many vectors went."""
        return self.remove_scope(scope, scope_id)["vectors"]

    def remove_scope(self, scope: str, scope_id: str | None = None) -> dict[str, int]:
        """Remove a scope from every collection; return counts: documents, vectors, bytes."""
        where = self.place(scope=scope, scope_id=scope_id)
        self._enter("delete", where, whole=True)
        return self._removed(where, self._catalog.names())

    def _removed(self, where: Place, names: Sequence[str]) -> dict[str, int]:
        began = time.monotonic()
        removed = self._clear(where.scope, names)
        self._charge(where, began, delete_count=removed["documents"])
        return removed

    def _clear(self, scope: str, names: Sequence[str] | None = None) -> dict[str, int]:
        total = {"documents": 0, "vectors": 0, "bytes": 0}
        for name in self._catalog.names() if names is None else names:
            found = self._catalog.find(name)
            if found is None:
                continue
            for what, amount in self._catalog.drop_scope(name, scope).items():
                total[what] += amount
            if scope.startswith(sessions.PREFIX):
                sessions.remove(found, scope.removeprefix(sessions.PREFIX))
        self._forget(scope)
        return total

    def sweep_sessions(self) -> int:
        """Remove the sessions that expired, with their documents; return how many vectors went."""
        base = self._catalog.find(self.config.default_collection)
        over = [] if base is None else sessions.expired(base)
        return sum(self._clear(f"{sessions.PREFIX}{session}")["vectors"] for session in over)

    def save(self) -> None:
        """Remove what expired and put the rest on the disk; collections in memory are written to the vectors folder."""
        self.sweep_sessions()
        self._catalog.save()

    def build_indexes(self) -> None:
        """Build and save the graphs of the collections in use: later processes open them."""
        self._catalog.build()

    def load(self) -> None:
        """Take what the vectors folder holds into collections in memory."""
        if not self._sees_all:
            raise denied("update", self._own_scope("global"), "the documents of all would be replaced")
        self._catalog.load()

    def held_by(self, tenant: str) -> Held:
        """Return what the rows of a tenant are, whoever asks."""
        return accounts.held(self._catalog, tenant, self.config.default_collection)

    def count_of(self, tenant: str) -> int:
        """Return the documents and sessions of a tenant, whoever asks."""
        return accounts.count(self._catalog, tenant, self.config.default_collection)

    def purge(self, tenant: str) -> int:
        """Remove everything of a tenant, whoever asks; return how many documents there were."""
        scopes = {scope for _, scope, _ in accounts.places(self._catalog, tenant)} | {scope_of(tenant)}
        removed = accounts.purge(self._catalog, tenant, self.config.default_collection)
        for scope in scopes:
            self._forget(scope)
        return removed

    def close(self) -> None:
        """Forget sessions that do not persist and close the files. Safe to call twice."""
        base = self._catalog.opened(self.config.default_collection)
        if base is not None:
            for session in [*sessions.passing(base), *sessions.expired(base)]:
                self._clear(f"{sessions.PREFIX}{session}")
        self._catalog.close()
        self._close_cache()
