"""The messages dialect of Anthropic: blocks, native tools, an output schema as a forced tool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from llmspell.base.types import Message, ToolCall, Usage
from llmspell.providers import _media
from llmspell.providers._anthropic_wire import (
    REASONS,
    WireAnswer,
    WireEvent,
    WireModels,
    WireUsage,
    merge,
    messages_out,
    usage_of,
)
from llmspell.providers._base import Embeddings, ModelRequest, ModelResponse, Rendered, StreamEvent
from llmspell.providers._endpoint import Endpoint
from llmspell.providers._errors import truncated, unsupported
from llmspell.providers._http import Channel
from llmspell.providers._names import reversed_names, simplify, wire_names
from llmspell.providers._shared import Shared
from llmspell.providers._stream import Assembly, parse_arguments

ANSWER_TOOL = "structured_output"
DEFAULT_MAX_TOKENS = 4096
MIN_THINKING_TOKENS = 1024
THINKING = {"low": 2048, "medium": 8192, "high": 24576}
DROPPED = ("seed", "presence_penalty", "frequency_penalty")
RESERVED = frozenset({"model", "messages", "stream"})
CACHE_MARK = {"type": "ephemeral"}

_answer = msgspec.json.Decoder(WireAnswer)
_event = msgspec.json.Decoder(WireEvent)
_models = msgspec.json.Decoder(WireModels)
_encoder = msgspec.json.Encoder()


class Provider(Channel):
    """A service of this dialect."""

    def __init__(self, endpoint: Endpoint, shared: Shared) -> None:
        super().__init__(endpoint, shared)
        self._url = f"{endpoint.base_url}/v1/messages"

    def render(self, request: ModelRequest, *, stream: bool = False) -> Rendered:
        """Return the request to /v1/messages."""
        _media.check(request.messages, self.profile.media, f"{self.name}/{request.model}")
        names = wire_names(tool.name for tool in request.tools)
        system, turns = messages_out(request.messages, names)
        limit = self.capabilities(request.model).max_output_tokens or DEFAULT_MAX_TOKENS
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": request.max_tokens or min(limit, DEFAULT_MAX_TOKENS),
            "messages": turns,
        }
        tools = _tools(request, names)
        if request.cache == "auto":
            _mark_cache(tools, turns)
        if system:
            mark = {"cache_control": CACHE_MARK} if request.cache == "auto" else {}
            body["system"] = [{"type": "text", "text": system, **mark}]
        if tools:
            body["tools"] = tools
            _choose(body, request, names)
        _parameters(body, request)
        if stream:
            body["stream"] = True
        body.update({key: value for key, value in request.extra.items() if key not in RESERVED})
        dropped = [name for name in DROPPED if getattr(request, name) is not None]
        return Rendered("POST", self._url, self.endpoint.headers, _encoder.encode(body), dropped)

    async def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """Do one exchange."""
        rendered = self.render(request)
        body, headers = await self.send(rendered, request.model, timeout_s=timeout_s)
        answer = self.decode(body, _answer, request.model)
        names = reversed_names(wire_names(tool.name for tool in request.tools))
        text, reasoning, opaque, calls = _read(answer, names)
        structured = _structured(request, calls)
        if structured is not None:
            text, calls = structured, [call for call in calls if call.name != ANSWER_TOOL]
        reason = REASONS.get(answer.stop_reason or "end_turn", "stop")
        if reason == "tool_calls" and not calls:
            reason = "stop"
        if reason == "length" and calls:
            calls = calls[:-1]
        return ModelResponse(
            message=Message(role="assistant", content=text, tool_calls=calls, opaque=opaque),
            usage=usage_of(answer.usage) if answer.usage else Usage(),
            finish_reason=reason,
            native_finish_reason=answer.stop_reason,
            model=answer.model or request.model,
            provider=self.name,
            request_id=headers.get("request-id") or answer.id,
            reasoning=reasoning,
            dropped_parameters=rendered.dropped,
        )

    async def stream(self, request: ModelRequest, *, timeout_s: float) -> AsyncIterator[StreamEvent]:
        """Do one exchange event by event."""
        from llmspell.net import SseParser

        rendered = self.render(request, stream=True)
        decoder = MessageStream(self, request)
        parser = SseParser()
        headers: list[Mapping[str, str]] = []
        pieces = self.receive(rendered, request.model, timeout_s=timeout_s, headers=headers)
        try:
            async for chunk in pieces:
                for event in parser.feed(chunk):
                    for out in decoder.feed(event.data):
                        yield out
                if decoder.done:
                    break
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # an async generator, typed as its protocol
        decoder.assembly.request_id = headers[0].get("request-id") or decoder.assembly.request_id
        for out in decoder.end(rendered.dropped):
            yield out

    async def embed(self, model: str, inputs: list[str], dimensions: int | None, *, timeout_s: float) -> Embeddings:
        """Raise ProviderError `unsupported`: the service has no embeddings."""
        raise unsupported(self.name, "embeddings")

    async def list_models(self, *, timeout_s: float) -> list[str]:
        """Return the ids of GET /v1/models."""
        url = f"{self.endpoint.base_url}/v1/models?limit=1000"
        body, _ = await self.send(Rendered("GET", url, self.endpoint.headers, b""), "", timeout_s=timeout_s)
        return sorted(model.id for model in self.decode(body, _models, "").data)


def _tools(request: ModelRequest, names: dict[str, str]) -> list[dict[str, Any]]:
    tools = [
        {
            "name": names[tool.name],
            "description": tool.description,
            "input_schema": simplify(tool.parameters or {"type": "object", "properties": {}}),
        }
        for tool in request.tools
    ]
    if request.output_schema is not None:
        tools.append(
            {
                "name": ANSWER_TOOL,
                "description": "Give the final answer by calling this tool.",
                "input_schema": _wrapped(request.output_schema),
            }
        )
    return tools


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of type object; another one becomes its property `value`."""
    plain = simplify(schema)
    if plain.get("type") == "object":
        return plain
    return {"type": "object", "properties": {"value": plain}, "required": ["value"]}


