"""`cohere`: Cohere's embed endpoint, version 2. Source: docs.cohere.com, "Embed API (v2)"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from llmspell.embedders._http import Answer, HttpEmbedder

DIMENSIONS = 1536
MODELS = {
    "embed-v4.0": 1536,
    "embed-english-v3.0": 1024,
    "embed-english-light-v3.0": 384,
    "embed-multilingual-v3.0": 1024,
    "embed-multilingual-light-v3.0": 384,
}
SERVICE = {"base_url": "https://api.cohere.com", "key_env": ["COHERE_API_KEY", "CO_API_KEY"]}


class _Vectors(msgspec.Struct):
    floats: list[list[float]] = msgspec.field(name="float")


class _Billed(msgspec.Struct):
    input_tokens: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Billed | None = None


class _Answer(msgspec.Struct):
    embeddings: _Vectors
    meta: _Meta | None = None


_answer = msgspec.json.Decoder(_Answer)


class Embedder(HttpEmbedder):
    """See the module."""

    name = "cohere"
    models = MODELS
    default_model: ClassVar[str | None] = "embed-v4.0"
    max_batch = 96
    max_request_tokens = 500_000
    max_input_tokens = 128_000
    sizes = ("embed-v4",)
    tells_queries = True

    def path(self) -> str:
        """Return the path below the service's address."""
        return "/v2/embed"

    def body(self, texts: Sequence[str], *, query: bool) -> Any:
        """Return the body of a request."""
        body: dict[str, Any] = {
            "model": self.model,
            "texts": texts,
            "input_type": "search_query" if query else "search_document",
            "embedding_types": ["float"],
        }
        if self.asked_size:
            body["output_dimension"] = self.asked_size
        return body

    def read(self, answer: bytes) -> Answer:
        """Return the vectors of an answer, in the order of the texts."""
        found = self.decode(answer, _answer)
        billed = found.meta.billed_units if found.meta is not None else None
        tokens = None if billed is None or billed.input_tokens is None else int(billed.input_tokens)
        return Answer(found.embeddings.floats, tokens)
