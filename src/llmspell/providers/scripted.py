"""The model that plays written turns: tool calls, failures, delays and functions, offline and repeatable.

A turn is a text, an async function of the request that gives a turn, or a table `{text?, reasoning?, tool_calls?,
chunks?, delay_ms?, usage?, finish_reason?, match?, error?, data?}`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from time import time
from typing import Any, get_args

import msgspec

from llmspell.base.types import FinishReason, Message, Usage
from llmspell.errors import BY_KIND, LLMSpellError, ProviderError, ValidationError
from llmspell.providers._base import Capabilities, Embeddings, ModelRequest, ModelResponse, Rendered, StreamEvent
from llmspell.providers._endpoint import Endpoint
from llmspell.providers._errors import from_status, unsupported
from llmspell.providers._shared import Shared
from llmspell.providers._stream import Assembly
from llmspell.providers._words import chunks, usage

MATCH_TIMEOUT_S = 1.0
KEYS = frozenset({
    "text", "reasoning", "tool_calls", "chunks", "delay_ms", "usage", "finish_reason", "match", "error", "data",
})  # fmt: skip


class Provider:
    """`scripted/<name>` plays the asking agent's replies, else the script of that name."""

    def __init__(self, endpoint: Endpoint, shared: Shared) -> None:
        self._endpoint = endpoint
        self._scripts = shared.scripts

    def capabilities(self, model: str) -> Capabilities:
        """Return the same for every model."""
        return self._endpoint.profile.capabilities(model)

    def render(self, request: ModelRequest, *, stream: bool = False) -> Rendered:
        """Return the neutral form; nothing is sent anywhere."""
        return Rendered("POST", f"scripted:{request.model}", {}, msgspec.json.encode(neutral(request, 0)))

    async def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """Play the next turn at once."""
        turn = await self._next(request)
        if "error" in turn:
            raise _error(turn["error"], request.model)
        assembly, pieces = _begin(turn, request)
        for piece in pieces:
            assembly.text(piece)
        response = _end(assembly, turn, request, "".join(pieces))[-1].response
        assert response is not None
        return response

    async def stream(self, request: ModelRequest, *, timeout_s: float) -> AsyncIterator[StreamEvent]:
        """Play the next turn piece by piece; an error comes after its `after_chunks` pieces."""
        turn = await self._next(request)
        error = turn.get("error")
        assembly, pieces = _begin(turn, request)
        if error is not None:
            pieces = pieces[: int(error.get("after_chunks") or 0)]
            if not pieces:
                raise _error(error, request.model)
        yield assembly.start()
        if turn.get("reasoning"):
            yield StreamEvent(type="reasoning_delta", text=str(turn["reasoning"]))
        for piece in pieces:
            yield assembly.text(piece)
        if error is not None:
            raise _error(error, request.model)
        for index, call in enumerate(turn.get("tool_calls") or ()):
            yield StreamEvent(type="tool_call_start", index=index, id=call.get("id"), name=str(call["name"]))
            yield StreamEvent(type="tool_call_delta", index=index, text=_arguments(call))
        for event in _end(assembly, turn, request, "".join(pieces)):
            yield event

    async def embed(self, model: str, inputs: list[str], dimensions: int | None, *, timeout_s: float) -> Embeddings:
        """Raise ProviderError `unsupported`."""
        raise unsupported("scripted", "embeddings")

    async def list_models(self, *, timeout_s: float) -> list[str]:
        """Return the names of the scripts."""
        return self._scripts.names()

    async def _next(self, request: ModelRequest) -> dict[str, Any]:
        script = request.script or self._scripts.get(request.model)
        number, turn = script.claim()
        asked = neutral(request, number)
        self._scripts.record(request.model, asked)
        if callable(turn):
            turn = turn(asked)
            if hasattr(turn, "__await__"):
                turn = await turn
        entry = _entry(turn, number)
        _match(entry.get("match"), request, number)
        delay_ms = entry.get("delay_ms")
        if delay_ms:
            import asyncio

            await asyncio.sleep(float(delay_ms) / 1000)
        return entry


def neutral(request: ModelRequest, number: int) -> dict[str, Any]:
    """Return the request as scripts see it; `n` is the number of the turn from 1."""
    return {
        "messages": [_message(message) for message in request.messages],
        "tools": [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in request.tools
        ],
        "tool_choice": request.tool_choice,
        "model": f"scripted/{request.model}",
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "n": number,
    }


