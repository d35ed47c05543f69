"""`openai`: OpenAI and every service that embeds in its dialect. Source: platform.openai.com, "Create embeddings"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from llmspell.embedders._http import Answer, HttpEmbedder

DIMENSIONS = 1536
MODELS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}


class Embedder(HttpEmbedder):
    """See the module. Other providers of the dialect have their own models, which must be named."""

    name = "openai"
    models = MODELS
    default_model: ClassVar[str | None] = "text-embedding-3-small"
    max_batch = 2048
    max_request_tokens = 250_000
    max_input_tokens = 8191
    sizes = ("text-embedding-3",)

    def path(self) -> str:
        """Return the path below the service's address."""
        return "/embeddings"

    def body(self, texts: Sequence[str], *, query: bool) -> Any:
        """Return the body of a request; encoding_format is left out because not every server knows it."""
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if self.asked_size:
            body["dimensions"] = self.asked_size
        return body

    def read(self, answer: bytes) -> Answer:
        """Return the vectors of an answer, in the order of the texts."""
        return self.listed(answer)
