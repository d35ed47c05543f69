"""Embedders that ask a service: batches side by side, in the order of the texts, each tried again by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec
import numpy as np

from llmspell._core import count_tokens
from llmspell.embedders._base import Options, Service, Spent, bad_vectors, check_texts, not_configured, unit

if TYPE_CHECKING:
    from llmspell.embedders._base import Vectors

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """What a service gave. tokens: None where it does not count them."""

    rows: Any
    tokens: int | None = None


class _Row(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Listed(msgspec.Struct):
    data: list[_Row]
    usage: _Usage | None = None


_listed = msgspec.json.Decoder(_Listed)


class HttpEmbedder(ABC):
    """One model of one service. A dialect states its limits, `path`, `body` and `read`.

    max_batch, max_request_tokens: of one request. sizes: lengths of vectors a model can be asked for, by the start of
    its name; where nothing is known the length is only checked. service: a profile, for services without one.
    """

    name: str
    models: ClassVar[Mapping[str, int]]
    default_model: ClassVar[str | None] = None
    max_batch: ClassVar[int] = 100
    max_request_tokens: ClassVar[int] = 100_000
    max_input_tokens: ClassVar[int] = 8192
    sizes: ClassVar[tuple[str, ...]] = ()
    tells_queries: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        section = options.section
        usual = self.default_model if options.name == type(self).name else None
        model = options.model or (section.model if options.own else None) or usual
        if model is None:
            raise not_configured(options.name, "a model", "rag.embedding.model")
        self.name = options.name
        self.model = model
        self.max_tokens = self.max_input_tokens
        self._section = section
        self._own = options.own
        self._services = options.services
        self._service: Service | None = None
        self._native = self.models.get(model.removesuffix(":latest"), 0)
        self._wish = options.dimensions
        self.dim = options.dimensions or self._native
        self.asked_size = self.dim if self._resizable() else None

    def _resizable(self) -> bool:
        return bool(self._wish) and self._wish != self._native and self.model.startswith(self.sizes)

    @classmethod
    def available(cls, options: Options) -> bool:
        """Tell whether address and key are known; no network."""
        if options.services is None:
            return False
        given = (options.section.base_url, options.section.api_key) if options.own else (None, None)
        return options.services().can_reach(options.name, base_url=given[0], api_key=given[1])

    @property
    def id(self) -> str:
        """Name of the embedder, its model and the length of vectors."""
        return f"{self.name}:{self.model}:{self.dim}"

    @abstractmethod
    def path(self) -> str:
        """Return the path below the service's address."""

    @abstractmethod
    def body(self, texts: Sequence[str], *, query: bool) -> Any:
        """Return the body of a request."""

    @abstractmethod
    def read(self, answer: bytes) -> Answer:
        """Return the vectors of an answer, in the order of the texts."""

    def decode(self, answer: bytes, decoder: msgspec.json.Decoder[T]) -> T:
        """Return a decoded answer. Raises ProviderError `bad_response`."""
        try:
            return decoder.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise bad_vectors(self._who, str(error)) from error

    def listed(self, answer: bytes) -> Answer:
        """Return the vectors of an answer in OpenAI's form: `{data: [{embedding, index?}], usage?}`."""
        found = self.decode(answer, _listed)
        places = [at if row.index is None else row.index for at, row in enumerate(found.data)]
        if sorted(places) != list(range(len(places))):
            raise bad_vectors(self._who, "its rows are not numbered from 0")
        rows = dict(zip(places, found.data, strict=True))
        tokens = None if found.usage is None else found.usage.prompt_tokens or found.usage.total_tokens
        return Answer([rows[at].embedding for at in range(len(rows))], tokens)

    @property
    def _who(self) -> str:
        return f"{self.name}/{self.model}"

    def service(self) -> Service:
        """Return the service, opened at first use. Raises ConfigurationError, `missing_key`."""
        if self._service is None:
            given = (self._section.base_url, self._section.api_key) if self._own else (None, None)
            if self._services is None:
                raise not_configured(self.name, "the model services of an application", "providers")
            self._service = self._services().open(self.name, base_url=given[0], api_key=given[1])
        return self._service

    async def embed(self, texts: Sequence[str], *, query: bool = False, spent: Spent | None = None) -> Vectors:
        """Return float32 of shape (n, dim), of unit length.

        Raises ConfigurationError, ProviderError, RateLimitError, NetworkError, TimeoutError, DimensionMismatch,
        InvalidArgument.
        """
        check_texts(texts)
        batches = self._batches(texts)
        spent = Spent() if spent is None else spent
        if not self.dim and len(batches) > 1:
            first = await self._one(batches[0], query, spent)
            return np.concatenate([first, *await self._together(batches[1:], query, spent)])
        found = await self._together(batches, query, spent)
        return np.concatenate(found) if len(found) != 1 else found[0]

    def _batches(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the texts in requests that the service takes; services refuse empty texts, so a space goes out."""
        most = min(self._section.batch_size, self.max_batch)
        batches: list[list[str]] = []
        tokens = 0
        for text in texts:
            size = count_tokens(text)
            if not batches or len(batches[-1]) >= most or tokens + size > self.max_request_tokens:
                batches.append([])
                tokens = 0
            batches[-1].append(text if text.strip() else " ")
            tokens += size
        return batches

    async def _together(self, batches: list[list[str]], query: bool, spent: Spent) -> list[Vectors]:
        if not batches:
            return [np.zeros((0, self.dim), np.float32)]
        if len(batches) == 1:
            return [await self._one(batches[0], query, spent)]
        import asyncio

        tasks = [asyncio.ensure_future(self._one(batch, query, spent)) for batch in batches]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, texts: list[str], query: bool, spent: Spent) -> Vectors:
        def read(raw: bytes) -> tuple[Vectors, int | None]:
            answer = self.read(raw)
            return unit(answer.rows, count=len(texts), dim=self.dim, who=self._who), answer.tokens

        service = self.service()
        vectors, tokens = await service.call(
            self.model,
            self.path(),
            _encode(self.body(texts, query=query)),
            read,
            timeout_s=self._section.timeout_seconds,
            max_retries=self._section.max_retries,
        )
        if not self.dim:
            self.dim = int(vectors.shape[1])
        used = sum(map(count_tokens, texts)) if tokens is None else tokens
        cost = service.settle(self.model, used)
        spent.add(
            Spent(
                embedded=len(texts),
                tokens=used,
                cost_usd=cost or 0.0,
                unpriced=used if cost is None else 0,
                requests=1,
            )
        )
        return vectors