def _structured(request: ModelRequest, calls: list[ToolCall]) -> str | None:
    """Return the answer given through the forced tool as JSON text."""
    if request.output_schema is None:
        return None
    for call in calls:
        if call.name == ANSWER_TOOL:
            whole = request.output_schema.get("type") == "object"
            value = call.arguments if whole else call.arguments.get("value")
            return msgspec.json.encode(value).decode()
    return None


def _choose(body: dict[str, Any], request: ModelRequest, names: dict[str, str]) -> None:
    choice: dict[str, Any] | None = None
    if request.output_schema is not None:
        choice = {"type": "any"} if request.tools else {"type": "tool", "name": ANSWER_TOOL}
    elif request.tool_choice == "required":
        choice = {"type": "any"}
    elif request.tool_choice == "none":
        choice = {"type": "none"}
    elif request.tool_choice in names:
        choice = {"type": "tool", "name": names[request.tool_choice]}
    if request.parallel_tool_calls is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        body["tool_choice"] = choice


def _parameters(body: dict[str, Any], request: ModelRequest) -> None:
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop_sequences"] = request.stop
    if request.user is not None:
        body["metadata"] = {"user_id": request.user}
    effort = (request.reasoning or {}).get("effort")
    if request.reasoning and effort != "none" and request.output_schema is None:
        tokens = int(request.reasoning.get("max_tokens") or THINKING.get(str(effort), THINKING["medium"]))
        tokens = max(MIN_THINKING_TOKENS, tokens)
        body["thinking"] = {"type": "enabled", "budget_tokens": tokens}
        body["max_tokens"] = max(body["max_tokens"], tokens + MIN_THINKING_TOKENS)
        for name in ("temperature", "top_k", "top_p"):
            body.pop(name, None)


def _mark_cache(tools: list[dict[str, Any]], turns: list[dict[str, Any]]) -> None:
    """Mark the last tool and the last stable turn, so that the prefix of a conversation is read from the cache."""
    if tools:
        tools[-1]["cache_control"] = CACHE_MARK
    if len(turns) >= 3 and turns[-2]["content"]:
        last = turns[-2]["content"][-1]
        if last.get("type") not in ("thinking", "redacted_thinking"):
            turns[-2]["content"][-1] = {**last, "cache_control": CACHE_MARK}


def _read(answer: WireAnswer, names: dict[str, str]) -> tuple[str, str, list[dict[str, Any]], list[ToolCall]]:
    text: list[str] = []
    reasoning: list[str] = []
    opaque: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    for block in answer.content:
        kind = block.get("type")
        if kind == "text":
            text.append(str(block.get("text", "")))
        elif kind in ("thinking", "redacted_thinking"):
            opaque.append(block)
            reasoning.append(str(block.get("thinking", "")))
        elif kind == "tool_use":
            name = str(block.get("name", ""))
            given = block.get("input")
            arguments = given if isinstance(given, dict) else {}
            calls.append(ToolCall(id=str(block.get("id") or ""), name=names.get(name, name), arguments=arguments))
    return "".join(text), "".join(reasoning), opaque, calls


