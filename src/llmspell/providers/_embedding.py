"""What embedders get of the model services: address, key, the way out, further attempts, prices.

Embedders stand beside the providers and never see them; app.py hands them these objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from llmspell.base.types import Usage
from llmspell.config.model import Provider as Settings
from llmspell.errors import ConfigurationError, LLMSpellError
from llmspell.providers._base import CallOptions, Rendered
from llmspell.providers._endpoint import Endpoint
from llmspell.providers._http import Channel
from llmspell.providers._retry import Attempts

if TYPE_CHECKING:
    import asyncio

    from llmspell.base.effects import Effects
    from llmspell.providers._catalog import Catalog
    from llmspell.providers._prices import Price
    from llmspell.providers._shared import Shared
    from llmspell.providers._tally import Tally

CONCURRENCY = 10
RETRY_AFTER_CAP_MS = 60_000
T = TypeVar("T")


class EmbeddingServices:
    """Services by name, for embedders."""

    def __init__(
        self,
        catalog: Catalog,
        shared: Shared,
        effects: Effects,
        tally: Tally,
        price: Callable[[str, str], Price | None],
    ) -> None:
        self._catalog = catalog
        self._shared = shared
        self.effects = effects
        self.tally = tally
        self.price = price

    def describe(self, name: str, described: Mapping[str, Any]) -> None:
        """Make a service known that only embedders use; described: fields of a profile. A profile of that name wins."""
        self._catalog.describe(name, described)

    def dialect(self, name: str) -> str | None:
        """Return the dialect in which a provider embeds, None for one that does not or is not known."""
        found = self._catalog.find(name)
        profile = None if found is None else self._catalog.profile(found)
        return profile.dialect if profile is not None and profile.embeddings else None

    def can_reach(self, name: str, *, base_url: str | None = None, api_key: str | None = None) -> bool:
        """Tell whether somebody named address or key, so that it may answer; it is not asked."""
        proper = self._catalog.find(name) or name
        try:
            if base_url or api_key:
                return not api_key or self._catalog.configured_key(api_key) is not None
            return self._catalog.is_configured(proper) and self._catalog.is_available(proper)
        except ConfigurationError:
            return False

    def open(self, name: str, *, base_url: str | None = None, api_key: str | None = None) -> EmbeddingService:
        """Return a service; what is given wins over its configuration. Raises ConfigurationError, `missing_key`.

        A server at an address of its own may want no key.
        """
        proper = self._catalog.find(name) or name
        if api_key:
            found = self._catalog.configured_key(api_key)
            if found is None:
                raise ConfigurationError(
                    f"rag.embedding.api_key refers to {api_key}, which is not there",
                    code="missing_key",
                    details={"key": "rag.embedding.api_key"},
                )
            api_key = found[0]
        try:
            endpoint = self._catalog.endpoint(proper, CallOptions(base_url=base_url, api_key=api_key))
        except ConfigurationError as error:
            if base_url is None or error.code != "missing_key":
                raise
            endpoint = Endpoint(proper, self._catalog.profile(proper), base_url=base_url)
        return EmbeddingService(self, endpoint, self._shared)


class EmbeddingService:
    """One service; safe from any thread, calls belong to the loop they are made on."""

    def __init__(self, services: EmbeddingServices, endpoint: Endpoint, shared: Shared) -> None:
        self._services = services
        self._endpoint = endpoint
        self._channel = Channel(endpoint, shared)
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self.name = endpoint.name

    async def call(
        self, model: str, path: str, body: bytes, read: Callable[[bytes], T], *, timeout_s: float, max_retries: int
    ) -> T:
        """Post to a path below the address and return what `read` makes of the answer, with further attempts.

        An answer that `read` refuses is asked for once more. At most ten calls are under way on a loop.
        """
        settings = Settings(max_retries=max_retries, retry_retry_after_cap_ms=RETRY_AFTER_CAP_MS)
        attempts = Attempts(settings, CallOptions(), model=f"{self.name}/{model}", deadline=None)
        base = self._endpoint.base_url.removesuffix("/" + path.split("/", 2)[1])  # people copy addresses whole
        rendered = Rendered("POST", f"{base}{path}", self._endpoint.headers, body)
        while True:
            started = monotonic()
            try:
                async with self._gate():
                    key = {"provider": self.name, "model": model}
                    send = partial(self._channel.send, rendered, model, timeout_s=timeout_s)
                    answer, _ = await self._services.effects.perform("model", key, send)
                return read(answer)
            except LLMSpellError as error:
                latency_ms = int((monotonic() - started) * 1000)
                self._services.tally.count(self.name, model, None, latency_ms=latency_ms)
                await _pause(attempts.failed(error, latency_ms=latency_ms))

    def settle(self, model: str, tokens: int) -> float | None:
        """Count a call that succeeded; return what it cost in USD, None without a price."""
        price = self._services.price(self.name, model)
        usage = Usage(input_tokens=tokens, total_tokens=tokens)
        cost = None if price is None else price.cost(usage)
        self._services.tally.count(self.name, model, Usage(input_tokens=tokens, cost_usd=cost), latency_ms=0)
        return cost

    def _gate(self) -> asyncio.Semaphore:
        import asyncio

        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = asyncio.Semaphore(CONCURRENCY)
        return gate


async def _pause(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)
