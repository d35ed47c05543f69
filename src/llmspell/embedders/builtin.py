"""`builtin`: hashed words and n-grams. Needs no network and no model; knows shared words and spellings, no meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmspell._core import HashEmbedder
from llmspell.base.offload import offload
from llmspell.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMENSIONS = 384
MODELS = ["hash-v1"]
SMALL = 4096
"""Characters that are embedded at once; a hop to a worker thread costs more."""


class Embedder:
    """See the module. dimensions: 32 to 4096."""

    name = "builtin"
    max_tokens = None

    def __init__(self, dimensions: int | None = None) -> None:
        self.dim = DIMENSIONS if dimensions is None else dimensions
        self._hash = HashEmbedder(self.dim)

    @property
    def id(self) -> str:
        """Name of the method and its options."""
        return str(self._hash.id)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 of shape (n, dim). Raises InvalidArgument for texts that are no valid Unicode."""
        if not all(isinstance(text, str) for text in texts):
            raise InvalidArgument("texts to embed must be strings", details={"name": "texts"})
        if sum(map(len, texts)) <= SMALL:
            return self._hash.embed(texts)
        return await offload(lambda: self._hash.embed(texts, threads=0))
