"""Which embedder is meant, and that a collection keeps the one it was made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmspell import embedders
from llmspell.base.offload import offload
from llmspell.embedders._cache import VectorCache
from llmspell.embedders._source import Source
from llmspell.errors import ConfigurationError, EmbedderMismatch, LLMSpellError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llmspell import config as configuration
    from llmspell.embedders._base import Services
    from llmspell.embedders._source import Probe, Run
    from llmspell.vectors.collection import Collection

CACHE_FILE = "embeddings.db"


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
        section = self.config.embedding
        proper = embedders.canonical(name or section.default_provider)
        if proper == embedders.canonical(section.default_provider) and model in (None, section.model):
            dimensions = dimensions or section.dimensions or None
        wanted = (proper, model, dimensions)
        if wanted not in self._sources:
            made = embedders.find(proper, model=model, dimensions=dimensions, section=section, services=self._services)
            self._sources[wanted] = Source(made, self._cache)
        return self._sources[wanted]

    def default_dimensions(self) -> int:
        """Return the length of vectors of the configured embedder; 0 where only its first answer tells."""
        section = self.config.embedding
        module = embedders.module(section.default_provider, self._services)
        return section.dimensions or (module.MODELS.get(section.model, 0) if section.model else module.DIMENSIONS or 0)

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
    ) -> NDArray[Any]:
        """Return float32 of shape (n, dim). query: the texts are questions. scope: whose cached vectors may serve."""
        self._check_enabled()
        source = self.embedder(embedder, model, dimensions)
        return await source.run(scope, query=query, cache=cache).embed(texts)

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


def mismatch(found: Collection, sentence: str, given: str) -> LLMSpellError:
    """Return the error of a collection that was made with another embedder."""
    recorded = found.recorded.embedder_id
    return EmbedderMismatch(
        f"the collection {found.name!r} was made with {recorded}, {sentence}: "
        "use another collection, or delete this one and ingest again",
        details={"collection": found.name, "recorded": recorded, "given": given},
    )
