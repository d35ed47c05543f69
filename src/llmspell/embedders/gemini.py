"""`gemini`: Google's Gemini API. Source: ai.google.dev, method models.batchEmbedContents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from llmspell.embedders._http import Answer, HttpEmbedder

DIMENSIONS = 3072
MODELS = {"gemini-embedding-001": 3072, "text-embedding-004": 768}
SERVICE = {
    "base_url": "https://generativelanguage.googleapis.com/v1beta",
    "key_env": ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    "auth": "header:x-goog-api-key",
}


class _Vector(msgspec.Struct):
    values: list[float]


class _Answer(msgspec.Struct):
    embeddings: list[_Vector]


_answer = msgspec.json.Decoder(_Answer)


class Embedder(HttpEmbedder):
    """See the module. The service does not say how many tokens it read: they are estimated."""

    name = "gemini"
    models = MODELS
    default_model: ClassVar[str | None] = "gemini-embedding-001"
    max_batch = 100
    max_request_tokens = 20_000
    max_input_tokens = 2048
    sizes = ("gemini-embedding", "text-embedding-004")
    tells_queries = True

    def path(self) -> str:
        """Return the path below the service's address."""
        return f"/models/{quote(self.model, safe='')}:batchEmbedContents"

    def body(self, texts: Sequence[str], *, query: bool) -> Any:
        """Return the body of a request; vectors shorter than the model's own come without unit length."""
        common: dict[str, Any] = {
            "model": f"models/{self.model}",
            "taskType": "RETRIEVAL_QUERY" if query else "RETRIEVAL_DOCUMENT",
        }
        if self.asked_size:
            common["outputDimensionality"] = self.asked_size
        return {"requests": [{**common, "content": {"parts": [{"text": text}]}} for text in texts]}

    def read(self, answer: bytes) -> Answer:
        """Return the vectors of an answer, in the order of the texts."""
        return Answer([row.values for row in self.decode(answer, _answer).embeddings])
