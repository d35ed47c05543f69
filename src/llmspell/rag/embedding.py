"""Which embedder is meant, and that a collection keeps the one it was made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmspell import embedders
from llmspell.errors import ConfigurationError, EmbedderMismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llmspell import config as configuration
    from llmspell.embedders._base import Embedder
    from llmspell.vectors.collection import Collection


class Embedding:
    """The embedders of a `Rag`. config: the section `rag`."""

    def __init__(self, config: configuration.model.Rag) -> None:
        self.config = config
        self._embedders: dict[tuple[str, int | None], Embedder] = {}

    def _check_enabled(self) -> None:
        if not self.config.enabled:
            raise ConfigurationError(
                "retrieval is switched off: set rag.enabled = true", details={"key": "rag.enabled"}
            )

    def embedder(self, name: str | None = None, dimensions: int | None = None) -> Embedder:
        """Return an embedder; defaults are the configuration's."""
        wanted = (name or self.config.embedding.default_provider, dimensions or self.config.embedding.dimensions)
        if wanted not in self._embedders:
            self._embedders[wanted] = embedders.find(wanted[0], dimensions=wanted[1])
        return self._embedders[wanted]

    def _collection_embedder(self, found: Collection, name: str | None, dimensions: int | None) -> Embedder:
        """Return the embedder a collection was made with. Raises EmbedderMismatch when another is asked for."""
        recorded = found.recorded
        own = self.embedder(recorded.embedder, recorded.dimensions)
        asked = (
            own
            if name is None and dimensions is None
            else self.embedder(name or recorded.embedder, dimensions or own.dim)
        )
        for given in (own, asked):
            if given.id != recorded.embedder_id:
                raise EmbedderMismatch(
                    f"the collection {found.name!r} was made with {recorded.embedder_id}, not with {given.id}: "
                    "use another collection, or delete this one and ingest again",
                    details={"collection": found.name, "recorded": recorded.embedder_id, "given": given.id},
                )
        return own

    async def embed(
        self, texts: Sequence[str], *, embedder: str | None = None, dimensions: int | None = None
    ) -> NDArray[Any]:
        """Return float32 of shape (n, dim)."""
        self._check_enabled()
        return await self.embedder(embedder, dimensions).embed(texts)

    def list_providers(self) -> list[dict[str, Any]]:
        """Return the embedders: name, available, dimensions, models."""
        listed = []
        for name in embedders.names():
            module = embedders.module(name)
            listed.append(
                {"name": name, "available": True, "dimensions": module.DIMENSIONS, "models": list(module.MODELS)}
            )
        return listed
