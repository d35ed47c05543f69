"""`Providers`: the one way to a model. Resolves, fills in, waits its turn, tries again, prices and counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import cached_property, partial
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec

from llmspell.base.registry import Registry
from llmspell.base.types import Usage
from llmspell.errors import ConfigurationError, LLMSpellError, ValidationError
from llmspell.errors import TimeoutError as TimedOut
from llmspell.providers import _prices, _resolve
from llmspell.providers._base import (
    CallOptions,
    Capabilities,
    Embeddings,
    ModelRequest,
    ModelResponse,
    Provider,
    StreamEvent,
)
from llmspell.providers._catalog import Catalog
from llmspell.providers._limits import Throttle
from llmspell.providers._prices import Price
from llmspell.providers._retry import Attempts
from llmspell.providers._script import Scripts
from llmspell.providers._shared import Shared
from llmspell.providers._tally import Tally

if TYPE_CHECKING:
    import asyncio

    from llmspell.base.context import Context
    from llmspell.base.effects import Effects
    from llmspell.metrics import Metrics
    from llmspell.net import HttpClient
    from llmspell.providers._base import Account
    from llmspell.providers._embedding import EmbeddingServices

_MAX_BUILT = 256
_PLAIN = CallOptions()
_NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})
registry = Registry("llmspell.providers")
Texts = list[str]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as a listing shows it. `key` says where the key comes from, never what it is."""

    name: str
    type: str
    enabled: bool
    available: bool
    default_model: str | None
    base_url: str
    key: str | None
    capabilities: dict[str, Any]


