"""The Lua global `Provider`: which model services there are, and one exchange with a model without an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from llmspell.errors import ValidationError
from llmspell.lua.globals._base import Handle, Tagged, pick, unknown_keys

if TYPE_CHECKING:
    from llmspell.app import App, Lane
    from llmspell.base.types import Message

FIELDS = frozenset({
    "temperature", "top_p", "top_k", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty",
    "tool_choice", "parallel_tool_calls", "output_schema", "reasoning", "user", "extra",
})  # fmt: skip
INPUT = frozenset({"messages", "prompt", "text", "input", "system_prompt", "system", "tools"})


class ProviderMethods:
    """What a provider entry can do; the entry itself is its fields."""

    def __init__(self, app: App, lane: Lane) -> None:
        self._providers = app.providers

    async def models(self, name: str) -> list[str]:
        """Return the ids of its models."""
        return await self._providers.models(name)

    async def check(self, name: str) -> dict[str, Any]:
        """Return whether it answers, without a paid call."""
        return await self._providers.check(name)


class Global:
    """Functions of the table `Provider`."""

    aliases: ClassVar[dict[str, str]] = {
        "getCapabilities": "get_capabilities",
        "isAvailable": "is_available",
        "scriptedLog": "scripted_log",
    }
    handles: ClassVar[dict[str, type]] = {"provider": ProviderMethods}

    def __init__(self, app: App, lane: Lane) -> None:
        self._providers = app.providers

    def list(self, options: dict | None = None) -> list[Handle]:  # type: ignore[type-arg]  # a word of the converter
        """Return the entries of providers that are configured or have a key, sorted by name."""
        options = options or {}
        entries = self._providers.list(builtin=bool(options.get("builtin")), every=bool(options.get("all")))
        return [_handle(entry) for entry in entries]

    def get(self, name: str) -> Handle | None:
        """Return the entry of any known provider, or nil."""
        entry = self._providers.get(name)
        return None if entry is None else _handle(entry)

    def get_capabilities(self, name: str) -> dict[str, Any] | None:
        """Return what a provider can do, or nil."""
        entry = self._providers.get(name)
        return None if entry is None else entry.capabilities

    def is_available(self, name: str) -> bool:
        """Return whether a provider can be used now; no network."""
        return self._providers.available(name)

    def default(self) -> Handle | None:
        """Return the entry of the default provider, or nil."""
        entry = self._providers.default()
        return None if entry is None else _handle(entry)

    async def models(self, name: str) -> Any:
        """Return the ids of a provider's models."""
        return await self._providers.models(name)

    async def check(self, name: str) -> dict[str, Any]:
        """Return `{ok, latency_ms, error?}`; no paid call."""
        return await self._providers.check(name)

    def usage(self, name: str | None = None) -> dict[str, int | float]:
        """Return requests, failures, tokens and cost of this process."""
        return self._providers.usage(name)

    async def complete(self, spec: str, request: Any) -> Tagged:
        """Return one answer of a model. request: a text, or `{prompt or messages, system_prompt?, tools?, ...}`."""
        response = await self._providers.complete(spec, self._providers.request(_request(request)))
        return Tagged("result", _result(response))

    async def embed(self, spec: str, input: Any, options: dict | None = None) -> Any:  # type: ignore[type-arg]  # noqa: A002 - the documented name
        """Return one vector for a text, a list of vectors for a list of texts."""
        texts = [input] if isinstance(input, str) else input
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValidationError("bad argument #2 to 'Provider.embed' (string or list of strings expected)")
        done = await self._providers.embed(spec, texts, dimensions=(options or {}).get("dimensions"))
        return done.vectors[0] if isinstance(input, str) else done.vectors

    def scripted(self, name: str, turns: Any, options: dict | None = None) -> None:  # type: ignore[type-arg]  # a word of the converter
        """Define or replace the model `scripted/<name>`. turns: list of replies, or one reply."""
        if turns is None:
            raise ValidationError("bad argument #2 to 'Provider.scripted' (list of replies expected, got nil)")
        played = turns if isinstance(turns, list) else [] if turns == {} else [turns]
        self._providers.scripted(name, played, loop=bool((options or {}).get("loop")))

    def scripted_log(self, name: str) -> Any:
        """Return the requests that `scripted/<name>` received, in order."""
        return self._providers.scripted_log(name)


def _handle(entry: Any) -> Handle:
    fields = {
        "name": entry.name,
        "type": entry.type,
        "enabled": entry.enabled,
        "default_model": entry.default_model,
        "base_url": entry.base_url or None,
        "capabilities": entry.capabilities,
    }
    return Handle("provider", entry.name, text=entry.name, fields=fields)


def _request(value: Any) -> dict[str, Any]:
    """Return the fields of the neutral request of a text or table. Raises ValidationError."""
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict):
        raise ValidationError("bad argument #2 to 'Provider.complete' (string or table expected)")
    problems = unknown_keys(value, FIELDS | INPUT)
    if problems:
        raise ValidationError(f"Provider.complete: {problems[0]}", details={"field": "request"})
    plain = {name: value[name] for name in FIELDS if value.get(name) is not None}
    if isinstance(plain.get("stop"), str):
        plain["stop"] = [plain["stop"]]
    if isinstance(plain.get("reasoning"), str):
        plain["reasoning"] = {"effort": plain["reasoning"]}
    plain["messages"] = _messages(value)
    plain["tools"] = value.get("tools") or []
    return plain


def _messages(value: dict[str, Any]) -> list[Any]:
    messages = list(value.get("messages") or [])
    system = pick(value, "system_prompt", "system")
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    text = pick(value, "prompt", "text", "input")
    if text is not None:
        messages.append({"role": "user", "content": text})
    if not messages:
        raise ValidationError("Input text cannot be empty", details={"field": "prompt"})
    return messages


def _result(response: Any) -> dict[str, Any]:
    from msgspec import to_builtins

    message: Message = response.message
    return {
        "text": message.content,
        "data": _parsed(message.content),
        "tool_calls": [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.tool_calls],
        "usage": to_builtins(response.usage),
        "finish_reason": response.finish_reason,
        "model": response.model,
        "provider": response.provider,
        "media": [],
        "execution_time_ms": response.latency_ms,
        "duration_ms": response.latency_ms,
        "metadata": {
            "execution_time_ms": response.latency_ms,
            "model": response.model,
            "token_count": response.usage.total_tokens,
            "extra": {
                "attempts": response.attempts,
                "dropped_parameters": response.dropped_parameters,
                "reasoning": response.reasoning or None,
            },
        },
    }


def _parsed(text: str) -> Any:
    from msgspec import DecodeError
    from msgspec.json import decode

    try:
        return decode(text)
    except DecodeError:
        return None
