"""The chat completions dialect: OpenAI itself and every service that speaks like it, told apart by profiles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import msgspec

from llmspell.base.types import Message, ToolCall, Usage
from llmspell.providers._base import Embeddings, ModelRequest, ModelResponse, Rendered, StreamEvent
from llmspell.providers._chat_request import ChatRequest
from llmspell.providers._chat_wire import (
    REASONS,
    WireAnswer,
    WireMessage,
    WireModels,
    WireVectors,
    argument_text,
    texts_of,
    usage_of,
)
from llmspell.providers._endpoint import Endpoint
from llmspell.providers._errors import bad_response, truncated, unsupported
from llmspell.providers._http import Channel
from llmspell.providers._names import reversed_names, wire_names
from llmspell.providers._shared import Shared
from llmspell.providers._stream import Assembly, parse_arguments

_answer = msgspec.json.Decoder(WireAnswer)
_vectors = msgspec.json.Decoder(WireVectors)
_models = msgspec.json.Decoder(WireModels)
_encoder = msgspec.json.Encoder()


class Provider(Channel):
    """One service of this dialect."""

    def __init__(self, endpoint: Endpoint, shared: Shared) -> None:
        super().__init__(endpoint, shared)
        self._request = ChatRequest(endpoint.profile)
        self._url = f"{endpoint.base_url}/chat/completions"

    def render(self, request: ModelRequest, *, stream: bool = False) -> Rendered:
        """Return the request to /chat/completions."""
        body, dropped = self._request.body(request, stream=stream, where=f"{self.name}/{request.model}")
        return Rendered("POST", self._url, self.endpoint.headers, _encoder.encode(body), dropped)

    async def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """Do one exchange."""
        rendered = self.render(request)
        body, headers = await self.send(rendered, request.model, timeout_s=timeout_s)
        return self.parse(body, headers, request, rendered.dropped)

    def parse(
        self, body: bytes, headers: Mapping[str, str], request: ModelRequest, dropped: list[str]
    ) -> ModelResponse:
        """Return the answer in `body`. Raises ProviderError `bad_response`."""
        answer = self.decode(body, _answer, request.model)
        if answer.error and not answer.choices:
            raise self.stream_error(answer.error, request.model)
        if not answer.choices or answer.choices[0].message is None:
            raise bad_response(self.name, request.model, "it holds no choice")
        choice = answer.choices[0]
        message = choice.message
        assert message is not None
        text, reasoning = texts_of(message)
        calls = self._calls(message, request, cut=choice.finish_reason == "length")
        reason = REASONS.get(choice.finish_reason or "stop", "stop")
        if calls and reason == "stop":
            reason = "tool_calls"
        if message.refusal and not text:
            text, reason = message.refusal, "refusal"
        return ModelResponse(
            message=Message(role="assistant", content=text, tool_calls=calls),
            usage=usage_of(answer.usage) if answer.usage else Usage(),
            finish_reason=reason,
            native_finish_reason=choice.finish_reason,
            model=answer.model or request.model,
            provider=self.name,
            request_id=headers.get("x-request-id") or answer.id,
            reasoning=reasoning,
            dropped_parameters=dropped,
        )

    def _calls(self, message: WireMessage, request: ModelRequest, *, cut: bool) -> list[ToolCall]:
        if not message.tool_calls:
            return []
        names = reversed_names(wire_names(tool.name for tool in request.tools))
        calls = []
        for call in message.tool_calls:
            if call.function is None or not call.function.name:
                raise bad_response(self.name, request.model, "a tool call has no name")
            arguments, malformed = parse_arguments(argument_text(call.function.arguments))
            if malformed is not None and cut:
                continue
            name = names.get(call.function.name, call.function.name)
            calls.append(ToolCall(id=call.id or "", name=name, arguments=arguments, malformed=malformed))
        return calls

    async def stream(self, request: ModelRequest, *, timeout_s: float) -> AsyncIterator[StreamEvent]:
        """Do one exchange event by event."""
        from llmspell.net import SseParser

        rendered = self.render(request, stream=True)
        decoder = ChatStream(self, request)
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
        decoder.assembly.request_id = headers[0].get("x-request-id") or decoder.assembly.request_id
        for out in decoder.end(rendered.dropped):
            yield out

    async def embed(self, model: str, inputs: list[str], dimensions: int | None, *, timeout_s: float) -> Embeddings:
        """Return one vector per input, in order."""
        if not self.profile.embeddings:
            raise unsupported(self.name, "embeddings")
        body: dict[str, object] = {"model": model, "input": inputs}
        if dimensions is not None:
            body["dimensions"] = dimensions
        rendered = Rendered(
            "POST", f"{self.endpoint.base_url}/embeddings", self.endpoint.headers, _encoder.encode(body)
        )
        raw, _ = await self.send(rendered, model, timeout_s=timeout_s)
        answer = self.decode(raw, _vectors, model)
        rows = sorted(answer.data, key=lambda row: row.index)
        if len(rows) != len(inputs):
            raise bad_response(self.name, model, f"{len(inputs)} texts gave {len(rows)} vectors")
        usage = usage_of(answer.usage) if answer.usage else Usage()
        return Embeddings(vectors=[row.embedding for row in rows], model=answer.model or model, usage=usage)

    async def list_models(self, *, timeout_s: float) -> list[str]:
        """Return the ids of GET /models."""
        if not self.profile.models_path:
            raise unsupported(self.name, "listing models")
        url = f"{self.endpoint.base_url}{self.profile.models_path}"
        body, _ = await self.send(Rendered("GET", url, self.endpoint.headers, b""), "", timeout_s=timeout_s)
        if body.lstrip()[:1] == b"[":
            body = b'{"data":' + body + b"}"
        return sorted(model.id for model in self.decode(body, _models, "").data)


class ChatStream:
    """Decodes the data lines of one stream. `done` once the final marker was seen."""

    def __init__(self, channel: Channel, request: ModelRequest) -> None:
        self._channel = channel
        self._request = request
        names = reversed_names(wire_names(tool.name for tool in request.tools)) if request.tools else {}
        self.assembly = Assembly(channel.name, request.model, names)
        self.done = False
        self._started = False
        self._last = -1

    def feed(self, data: str) -> list[StreamEvent]:
        """Return the events of one data line."""
        if data.startswith("[DONE]"):
            self.done = True
            return []
        answer = self._channel.decode(data, _answer, self._request.model)
        if answer.error:
            raise self._channel.stream_error(answer.error, self._request.model)
        events: list[StreamEvent] = []
        assembly = self.assembly
        if not self._started:
            self._started = True
            assembly.model = answer.model or self._request.model
            assembly.request_id = answer.id
            events.append(assembly.start())
        if answer.usage is not None:
            assembly.usage = usage_of(answer.usage)
        for choice in (answer.choices or ())[:1]:
            if choice.delta is not None:
                self._delta(choice.delta, events)
            if choice.finish_reason:
                assembly.native_reason = choice.finish_reason
                assembly.reason = REASONS.get(choice.finish_reason, "stop")
        return events

    def _delta(self, delta: WireMessage, events: list[StreamEvent]) -> None:
        text, reasoning = texts_of(delta)
        if reasoning:
            events.append(self.assembly.reasoning(reasoning))
        if delta.refusal:
            self.assembly.reason = "refusal"
            text = delta.refusal
        if text:
            events.append(self.assembly.text(text))
        for call in delta.tool_calls or ():
            index = call.index if call.index is not None else self._last + 1 if call.id else max(self._last, 0)
            self._last = max(self._last, index)
            function = call.function
            if not self.assembly.has_call(index):
                if function is None or not function.name:
                    raise bad_response(self._channel.name, self._request.model, "a tool call has no name")
                events.append(self.assembly.call(index, call.id, function.name))
            piece = argument_text(function.arguments) if function is not None else ""
            if piece:
                events.append(self.assembly.arguments(index, piece))

    def end(self, dropped: list[str]) -> list[StreamEvent]:
        """Return the closing events. Raises NetworkError `stream_truncated` if no final marker came."""
        if not self.done and self.assembly.native_reason is None:
            raise truncated(self._channel.name, self._request.model)
        events = self.assembly.finish(dropped)
        return events if self._started else [self.assembly.start(), *events]
