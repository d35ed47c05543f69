"""What collections store and find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Times = tuple[float | None, float | None]
"""From, inclusive, and to, exclusive, in seconds since 1970; None is open."""


class Part(msgspec.Struct, frozen=True):
    """One chunk. start: character offset in the document. metadata: of the chunk alone."""

    text: str
    start: int
    tokens: int
    metadata: dict[str, Any] | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One document to store, whole. vectors: float32 of shape (len(parts), dim). digest: tells equal content.

    created: of a document that is new; None for when it is stored.
    """

    id: str
    parts: list[Part]
    vectors: NDArray[np.float32]
    digest: bytes
    metadata: dict[str, Any] = {}
    source: str | None = None
    ingested: float
    event_time: float | None = None
    expires: float | None = None
    created: float | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection was made with.

    model: of the embedder, None where it has one only. normalisation: what was done to vectors, `unit`. probe: the
    vector of a fixed text, float32; its hash tells whether the embedder still is the same.
    """

    embedder: str
    embedder_id: str
    dimensions: int
    metric: str
    created: float
    model: str | None = None
    normalisation: str = "unit"
    probe: bytes | None = None
    probe_hash: str | None = None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One search. vector: of the vector arm, None leaves it out; words: of the keyword arm, likewise.

    filters: what `matches` was compiled from, for the index to judge. texts: values that whatever `matches` admits
    holds. threshold: least similarity (least keyword score without a vector). weights: arm -> weight; None ranks
    reciprocally. ef: candidates of the walk. exact: compare with every vector. raw: scores as the metric gives them,
    else brought into 0 to 1. vectors: return those of the hits.
    """

    k: int
    vector: NDArray[np.float32] | None = None
    words: str | None = None
    matches: Callable[[Mapping[str, Any]], bool] | None = None
    filters: Mapping[str, Any] | None = None
    texts: list[str] = []
    threshold: float | None = None
    event_time: Times | None = None
    ingested: Times | None = None
    expired: bool = False
    candidates: int = 50
    rrf_k: int = 60
    weights: dict[str, float] | None = None
    ef: int | None = None
    exact: bool = False
    raw: bool = False
    vectors: bool = True


class IndexSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the indexes of a collection are made. exact_below: up to so many vectors there is no graph."""

    m: int = 16
    ef_construction: int = 200
    ef_search: int = 50
    seed: int = 42
    num_threads: int = 0
    quantization: str = "f32"
    keep_f32: bool = False
    exact_below: int = 2048


class Place(NamedTuple):
    """A scope in one state of a file. top: the highest key ever given in it. seq: the last change of a row after it
    was written; those up to `floor` are forgotten. settings: of its index alone, JSON.
    """

    name: str
    number: int
    top: int
    seq: int
    floor: int
    settings: str | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One chunk that was found. scores: by arm, and `fused`."""

    key: int
    document: str
    index: int
    chunks: int
    text: str
    score: float
    scores: dict[str, float]
    metadata: dict[str, Any]
    source: str | None
    event_time: float | None
    ingested: float
    created: float
    expires: float | None
    distance: float | None = None

    @property
    def id(self) -> str:
        """The document's id when it is one chunk, else `<document>#<index>`."""
        return self.document if self.chunks == 1 else f"{self.document}#{self.index}"