class Providers:
    """All model services of one configuration; safe from any thread, calls belong to the loop they are made on.

    config: the section `providers`. environ: where keys and addresses may be read from, nothing if not given.
    script_http: gives the client of tools, whose rules hold for addresses that untrusted scripts set; without it such
    addresses are refused.
    """

    def __init__(
        self,
        config: Any,
        *,
        effects: Effects,
        metrics: Metrics | None = None,
        environ: Mapping[str, str] | None = None,
        script_http: Callable[[], HttpClient] | None = None,
        account: Account | None = None,
    ) -> None:
        environ = _NO_ENVIRONMENT if environ is None else environ
        self._environ = environ
        self._script_http = script_http
        self._config = config
        self._effects = effects
        self._catalog = Catalog(config, environ)
        scripted = self._catalog.settings("scripted")
        configured = {**scripted.options.get("scripts", {}), **scripted.scripts}
        self._shared = Shared(config, environ=environ, scripts=Scripts(configured), script_http=script_http)
        self._built: dict[tuple[Any, ...], Provider] = {}
        self._prices: dict[tuple[str, str], Price | None] = {}
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()
        self._tally = Tally(metrics)
        self._account = account

    def resolve(self, spec: str | None, provider: str | None = None) -> tuple[str, str]:
        """Return provider and model of `spec`. Raises ConfigurationError."""
        return _resolve.resolve(self._catalog, spec, provider)

    def reconfigured(self, config: Any) -> Providers:
        """Return the model services of another `providers` section, with this one's scripted models and usage."""
        made = Providers(
            config,
            effects=self._effects,
            environ=self._environ,
            script_http=self._script_http,
            account=self._account,
        )
        made._shared.scripts = self._shared.scripts
        made._tally = self._tally
        return made

    @staticmethod
    def request(fields: Mapping[str, Any]) -> ModelRequest:
        """Return the request of plain fields. Raises ValidationError naming the field."""
        try:
            return msgspec.convert(fields, ModelRequest, strict=False)
        except msgspec.ValidationError as error:
            raise ValidationError(f"a model request is malformed: {error}", details={"field": "request"}) from error

    def prepare(self, spec: str | None, provider: str | None = None, options: CallOptions = _PLAIN) -> tuple[str, str]:
        """Resolve and make sure the provider could be called: key, address, enabled. No network."""
        name, model = self.resolve(spec, provider)
        self._provider(name, options)
        return name, model

    def capabilities(self, spec: str | None, provider: str | None = None) -> Capabilities:
        """Return what a model can do."""
        name, model = self.resolve(spec, provider)
        return self._catalog.profile(name).capabilities(model)

    def names(self) -> list[str]:
        """Return every known provider name, sorted."""
        return self._catalog.names()

    def list(self, *, builtin: bool = False, every: bool = False) -> list[Entry]:
        """Return the providers that are configured or have a key, sorted; `builtin` adds the offline ones."""
        shown = [
            name
            for name in self._catalog.names()
            if every or self._catalog.is_listed(name) or (builtin and self._catalog.profile(name).builtin)
        ]
        return [self._entry(name) for name in shown]

    def get(self, name: str) -> Entry | None:
        """Return a known provider by name or alias, or None."""
        found = self._catalog.find(name)
        return None if found is None else self._entry(found)

    def available(self, name: str) -> bool:
        """Tell whether the provider can be used now; no network."""
        found = self._catalog.find(name)
        return found is not None and self._catalog.is_available(found)

    def default(self) -> Entry | None:
        """Return the provider of models named without one, if there is one."""
        name = _resolve.default_provider(self._catalog)
        return None if name is None else self._entry(name)

    def usage(self, name: str | None = None) -> dict[str, int | float]:
        """Return requests, failures, tokens and cost of this process, of one provider or of all."""
        return self._tally.read(None if name is None else self._catalog.require(name))

    def price(self, name: str, model: str) -> Price | None:
        """Return the price of a model, None if it is unpriced."""
        key = (name, model)
        if key not in self._prices:
            profile, settings = self._catalog.profile(name), self._catalog.settings(name)
            price = _prices.find(profile.name if profile.name != name else name, model, settings.prices)
            if len(self._prices) >= _MAX_BUILT:
                self._prices.clear()
            self._prices[key] = _prices.FREE if price is None and profile.free else price
        return self._prices[key]

    async def models(self, name: str) -> Texts:
        """Return the model ids a provider offers."""
        found = self._catalog.require(name)
        provider = self._provider(found, _PLAIN)
        return await provider.list_models(timeout_s=self._catalog.settings(found).timeout_seconds)

    async def check(self, name: str, *, timeout_s: float = 20) -> dict[str, Any]:
        """Ask a provider for its models, which costs nothing: `{ok, latency_ms, error?}`."""
        started = monotonic()
        try:
            found = self._catalog.require(name)
            await self._provider(found, _PLAIN).list_models(timeout_s=timeout_s)
        except LLMSpellError as error:
            return {"ok": False, "latency_ms": _ms(started), "error": error.to_wire()}
        return {"ok": True, "latency_ms": _ms(started)}

    async def complete(
        self, spec: str | None, request: ModelRequest, context: Context | None = None, options: CallOptions = _PLAIN
    ) -> ModelResponse:
        """Do one exchange, with retries. Raises ConfigurationError, ProviderError, RateLimitError, NetworkError, ...

        The deadline of `context` bounds all tries; `attempts` of the answer lists the failed ones.
        """
        name, model = self.resolve(spec)
        provider = self._provider(name, options)
        request = self._fill(name, model, request)
        if self._account is not None:
            self._account.before(context)
        attempts = self._attempts(name, model, context, options)
        while True:
            timeout_s = self._timeout(name, context, options)
            started = monotonic()
            try:
                async with self._gate(name):
                    await self._turn(name)
                    call = partial(provider.complete, request, timeout_s=timeout_s)
                    response = await self._effects.perform("model", {"provider": name, "model": model}, call)
            except LLMSpellError as error:
                self._tally.count(name, model, None, latency_ms=_ms(started))
                await _pause(attempts.failed(error, latency_ms=_ms(started)))
                continue
            return self._settle(name, model, request, response, attempts, _ms(started), None, context)

    async def stream(
        self, spec: str | None, request: ModelRequest, context: Context | None = None, options: CallOptions = _PLAIN
    ) -> AsyncIterator[StreamEvent]:
        """Do one exchange event by event; the last event, finish, holds the whole response.

        Tries again only while nothing was given out. Closing the iterator closes the connection.
        """
        name, model = self.resolve(spec)
        provider = self._provider(name, options)
        request = self._fill(name, model, request)
        if self._account is not None:
            self._account.before(context)
        attempts = self._attempts(name, model, context, options)
        while True:
            begun = False
            timeout_s = self._timeout(name, context, options)
            started = monotonic()
            ttft_ms: int | None = None
            async with self._gate(name):
                await self._turn(name)
                events = provider.stream(request, timeout_s=timeout_s)
                try:
                    yield await self._effects.perform(
                        "model", {"provider": name, "model": model}, partial(anext, events)
                    )
                    async for event in events:
                        if event.type in ("text_delta", "reasoning_delta", "tool_call_start") and not begun:
                            begun, ttft_ms = True, _ms(started)
                        if event.type == "usage" and event.usage is not None:
                            event = _with_usage(event, self._priced(name, model, request, event.usage, None))
                        elif event.response is not None:
                            took = _ms(started)
                            done = self._settle(name, model, request, event.response, attempts, took, ttft_ms, context)
                            event = msgspec.structs.replace(event, response=done)
                        yield event
                    return
                except LLMSpellError as error:
                    self._tally.count(name, model, None, latency_ms=_ms(started))
                    if begun:
                        raise
                    pause_s = attempts.failed(error, latency_ms=_ms(started))
                finally:
                    await events.aclose()  # type: ignore[attr-defined]  # an async generator, typed as its protocol
            await _pause(pause_s)

    async def embed(self, spec: str, inputs: Texts, *, dimensions: int | None = None) -> Embeddings:
        """Return one vector per text, in order; large inputs are sent in batches."""
        name, model = self.resolve(spec)
        provider = self._provider(name, _PLAIN)
        size = self._catalog.profile(name).max_batch
        parts = [inputs[start : start + size] for start in range(0, len(inputs), size)]
        done = [await self._embed_batch(name, model, provider, part, dimensions) for part in parts]
        vectors = [vector for batch in done for vector in batch.vectors]
        usage = sum((batch.usage for batch in done), Usage(cost_usd=0.0))
        return Embeddings(vectors=vectors, model=done[0].model if done else model, usage=usage)

    async def _embed_batch(
        self, name: str, model: str, provider: Provider, part: Texts, dimensions: int | None
    ) -> Embeddings:
        attempts = self._attempts(name, model, None, _PLAIN)
        timeout_s = self._timeout(name, None, _PLAIN)
        while True:
            started = monotonic()
            try:
                async with self._gate(name):
                    await self._turn(name)
                    call = partial(provider.embed, model, part, dimensions, timeout_s=timeout_s)
                    batch = await self._effects.perform("model", {"provider": name, "model": model}, call)
            except LLMSpellError as error:
                self._tally.count(name, model, None, latency_ms=_ms(started))
                await _pause(attempts.failed(error, latency_ms=_ms(started)))
                continue
            price = self.price(name, model)
            usage = msgspec.structs.replace(batch.usage, cost_usd=price.cost(batch.usage) if price else None)
            self._tally.count(name, model, usage, latency_ms=_ms(started))
            return msgspec.structs.replace(batch, usage=usage)

    @cached_property
    def for_embedders(self) -> EmbeddingServices:
        """The services as embedders use them."""
        from llmspell.providers._embedding import EmbeddingServices

        return EmbeddingServices(self._catalog, self._shared, self._effects, self._tally, self.price)

    def scripted(self, name: str, turns: Any, *, loop: bool = False) -> None:
        """Define or replace the model `scripted/<name>`."""
        self._shared.scripts.define(name.removeprefix("scripted/"), turns, loop=loop)

    def scripted_log(self, name: str) -> Any:
        """Return the requests that `scripted/<name>` received, in order."""
        return self._shared.scripts.log(name.removeprefix("scripted/"))

    async def leave(self) -> None:
        """Close the connections of the running loop, which is about to end."""
        await self._shared.leave()

    async def close(self) -> None:
        """Close all connections. Safe to call twice."""
        self._built.clear()
        await self._shared.close()

    def _entry(self, name: str) -> Entry:
        settings, profile = self._catalog.settings(name), self._catalog.profile(name)
        model = settings.default_model or profile.default_model
        can = profile.capabilities(model or "")
        return Entry(
            name=name,
            type=profile.name,
            enabled=settings.enabled,
            available=self._catalog.is_available(name),
            default_model=model,
            base_url=self._catalog.base_url(name),
            key=self._catalog.key_source(name),
            capabilities={
                "supports_streaming": can.streaming,
                "supports_multimodal": can.multimodal,
                "supports_tools": can.tools,
                "supports_json_schema": can.structured_output,
                "max_context_tokens": can.max_context_tokens,
                "max_output_tokens": can.max_output_tokens,
                "available_models": sorted(profile.models),
            },
        )

    def _provider(self, name: str, options: CallOptions) -> Provider:
        key = (name, options.base_url, options.api_key, options.untrusted, *sorted(options.headers.items()))
        provider = self._built.get(key)
        if provider is None:
            if not self._catalog.profile(name).dialect:
                raise ConfigurationError(
                    f"the provider '{name}' only embeds, by RAG.embed: name another one for agents"
                )
            endpoint = self._catalog.endpoint(name, options)
            module = registry.get(endpoint.profile.dialect)
            if module is None:
                raise ConfigurationError(f"the dialect '{endpoint.profile.dialect}' of provider '{name}' is unknown")
            provider = module.Provider(endpoint, self._shared)
            if len(self._built) >= _MAX_BUILT:
                self._built.clear()
            self._built[key] = provider
        return provider

    def _fill(self, name: str, model: str, request: ModelRequest) -> ModelRequest:
        settings = self._catalog.settings(name)
        changes: dict[str, Any] = {"model": model}
        if request.max_tokens is None and settings.max_tokens is not None:
            changes["max_tokens"] = settings.max_tokens
        if request.temperature is None and settings.temperature is not None:
            changes["temperature"] = settings.temperature
        return msgspec.structs.replace(request, **changes)

    def _attempts(self, name: str, model: str, context: Context | None, options: CallOptions) -> Attempts:
        deadline = None if context is None else context.deadline
        return Attempts(self._catalog.settings(name), options, model=f"{name}/{model}", deadline=deadline)

    def _timeout(self, name: str, context: Context | None, options: CallOptions) -> float:
        allowed = options.timeout_s or self._catalog.settings(name).timeout_seconds
        left = None if context is None else context.remaining_s()
        if left is None:
            return allowed
        if left <= 0:
            raise TimedOut(
                f"no time is left for a call of {name}", code="deadline", details={"phase": "total"}, retryable=False
            )
        return min(allowed, left)

    def _gate(self, name: str) -> asyncio.Semaphore:
        """Return the semaphore that bounds calls in flight of one provider on this loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        gates = self._gates.get(loop)
        if gates is None:
            gates = self._gates[loop] = {}
        gate = gates.get(name)
        if gate is None:
            limit = min(self._config.max_concurrent, self._catalog.profile(name).max_concurrent)
            gate = gates[name] = asyncio.Semaphore(limit)
        return gate

    async def _turn(self, name: str) -> None:
        throttle = self._shared.throttles.get(name)
        if throttle is None:
            settings = self._catalog.settings(name)
            throttle = Throttle(settings.rate_limit_requests_per_minute, settings.rate_limit_tokens_per_minute)
            self._shared.throttles[name] = throttle
        wait_s = throttle.take()
        if wait_s > 0:
            await _pause(wait_s)

    def _priced(
        self, name: str, model: str, request: ModelRequest, usage: Usage, response: ModelResponse | None
    ) -> Usage:
        if usage.total_tokens == 0 and response is not None:
            usage = _estimate(request, response)
        if usage.cost_usd is not None:
            return usage
        price = self.price(name, model)
        return usage if price is None else msgspec.structs.replace(usage, cost_usd=price.cost(usage))

    def _settle(
        self,
        name: str,
        model: str,
        request: ModelRequest,
        response: ModelResponse,
        attempts: Attempts,
        latency_ms: int,
        ttft_ms: int | None,
        context: Context | None,
    ) -> ModelResponse:
        usage = self._priced(name, model, request, response.usage, response)
        self._tally.count(name, model, usage, latency_ms=latency_ms)
        if self._account is not None:
            self._account.after(context, usage)
        self._shared.throttles[name].spend(usage.total_tokens)
        return msgspec.structs.replace(
            response,
            usage=usage,
            provider=name,
            latency_ms=latency_ms,
            ttft_ms=ttft_ms,
            attempts=attempts.log or response.attempts,
        )


def _with_usage(event: StreamEvent, usage: Usage) -> StreamEvent:
    return msgspec.structs.replace(event, usage=usage)


def _estimate(request: ModelRequest, response: ModelResponse) -> Usage:
    """Guess tokens at four bytes each, where a service does not count."""
    sent = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
    sent += sum(len(msgspec.json.encode(tool.parameters)) + len(tool.description) for tool in request.tools)
    made = len(response.text.encode("utf-8", "replace")) + len(response.reasoning)
    made += sum(len(msgspec.json.encode(call.arguments)) for call in response.tool_calls)
    before, after = -(-sent // 4), -(-made // 4)
    return Usage(input_tokens=before, output_tokens=after, total_tokens=before + after, estimated=True)


async def _pause(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def _ms(started: float) -> int:
    return int((monotonic() - started) * 1000)