def _message(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    if message.media:
        plain["media"] = [{"type": item.type, "mime_type": item.mime_type} for item in message.media]
    return plain


def _entry(turn: Any, number: int) -> dict[str, Any]:
    if isinstance(turn, str):
        return {"text": turn}
    if isinstance(turn, (int, float)) and not isinstance(turn, bool):
        return {"text": str(turn)}
    if not isinstance(turn, Mapping):
        raise _bad(number, f"text, table or function expected, got {type(turn).__name__}")
    unknown = sorted(set(turn) - KEYS)
    if unknown:
        raise _bad(number, f"unknown key '{unknown[0]}', expected one of {', '.join(sorted(KEYS))}")
    entry = {key: value for key, value in turn.items() if value is not None}
    error = entry.get("error")
    if isinstance(error, str):
        entry["error"] = {"message": error}
    elif error is not None and not isinstance(error, Mapping):
        raise _bad(number, "'error' must be a table {kind?, status?, code?, message?, retry_after_ms?}")
    calls = entry.get("tool_calls") or []
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) and call.get("name") for call in calls):
        raise _bad(number, "'tool_calls' must be a list of {name, arguments?, id?}")
    if entry.get("finish_reason", "stop") not in get_args(FinishReason):
        raise _bad(number, f"'finish_reason' must be one of {', '.join(get_args(FinishReason))}")
    return entry


def _bad(number: int, reason: str) -> ValidationError:
    return ValidationError(f"reply {number} of the scripted model: {reason}", details={"field": "replies"})


def _match(pattern: Any, request: ModelRequest, number: int) -> None:
    """Raise unless the last message matches. Patterns come from scripts, so matching has a time limit."""
    if pattern is None:
        return
    import regex

    text = request.messages[-1].content if request.messages else ""
    try:
        hit = regex.search(str(pattern), text, timeout=MATCH_TIMEOUT_S)
    except regex.error as error:
        raise _bad(number, f"'match' is not a regular expression: {error}") from error
    except TimeoutError as error:
        raise _bad(number, "'match' takes too long") from error
    if hit is None:
        raise ProviderError(
            f"scripted model: reply {number} expects a message matching {pattern!r}, got {text[:200]!r}",
            code="script_mismatch",
            details={"provider": "scripted", "model": request.model},
            retryable=False,
        )


def _begin(turn: Mapping[str, Any], request: ModelRequest) -> tuple[Assembly, list[str]]:
    assembly = Assembly("scripted", request.model)
    if "chunks" in turn:
        pieces = [str(piece) for piece in turn["chunks"]]
    elif "data" in turn and "text" not in turn:
        pieces = [msgspec.json.encode(turn["data"]).decode()]
    else:
        pieces = chunks(str(turn.get("text", "")))
    if turn.get("reasoning"):
        assembly.reasoning(str(turn["reasoning"]))
    for index, call in enumerate(turn.get("tool_calls") or ()):
        assembly.call(index, call.get("id"), str(call["name"]))
        assembly.arguments(index, _arguments(call))
    return assembly, pieces


def _arguments(call: Mapping[str, Any]) -> str:
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        return arguments
    return msgspec.json.encode(arguments or {}).decode()


def _end(assembly: Assembly, turn: Mapping[str, Any], request: ModelRequest, text: str) -> list[StreamEvent]:
    assembly.usage = usage(request, text)
    if turn.get("usage"):
        try:
            own = msgspec.convert({"cost_usd": 0.0, **turn["usage"]}, Usage, strict=False)
        except (msgspec.ValidationError, TypeError) as error:
            raise ValidationError(f"'usage' of a scripted reply: {error}", details={"field": "replies"}) from error
        total = own.total_tokens or own.input_tokens + own.output_tokens
        assembly.usage = msgspec.structs.replace(own, total_tokens=total)
    assembly.reason = turn.get("finish_reason")
    return assembly.finish()


def _error(error: Mapping[str, Any], model: str) -> LLMSpellError:
    """Return the error a turn asks for: by status as the service would give it, else by kind."""
    message = str(error.get("message") or "scripted error")
    after = error.get("retry_after_ms")
    code = error.get("code")
    if error.get("status") is not None and "kind" not in error:
        body = msgspec.json.encode({"error": {"message": message, "code": code}})
        headers = {} if after is None else {"retry-after-ms": str(after)}
        return from_status(int(error["status"]), headers, body, provider="scripted", model=model, now=time())
    kind = str(error.get("kind") or "provider")
    if kind not in BY_KIND:
        raise ValidationError(
            f"'error.kind' of a scripted reply is {kind!r}, expected one of {', '.join(sorted(BY_KIND))}",
            details={"field": "replies"},
        )
    details = {"provider": "scripted", "model": model, "status": error.get("status")}
    return BY_KIND[kind](
        message,
        code=None if code is None else str(code),
        details={key: value for key, value in details.items() if value is not None},
        retry_after_ms=None if after is None else int(after),
        retryable=False if kind == "provider" and code in FINAL_CODES else None,
    )


FINAL_CODES = frozenset({"auth", "bad_request", "content_filter", "context_length", "model_not_found", "unsupported"})