class MessageStream:
    """Decodes the events of one stream. `done` once message_stop was seen."""

    def __init__(self, channel: Channel, request: ModelRequest) -> None:
        self._channel = channel
        self._request = request
        names = reversed_names(wire_names(tool.name for tool in request.tools))
        self.assembly = Assembly(channel.name, request.model, names)
        self.done = False
        self._usage: WireUsage | None = None
        self._thinking: dict[int, dict[str, Any]] = {}
        self._answers: set[int] = set()
        self._answer: list[str] = []
        self._beside: list[str] = []

    def feed(self, data: str) -> list[StreamEvent]:
        """Return the events of one data line."""
        event = self._channel.decode(data, _event, self._request.model)
        if event.error is not None:
            raise self._channel.stream_error(event.error, self._request.model)
        assembly = self.assembly
        if event.type == "message_start" and event.message is not None:
            assembly.model = str(event.message.get("model") or self._request.model)
            assembly.request_id = event.message.get("id")
            if event.message.get("usage"):
                self._usage = msgspec.convert(event.message["usage"], WireUsage)
            return [assembly.start()]
        if event.type == "ping":
            return [StreamEvent(type="ping")]
        if event.type == "content_block_start" and event.content_block is not None:
            return self._open(event.index, event.content_block)
        if event.type == "content_block_delta" and event.delta is not None:
            return self._delta(event.index, event.delta)
        if event.type == "message_delta":
            self._finish(event)
        elif event.type == "message_stop":
            self.done = True
        return []

    def _open(self, index: int, block: dict[str, Any]) -> list[StreamEvent]:
        kind = block.get("type")
        if kind in ("thinking", "redacted_thinking"):
            self._thinking[index] = dict(block)
            self.assembly.opaque.append(self._thinking[index])
        elif kind == "tool_use":
            name = str(block.get("name", ""))
            if name == ANSWER_TOOL and self._request.output_schema is not None:
                self._answers.add(index)
                return []
            return [self.assembly.call(index, block.get("id"), name)]
        elif kind == "text" and block.get("text"):
            return self._text(str(block["text"]))
        return []

    def _text(self, piece: str) -> list[StreamEvent]:
        """Give text out; where the answer comes through the forced tool, text beside it is kept back."""
        if self._request.output_schema is None:
            return [self.assembly.text(piece)]
        self._beside.append(piece)
        return []

    def _delta(self, index: int, delta: dict[str, Any]) -> list[StreamEvent]:
        kind = delta.get("type")
        if kind == "text_delta":
            return self._text(str(delta.get("text", "")))
        if kind == "input_json_delta":
            piece = str(delta.get("partial_json", ""))
            if index in self._answers:
                self._answer.append(piece)
                return []
            if piece and self.assembly.has_call(index):
                return [self.assembly.arguments(index, piece)]
        elif kind == "thinking_delta" and index in self._thinking:
            piece = str(delta.get("thinking", ""))
            self._thinking[index]["thinking"] = self._thinking[index].get("thinking", "") + piece
            return [self.assembly.reasoning(piece)]
        elif kind == "signature_delta" and index in self._thinking:
            self._thinking[index]["signature"] = delta.get("signature")
        return []

    def _finish(self, event: WireEvent) -> None:
        native = (event.delta or {}).get("stop_reason")
        if native:
            self.assembly.native_reason = str(native)
            reason = REASONS.get(str(native), "stop")
            self.assembly.reason = None if reason == "tool_calls" else reason
        if event.usage is not None:
            self._usage = merge(self._usage, event.usage)

    def end(self, dropped: list[str]) -> list[StreamEvent]:
        """Return the closing events. Raises NetworkError `stream_truncated` without message_stop."""
        if not self.done:
            raise truncated(self._channel.name, self._request.model)
        if self._usage is not None:
            self.assembly.usage = usage_of(self._usage)
        late = self._late()
        return [*([self.assembly.text(late)] if late else []), *self.assembly.finish(dropped)]

    def _late(self) -> str:
        """Return the text that could only be given at the end: the answer of the forced tool, else what was beside."""
        schema = self._request.output_schema
        text = "".join(self._answer)
        if not text or schema is None:
            return "".join(self._beside)
        if schema.get("type") == "object":
            return text
        arguments, malformed = parse_arguments(text)
        return text if malformed is not None else msgspec.json.encode(arguments.get("value")).decode()
