"""`voyage`: Voyage AI. Source: docs.voyageai.com, "Text embeddings API"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from llmspell.embedders._http import Answer, HttpEmbedder

DIMENSIONS = 1024
MODELS = {
    "voyage-3.5": 1024,
    "voyage-3.5-lite": 1024,
    "voyage-3-large": 1024,
    "voyage-code-3": 1024,
    "voyage-3": 1024,
    "voyage-3-lite": 512,
    "voyage-finance-2": 1024,
    "voyage-law-2": 1024,
}
SERVICE = {"base_url": "https://api.voyageai.com/v1", "key_env": ["VOYAGE_API_KEY"]}


class Embedder(HttpEmbedder):
    """See the module."""

    name = "voyage"
    models = MODELS
    default_model: ClassVar[str | None] = "voyage-3.5"
    max_batch = 1000
    max_request_tokens = 100_000
    max_input_tokens = 32_000
    sizes = ("voyage-3.5", "voyage-3-large", "voyage-code-3")
    tells_queries = True

    def path(self) -> str:
        """Return the path below the service's address."""
        return "/embeddings"

    def body(self, texts: Sequence[str], *, query: bool) -> Any:
        """Return the body of a request."""
        body: dict[str, Any] = {"model": self.model, "input": texts, "input_type": "query" if query else "document"}
        if self.asked_size:
            body["output_dimension"] = self.asked_size
        return body

    def read(self, answer: bytes) -> Answer:
        """Return the vectors of an answer, in the order of the texts."""
        return self.listed(answer)
