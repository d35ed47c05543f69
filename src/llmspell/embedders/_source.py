"""`Source`: an embedder with its cache, and the proof that it still is the one a collection was made with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from blake3 import blake3

from llmspell.base.offload import offload
from llmspell.embedders._base import Spent, check_texts
from llmspell.embedders._cache import key_of, partition_digest

if TYPE_CHECKING:
    from llmspell.embedders._base import Embedder, Vectors
    from llmspell.embedders._cache import VectorCache

PROBE = "The quick brown fox jumps over the lazy dog; 1234567890, \u00e9t\u00e9, \u6771\u4eac."
SAME = 0.999
"""Least cosine of two probes of one model: services round differently from machine to machine."""


class Probe(msgspec.Struct, frozen=True):
    """The vector of a fixed text, as a collection records it."""

    data: bytes
    hash: str

    def matches(self, recorded: bytes | None, recorded_hash: str | None) -> bool:
        """Tell whether another probe comes from the same model; one that was never recorded does."""
        if recorded is None or recorded_hash == self.hash:
            return True
        mine, other = np.frombuffer(self.data, np.float32), np.frombuffer(recorded, np.float32)
        return mine.shape == other.shape and float(mine @ other) >= SAME


class Source:
    """See the module. Any thread; calls belong to the loop they are made on. cache: None keeps nothing."""

    def __init__(self, embedder: Embedder, cache: VectorCache | None) -> None:
        self.embedder = embedder
        self._cache = cache
        self.known_probe: Probe | None = None
        self._ready = False

    @property
    def name(self) -> str:
        """Name of the embedder."""
        return self.embedder.name

    @property
    def model(self) -> str | None:
        """Name of the model, where there are several."""
        return self.embedder.model

    @property
    def id(self) -> str:
        """Name the model and every option that changes its vectors."""
        return self.embedder.id

    @property
    def dim(self) -> int:
        """Length of a vector; before `prepare` it may be 0, or take as long as reading a model."""
        return self.embedder.dim

    async def prepare(self, spent: Spent | None = None) -> None:
        """Make the length of vectors known: read the model off the loop, or ask a service for a first vector."""
        if not self._ready:
            if not await offload(lambda: self.embedder.dim):
                await self.probe(spent)
            self._ready = True

    async def probe(self, spent: Spent | None = None) -> Probe:
        """Return the probe, made once; that needs the service, and tells the length of vectors."""
        if self.known_probe is None:
            row = (await self.embedder.embed([PROBE], spent=spent))[0]
            data = np.ascontiguousarray(row, "<f4").tobytes()
            self.known_probe = Probe(data, blake3(data).hexdigest())
        return self.known_probe

    def run(
        self,
        partition: str,
        *,
        query: bool = False,
        cache: bool = True,
        prove: Callable[[Probe], Awaitable[None]] | None = None,
    ) -> Run:
        """Return the embedder for one piece of work.

        partition: whose it is; no other one shares cached vectors. prove: is given the probe before a new vector is
        made, and raises if the model is not the one it should be.
        """
        return Run(self, partition, query=query, cache=self._cache if cache else None, prove=prove)


class Run:
    """One piece of work with an embedder; `spent` tells what it cost so far."""

    def __init__(
        self,
        source: Source,
        partition: str,
        *,
        query: bool,
        cache: VectorCache | None,
        prove: Callable[[Probe], Awaitable[None]] | None,
    ) -> None:
        self._source = source
        self._partition = partition_digest(partition)
        self._query = query
        self._cache = cache
        self._prove = prove
        self.spent = Spent()
        self.name = source.name

    @property
    def id(self) -> str:
        """Name the model and every option that changes its vectors."""
        return self._source.id

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._source.dim

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return float32 of shape (n, dim). Each distinct text is embedded once."""
        check_texts(texts)
        if not texts:
            return np.zeros((0, await offload(lambda: self.dim)), np.float32)
        distinct = list(dict.fromkeys(texts))
        rows = await self._rows(distinct)
        if len(distinct) == len(texts):
            return rows
        place = {text: at for at, text in enumerate(distinct)}
        return np.ascontiguousarray(rows[[place[text] for text in texts]])

    async def _rows(self, texts: list[str]) -> Vectors:
        cache, embedder = self._cache, self._source.embedder
        if cache is None:
            return await self._new(texts)
        await self._source.prepare(self.spent)
        told = f"{embedder.id}:{embedder.dim}:{'query' if self._query and embedder.tells_queries else ''}".encode()
        keys = [key_of(self._partition, told, text) for text in texts]
        known = await offload(cache.get_many, keys) if cache.on_disk else cache.get_many(keys)
        if not any(known):
            self.spent.misses += len(texts)
            return await self._fresh(cache, texts, keys)
        size = embedder.dim * 4
        kept = {at: data for at, data in enumerate(known) if data is not None and len(data) == size}
        missing = [at for at in range(len(texts)) if at not in kept]
        self.spent.hits += len(kept)
        self.spent.misses += len(missing)
        rows = np.empty((len(texts), embedder.dim), np.float32)
        for at, data in kept.items():
            rows[at] = np.frombuffer(data, np.float32)
        if missing:
            rows[missing] = await self._fresh(cache, [texts[at] for at in missing], [keys[at] for at in missing])
        return rows

    async def _new(self, texts: list[str]) -> Vectors:
        if self._prove is not None:
            await self._prove(await self._source.probe(self.spent))
            self._prove = None
        return await self._source.embedder.embed(texts, query=self._query, spent=self.spent)

    async def _fresh(self, cache: VectorCache, texts: list[str], keys: list[bytes]) -> Vectors:
        """Embed what is not known, and keep it."""
        fresh = await self._new(texts)
        pairs = [(key, row.tobytes()) for key, row in zip(keys, fresh, strict=True)]
        if cache.on_disk:
            await offload(cache.put_many, pairs)
        else:
            cache.put_many(pairs)
        return fresh
