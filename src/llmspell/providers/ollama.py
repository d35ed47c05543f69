"""The native dialect of Ollama: /api/chat in JSON lines, /api/embed, /api/tags. Source: Ollama API documentation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from llmspell.base.types import FinishReason, Message, Usage
from llmspell.providers import _media
from llmspell.providers._base import Embeddings, ModelRequest, ModelResponse, Rendered, StreamEvent
from llmspell.providers._endpoint import Endpoint
from llmspell.providers._errors import bad_response, truncated
from llmspell.providers._http import Channel
from llmspell.providers._names import reversed_names, simplify, wire_names
from llmspell.providers._shared import Shared
from llmspell.providers._stream import Assembly

MIN_CONTEXT = 4096
DEFAULT_ANSWER_TOKENS = 1024
BYTES_PER_TOKEN = 4
REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
OPTIONS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "max_tokens": "num_predict", "seed": "seed",
    "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
}  # fmt: skip
RESERVED = frozenset({"model", "messages", "stream", "options"})


class WireFunction(msgspec.Struct):
    """A called function."""

    name: str
    arguments: Any = None


class WireCall(msgspec.Struct):
    """A tool call, always whole."""

    function: WireFunction
    id: str | None = None


class WireMessage(msgspec.Struct):
    """A message or a piece of one."""

    content: str = ""
    thinking: str | None = None
    tool_calls: list[WireCall] | None = None


class WireAnswer(msgspec.Struct):
    """A whole answer, or one line of it."""

    model: str | None = None
    message: WireMessage | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


class WireTag(msgspec.Struct):
    """One local model."""

    name: str


class WireTags(msgspec.Struct):
    """An answer of /api/tags."""

    models: list[WireTag]


class WireVectors(msgspec.Struct):
    """An answer of /api/embed."""

    embeddings: list[list[float]]
    model: str | None = None
    prompt_eval_count: int | None = None


_answer = msgspec.json.Decoder(WireAnswer)
_tags = msgspec.json.Decoder(WireTags)
_vectors = msgspec.json.Decoder(WireVectors)
_encoder = msgspec.json.Encoder()


class Provider(Channel):
    """A local or remote Ollama."""

    def __init__(self, endpoint: Endpoint, shared: Shared) -> None:
        super().__init__(endpoint, shared)
        self._base = endpoint.base_url.removesuffix("/v1").removesuffix("/api")

    def render(self, request: ModelRequest, *, stream: bool = False) -> Rendered:
        """Return the request to /api/chat. The context window is always stated, else the prompt is cut in silence."""
        _media.check(request.messages, self.profile.media, f"{self.name}/{request.model}")
        names = wire_names(tool.name for tool in request.tools)
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [_message(message, names) for message in request.messages],
            "stream": stream,
        }
        dropped: list[str] = []
        if request.tools and request.tool_choice != "none":
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": names[tool.name],
                        "description": tool.description,
                        "parameters": simplify(tool.parameters or {"type": "object", "properties": {}}),
                    },
                }
                for tool in request.tools
            ]
            if request.tool_choice != "auto":
                dropped.append("tool_choice")
        options = {
            theirs: getattr(request, ours) for ours, theirs in OPTIONS.items() if getattr(request, ours) is not None
        }
        if request.stop:
            options["stop"] = request.stop
        own = self.endpoint.options
        options["num_ctx"] = int(request.context_window or own.get("num_ctx") or _window(request))
        body["options"] = options
        if request.output_schema is not None:
            body["format"] = simplify(request.output_schema)
        if request.reasoning:
            body["think"] = request.reasoning.get("effort") != "none"
        if own.get("keep_alive") is not None:
            body["keep_alive"] = own["keep_alive"]
        body.update({key: value for key, value in request.extra.items() if key not in RESERVED})
        if request.user is not None:
            dropped.append("user")
        return Rendered("POST", f"{self._base}/api/chat", self.endpoint.headers, _encoder.encode(body), dropped)

    async def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """Do one exchange."""
        rendered = self.render(request)
        body, _ = await self.send(rendered, request.model, timeout_s=timeout_s)
        answer = self.decode(body, _answer, request.model)
        if answer.error:
            raise self.stream_error(answer.error, request.model)
        if answer.message is None:
            raise bad_response(self.name, request.model, "it holds no message")
        lines = LineStream(self, request)
        lines.take(answer)
        response = lines.end(rendered.dropped)[-1].response
        assert response is not None
        return response

    async def stream(self, request: ModelRequest, *, timeout_s: float) -> AsyncIterator[StreamEvent]:
        """Do one exchange event by event."""
        rendered = self.render(request, stream=True)
        lines = LineStream(self, request)
        headers: list[Mapping[str, str]] = []
        tail = b""
        pieces = self.receive(rendered, request.model, timeout_s=timeout_s, headers=headers)
        try:
            async for chunk in pieces:
                *whole, tail = (tail + chunk).split(b"\n")
                for line in whole:
                    for out in lines.feed(line):
                        yield out
                if lines.done:
                    break
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # an async generator, typed as its protocol
        if not lines.done:
            for out in lines.feed(tail, last=True):
                yield out
        for out in lines.end(rendered.dropped):
            yield out

    async def embed(self, model: str, inputs: list[str], dimensions: int | None, *, timeout_s: float) -> Embeddings:
        """Return one vector per input, in order."""
        body: dict[str, Any] = {"model": model, "input": inputs, "truncate": False}
        if dimensions is not None:
            body["dimensions"] = dimensions
        rendered = Rendered("POST", f"{self._base}/api/embed", self.endpoint.headers, _encoder.encode(body))
        raw, _ = await self.send(rendered, model, timeout_s=timeout_s)
        answer = self.decode(raw, _vectors, model)
        if len(answer.embeddings) != len(inputs):
            raise bad_response(self.name, model, f"{len(inputs)} texts gave {len(answer.embeddings)} vectors")
        counted = answer.prompt_eval_count or 0
        return Embeddings(
            vectors=answer.embeddings,
            model=answer.model or model,
            usage=Usage(input_tokens=counted, total_tokens=counted),
        )

    async def list_models(self, *, timeout_s: float) -> list[str]:
        """Return the names of GET /api/tags."""
        rendered = Rendered("GET", f"{self._base}/api/tags", self.endpoint.headers, b"")
        body, _ = await self.send(rendered, "", timeout_s=timeout_s)
        return sorted(tag.name for tag in self.decode(body, _tags, "").models)


def _message(message: Message, names: dict[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "tool" and message.name:
        out["tool_name"] = names.get(message.name, message.name)
    if message.tool_calls:
        out["tool_calls"] = [
            {"function": {"name": names.get(call.name, call.name), "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    images = [_media.base64(item) for item in message.media if item.type == "image"]
    texts = [_media.text(item) for item in message.media if item.type == "text"]
    if texts:
        out["content"] = "\n\n".join([message.content, *texts])
    if images:
        out["images"] = images
    return out


def _window(request: ModelRequest) -> int:
    """Return the next power of two that holds the estimated prompt and the answer, at least 4096."""
    size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
    size += sum(len(_encoder.encode(tool.parameters)) + len(tool.description) for tool in request.tools)
    wanted = size // BYTES_PER_TOKEN + (request.max_tokens or DEFAULT_ANSWER_TOKENS)
    return max(MIN_CONTEXT, 1 << max(0, wanted - 1).bit_length())


class LineStream:
    """Decodes the JSON lines of one answer. `done` once the last line was seen."""

    def __init__(self, channel: Channel, request: ModelRequest) -> None:
        self._channel = channel
        self._request = request
        self.assembly = Assembly(
            channel.name, request.model, reversed_names(wire_names(tool.name for tool in request.tools))
        )
        self.done = False
        self._started = False
        self._calls = 0

    def feed(self, line: bytes, *, last: bool = False) -> list[StreamEvent]:
        """Return the events of one line; a last line without its end counts only if it is whole."""
        if not line.strip():
            return []
        if last and not line.rstrip().endswith(b"}"):
            raise truncated(self._channel.name, self._request.model)
        answer = self._channel.decode(line, _answer, self._request.model)
        if answer.error:
            raise self._channel.stream_error(answer.error, self._request.model)
        return self.take(answer)

    def take(self, answer: WireAnswer) -> list[StreamEvent]:
        """Return the events of one decoded line."""
        events: list[StreamEvent] = []
        assembly = self.assembly
        if not self._started:
            self._started = True
            assembly.model = answer.model or self._request.model
            events.append(assembly.start())
        message = answer.message
        if message is not None:
            if message.thinking:
                events.append(assembly.reasoning(message.thinking))
            if message.content:
                events.append(assembly.text(message.content))
            for call in message.tool_calls or ():
                events += self._call(call)
        if answer.done:
            self.done = True
            sent, made = answer.prompt_eval_count or 0, answer.eval_count or 0
            assembly.usage = Usage(input_tokens=sent, output_tokens=made, total_tokens=sent + made)
            assembly.native_reason = answer.done_reason
            assembly.reason = REASONS.get(answer.done_reason or "stop", "stop")
        return events

    def _call(self, call: WireCall) -> list[StreamEvent]:
        index = self._calls
        self._calls += 1
        given = call.function.arguments
        text = given if isinstance(given, str) else _encoder.encode(given or {}).decode()
        return [
            self.assembly.call(index, call.id, call.function.name),
            self.assembly.arguments(index, text),
        ]

    def end(self, dropped: list[str]) -> list[StreamEvent]:
        """Return the closing events. Raises NetworkError `stream_truncated` without a last line."""
        if not self.done:
            raise truncated(self._channel.name, self._request.model)
        return self.assembly.finish(dropped)
