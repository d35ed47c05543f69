"""The model that answers with the question: offline, free, deterministic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from llmspell.providers._base import Capabilities, Embeddings, ModelRequest, ModelResponse, Rendered, StreamEvent
from llmspell.providers._endpoint import Endpoint
from llmspell.providers._errors import unsupported
from llmspell.providers._shared import Shared
from llmspell.providers._stream import Assembly
from llmspell.providers._words import chunks, usage

MODELS = ["context", "echo", "json", "reverse", "upper"]


class Provider:
    """`echo/<any>` answers with the last user text; `upper`, `reverse`, `json` and `context` change it first."""

    def __init__(self, endpoint: Endpoint, shared: Shared) -> None:
        self._endpoint = endpoint

    def capabilities(self, model: str) -> Capabilities:
        """Return the same for every model."""
        return self._endpoint.profile.capabilities(model)

    def render(self, request: ModelRequest, *, stream: bool = False) -> Rendered:
        """Return the neutral form; nothing is sent anywhere."""
        return Rendered("POST", f"echo:{request.model}", {}, msgspec.json.encode([m.content for m in request.messages]))

    async def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """Answer at once."""
        events = _assemble(request).finish()
        response = events[-1].response
        assert response is not None
        return response

    async def stream(self, request: ModelRequest, *, timeout_s: float) -> AsyncIterator[StreamEvent]:
        """Answer with one chunk per word."""
        assembly = Assembly("echo", request.model)
        yield assembly.start()
        text = answer(request)
        for piece in chunks(text):
            yield assembly.text(piece)
        assembly.usage = usage(request, text)
        for event in assembly.finish():
            yield event

    async def embed(self, model: str, inputs: list[str], dimensions: int | None, *, timeout_s: float) -> Embeddings:
        """Raise ProviderError `unsupported`."""
        raise unsupported("echo", "embeddings")

    async def list_models(self, *, timeout_s: float) -> list[str]:
        """Return the named variants."""
        return MODELS


def answer(request: ModelRequest) -> str:
    """Return what the model named in `request` answers."""
    users = [message.content for message in request.messages if message.role == "user"]
    text = users[-1] if users else ""
    if request.model == "upper":
        return text.upper()
    if request.model == "reverse":
        return text[::-1]
    if request.model == "json":
        return _json({"input": text, "messages": len(request.messages)})
    if request.model == "context":
        return _json([{"role": message.role, "content": message.content} for message in request.messages])
    return text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _assemble(request: ModelRequest) -> Assembly:
    assembly = Assembly("echo", request.model)
    text = answer(request)
    if text:
        assembly.text(text)
    assembly.usage = usage(request, text)
    return assembly
