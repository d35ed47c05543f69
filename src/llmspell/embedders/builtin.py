"""`builtin`: hashed words and n-grams. Needs no network and no model; knows shared words and spellings, no meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmspell._core import HashEmbedder, count_tokens
from llmspell.base.offload import offload
from llmspell.embedders._base import Options, Spent, check_texts
from llmspell.errors import InvalidArgument

if TYPE_CHECKING:
    from llmspell.errors import InvalidArgument
from llmspell.embedders._base import Vectors

DIMENSIONS = 384
MODELS = {"hash-v1": 384}
SMALL = 4096
"""Characters that are embedded at once; a hop to a worker thread costs more."""


class Embedder:
    """See the module. dimensions: 32 to 4096."""

    name = "builtin"
    model = None
    max_tokens = None
    tells_queries = False

    def __init__(self, options: Options) -> None:
        asked = options.model or (options.section.model if options.own else None)
        if asked not in (None, *MODELS):
            raise InvalidArgument(
                f"the embedder builtin has no model {asked!r}; there is: {', '.join(MODELS)}",
                details={"name": "embedding_model", "value": asked},
            )
        self.dim = DIMENSIONS if options.dimensions is None else options.dimensions
        self._hash = HashEmbedder(self.dim)

    @property
    def id(self) -> str:
        """Name of the method and its options."""
        return str(self._hash.id)

    async def embed(self, texts: Sequence[str], *, query: bool = False, spent: Spent | None = None) -> Vectors:
        """Return float32 of shape (n, dim). Raises InvalidArgument for texts that are no valid Unicode."""
        check_texts(texts)
        if spent is not None:
            spent.add(Spent(embedded=len(texts), tokens=sum(map(count_tokens, texts))))
        if sum(map(len, texts)) <= SMALL:
            return self._hash.embed(texts)
        return await offload(lambda: self._hash.embed(texts, threads=0))
