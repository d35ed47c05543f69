"""Which embedder is meant, and that a collection keeps the one it was made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from llmspell import embedders
from llmspell.base.offload import offload
from llmspell.embedders._cache import VectorCache
from llmspell.embedders._source import Source
from llmspell.errors import ConfigurationError, EmbedderMismatch, InvalidArgument, LLMSpellError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llmspell import config as configuration
    from llmspell.embedders._base import Services, Spent
    from llmspell.embedders._source import Probe, Run
    from llmspell.vectors.collection import Collection
    from llmspell.vectors.records import Recorded

CACHE_FILE = "embeddings.db"
MAX_DIMENSIONS = 65_535
MAX_SOURCES = 256
MAX_NAME = 200


class Wanted(NamedTuple):
    """The embedder somebody asks for; None leaves open."""

    name: str | None = None
    model: str | None = None
    dimensions: int | None = None


ANY = Wanted()


class Embedding:
    """The embedders of a `Rag`. config: the section `rag`. folder: of the cache on disk. services: for remote ones."""

    def __init__(
        self, config: configuration.model.Rag, *, folder: Path, services: Callable[[], Services] | None = None
    ) -> None:
        self.config = config
        self._services = services
        self._sources: dict[tuple[str, str | None, int | None], Source] = {}
        self._loaded: set[str] = set()
        section = config.embedding
        self._cache = (
            VectorCache(
                entries=section.cache_size,
                max_bytes=section.cache_max_mb * 1_048_576,
                ttl_s=section.cache_ttl_seconds,
                path=folder / CACHE_FILE if section.cache_disk else None,
            )
            if section.cache_enabled
            else None
        )

    def _check_enabled(self) -> None:
        if not self.config.enabled:
            raise ConfigurationError(
                "retrieval is switched off: set rag.enabled = true", details={"key": "rag.enabled"}
            )

    def embedder(self, name: str | None = None, model: str | None = None, dimensions: int | None = None) -> Source:
        """Return an embedder; defaults are the configuration's. Raises ComponentError, ConfigurationError."""
        if dimensions is not None and not (type(dimensions) is int and 1 <= dimensions <= MAX_DIMENSIONS):
            raise InvalidArgument(
                f"dimensions are a whole number from 1 to {MAX_DIMENSIONS}, got {dimensions!r}",
                details={"name": "dimensions", "value": dimensions},
            )
        if model is not None and not (0 < len(model) <= MAX_NAME and model.isprintable()):
            raise InvalidArgument(
                f"the name of a model is 1 to {MAX_NAME} printable characters", details={"name": "embedding_model"}
            )
        section = self.config.embedding
        proper = embedders.canonical(name or section.default_provider)
        if self._is_configured(proper, model):
            dimensions = dimensions or section.dimensions or None
        wanted = (proper, model, dimensions)
        if wanted not in self._sources:
            made = embedders.find(proper, model=model, dimensions=dimensions, section=section, services=self._services)
            if len(self._sources) >= MAX_SOURCES:  # scripts name models as they like
                self._sources.clear()
            self._sources[wanted] = Source(made, self._cache)
        return self._sources[wanted]

    def _is_configured(self, proper: str, model: str | None) -> bool:
        section = self.config.embedding
        usual = section.model or next(iter(embedders.module(proper, self._services).MODELS), None)
        return proper == embedders.canonical(section.default_provider) and model in (None, usual)

    def dimensions_of(self, name: str | None = None, model: str | None = None) -> int:
        """Return the length of vectors of an embedder without making it; 0 where only its files or answers tell."""
        section = self.config.embedding
        proper = embedders.canonical(name or section.default_provider)
        if self._is_configured(proper, model):
            if section.dimensions:
                return section.dimensions
            model = section.model
        module = embedders.module(proper, self._services)
        return int((module.MODELS.get(model) if model else module.DIMENSIONS) or 0)

    def _forget(self, scope: str) -> None:
        """Forget the vectors of texts of a scope that went."""
        if self._cache is not None:
            self._cache.forget(scope)

    def _close_cache(self) -> None:
        if self._cache is not None:
            self._cache.close()

    def _collection_embedder(self, found: Collection, wanted: Wanted = ANY) -> Source:
        """Return the embedder a collection was made with. Raises EmbedderMismatch when another is asked for."""
        recorded = found.recorded
        own = self.embedder(recorded.embedder, recorded.model, recorded.dimensions)
        asked = own
        if wanted != ANY:
            name = recorded.embedder if wanted.name is None else embedders.canonical(wanted.name)
            model = wanted.model or (recorded.model if name == recorded.embedder else None)
            asked = self.embedder(name, model, wanted.dimensions or recorded.dimensions)
        for given in (own, asked):
            if given.id != recorded.embedder_id:
                raise mismatch(found, f"not with {given.id}", given.id)
        return own

    async def _asked_of(self, found: Collection, wanted: Wanted) -> Source:
        """Return the embedder of a collection as `_collection_embedder` does; a model is read off the loop."""
        ident = found.recorded.embedder_id
        if ident in self._loaded:
            return self._collection_embedder(found, wanted)
        source = await offload(self._collection_embedder, found, wanted)
        self._loaded.add(ident)
        return source

    def _working(self, found: Collection | None, source: Source, scope: str, *, query: bool, cache: bool) -> Run:
        """Return the embedder for one piece of work on a collection; it proves itself before its first vector."""

        async def prove(probe: Probe) -> None:
            if found is None:
                return
            if found.recorded.probe is None:
                await offload(found.record_probe, probe.data, probe.hash)
            if not probe.matches(found.recorded.probe, found.recorded.probe_hash):
                raise mismatch(found, "which gives other vectors now", f"{source.id} with probe {probe.hash[:16]}")

        return source.run(scope, query=query, cache=cache, prove=prove)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        embedder: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        query: bool = False,
        cache: bool = True,
        scope: str = "global",
        spent: Spent | None = None,
    ) -> NDArray[Any]:
        """Return float32 of shape (n, dim).

        query: the texts are questions. scope: whose cached vectors may serve. spent: what it cost is added to it.
        """
        self._check_enabled()
        run = self.embedder(embedder, model, dimensions).run(scope, query=query, cache=cache)
        try:
            return await run.embed(texts)
        finally:
            if spent is not None:
                spent.add(run.spent)

    def list_providers(self) -> list[dict[str, Any]]:
        """Return the embedders: name, available, dimensions, models."""
        section = self.config.embedding
        listed = []
        for name in embedders.names():
            module = embedders.module(name)
            listed.append(
                {
                    "name": name,
                    "available": embedders.available(name, section, self._services),
                    "dimensions": module.DIMENSIONS,
                    "models": list(module.MODELS),
                }
            )
        return listed


def with_probe(recorded: Recorded, source: Source) -> Recorded:
    """Return what a new file records, with the probe if it is known: writing it later costs a transaction a file."""
    known = source.known_probe
    if known is None or recorded.probe is not None:
        return recorded
    return msgspec.structs.replace(recorded, probe=known.data, probe_hash=known.hash)


def mismatch(found: Collection, sentence: str, given: str) -> LLMSpellError:
    """Return the error of a collection that was made with another embedder."""
    recorded = found.recorded.embedder_id
    return EmbedderMismatch(
        f"the collection {found.name!r} was made with {recorded}, {sentence}: "
        "use another collection, or embed this one anew with reindex",
        details={"collection": found.name, "recorded": recorded, "given": given},
    )
