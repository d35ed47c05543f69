"""`ollama`: models served by Ollama. Source: github.com/ollama/ollama, docs/api.md, "Generate Embeddings"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from llmspell.embedders._http import Answer, HttpEmbedder

DIMENSIONS = 768
MODELS = {
    "nomic-embed-text": 768,
    "mxbai-embed-large": 1024,
    "all-minilm": 384,
    "bge-m3": 1024,
    "snowflake-arctic-embed": 1024,
}


class _Answer(msgspec.Struct):
    embeddings: list[list[float]]
    prompt_eval_count: int | None = None


_answer = msgspec.json.Decoder(_Answer)


class Embedder(HttpEmbedder):
    """See the module. A model that is not there yet is pulled with `ollama pull NAME`."""

    name = "ollama"
    models = MODELS
    default_model: ClassVar[str | None] = "nomic-embed-text"
    max_batch = 512
    max_input_tokens = 8192

    def path(self) -> str:
        """Return the path below the service's address."""
        return "/api/embed"

    def body(self, texts: Sequence[str], *, query: bool) -> Any:
        """Return the body of a request; longer texts are cut by the model as it was loaded."""
        return {"model": self.model, "input": texts}

    def read(self, answer: bytes) -> Answer:
        """Return the vectors of an answer, in the order of the texts."""
        found = self.decode(answer, _answer)
        return Answer(found.embeddings, found.prompt_eval_count)
