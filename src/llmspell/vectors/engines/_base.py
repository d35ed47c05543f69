"""The contract of a vector storage, its records, and the checks every engine begins with.

An engine is a file of this folder with `open(url, **options) -> VectorStorage`; its name is the scheme of the URL.

Scopes are namespaces: ids are unique in one, and no call sees two. Every scope has its own dimensions, those of its
first entry. What is stored is there for every search that begins after the call, and an expired entry is invisible from
its instant. Any thread may call a storage.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell._core import VectorIndex
from llmspell.base import scope as scopes
from llmspell.errors import (
    DimensionMismatch,
    InvalidArgument,
    InvalidScope,
    NonFiniteValue,
    ValidationError,
    ZeroVector,
)
from llmspell.vectors.filters import Predicate, compile_filter

MAX_BATCH = 100_000
MAX_ID_BYTES = 256
MAX_METADATA_BYTES = 65_536
MAX_K = 100_000
MAX_DIM = 65_535
_INDEX = ("m", "ef_construction", "ef_search", "exact_below", "quantization", "keep_f32", "seed")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Window = tuple[datetime | None, datetime | None]


class VectorEntry(msgspec.Struct, kw_only=True):
    """One vector with what belongs to it.

    id: a new one when empty. embedding: numbers, shape (dim,). metadata: JSON values; fields of inner tables are
    filtered by dotted path. ttl_seconds: sets expires_at, from created_at. tenant_id: sets scope. Times are aware.
    """

    embedding: ArrayLike
    id: str = ""
    metadata: Mapping[str, Any] = {}
    scope: str = "global"
    text: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    event_time: datetime | None = None
    expires_at: datetime | None = None
    ttl_seconds: float | None = None
    tenant_id: str | None = None


class VectorQuery(msgspec.Struct, kw_only=True):
    """One search. filter: as in `vectors.filters`. threshold: least score. Ranges: from, to exclusive; None is open.

    ef: candidates of the walk. exact: compare with every vector.
    """

    vector: ArrayLike
    k: int = 10
    filter: Mapping[str, Any] | None = None
    scope: str = "global"
    threshold: float | None = None
    include_metadata: bool = True
    include_vector: bool = False
    include_text: bool = True
    event_time_range: Window | None = None
    ingestion_time_range: Window | None = None
    exclude_expired: bool = True
    ef: int | None = None
    exact: bool = False
    tenant_id: str | None = None


class VectorResult(msgspec.Struct, frozen=True, kw_only=True):
    """One hit. score: higher is better, as the metric gives it; distance: lower is better."""

    id: str
    score: float
    distance: float
    scope: str
    created_at: datetime
    event_time: datetime | None = None
    metadata: dict[str, Any] | None = None
    text: str | None = None
    vector: NDArray[np.float32] | None = None


class VectorResults(list[VectorResult]):
    """Hits, best first. exhausted: all that pass are there; only then may they be fewer than k."""

    def __init__(self, hits: Sequence[VectorResult], *, exhausted: bool, duration_ms: float, visited: int) -> None:
        super().__init__(hits)
        self.exhausted = exhausted
        self.duration_ms = duration_ms
        self.visited = visited


class StorageStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a storage or one scope. expired: entries that wait to be swept. generation: grows with every change."""

    total_vectors: int = 0
    storage_bytes: int = 0
    memory_bytes: int = 0
    namespace_count: int = 0
    dimensions: int = 0
    removed: int = 0
    index_build_time_ms: float = 0.0
    avg_query_time_ms: float = 0.0
    query_count: int = 0
    tokens_processed: int = 0
    estimated_cost_usd: float = 0.0
    expired: int = 0
    generation: int = 0


class VectorStorage(Protocol):
    """Vectors by scope and id, stored, searched, removed."""

    def store(self, entry: VectorEntry) -> str:
        """Store an entry, in place of the one of that id, and return its id."""

    def store_many(self, entries: Sequence[VectorEntry]) -> list[str]:
        """Store entries of one scope, all or none, and return their ids."""

    def search(self, query: VectorQuery) -> VectorResults:
        """Return the nearest entries that pass; an unknown scope holds nothing."""

    def search_many(self, queries: Sequence[VectorQuery]) -> list[VectorResults]:
        """Search for each query."""

    def get(self, ident: str, *, scope: str = "global") -> VectorEntry | None:
        """Return an entry, or None."""

    def update_metadata(
        self, ident: str, metadata: Mapping[str, Any], *, scope: str = "global", merge: bool = True
    ) -> bool:
        """Change metadata, key by key unless `merge` is off; tell whether the entry is there."""

    def delete(self, ident: str, *, scope: str = "global") -> bool:
        """Remove an entry; tell whether it was there."""

    def delete_many(self, idents: Sequence[str], *, scope: str = "global") -> int:
        """Remove entries; return how many were there."""

    def delete_scope(self, scope: str) -> int:
        """Remove a scope; return how many entries went."""

    def get_stats(self, scope: str | None = None) -> StorageStats:
        """Return counts of a scope, or of all."""

    def namespaces(self) -> list[str]:
        """Return the scopes, sorted."""

    def create_namespace(self, scope: str, **index: Any) -> None:
        """Make an empty scope. index: `dimensions`, and keys of `rag.vector_storage.hnsw`."""

    def optimize(self, scope: str | None = None) -> dict[str, int]:
        """Free what removed entries still hold; return removed, relinked, bytes_freed."""

    def clear(self) -> None:
        """Remove everything."""

    def persist(self) -> int:
        """Put everything on the disk; return the bytes of indexes that were written."""

    def sweep(self) -> int:
        """Remove expired entries; return how many."""

    def close(self) -> None:
        """Close the storage. Safe to call twice."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """An entry whose every field is right. Times in seconds since 1970."""

    id: str
    vector: NDArray[np.float32]
    metadata: dict[str, Any]
    scope: str
    text: str | None
    created: float | None
    event_time: float | None
    expires: float | None


def scope_of(scope: str, tenant_id: str | None = None) -> str:
    """Return the canonical text of a scope. Raises InvalidScope."""
    text = scope if tenant_id is None else f"tenant:{tenant_id}"
    if tenant_id is not None and scope not in ("global", text):
        raise InvalidScope(
            f"one place only: {scope!r} and {text!r} contradict each other",
            details={"scope": scope, "rule": "one of scope, tenant_id"},
        )
    if text.startswith("tenant:"):
        if not _TENANT.fullmatch(text, len("tenant:")):
            raise InvalidScope(
                f"bad tenant id {text[7:47]!r}: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit",
                details={"scope": text[:80], "rule": "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"},
            )
        return text
    return scopes.parse(text).text


def check_entries(entries: Sequence[VectorEntry]) -> list[Checked]:
    """Return entries of one scope, checked. Raises what is wrong with one of them."""
    if len(entries) > MAX_BATCH:
        raise InvalidArgument(f"at most {MAX_BATCH} entries in one call", details={"name": "entries"})
    found = [_checked(entry, vector) for entry, vector in zip(entries, _vectors(entries), strict=True)]
    if len({entry.scope for entry in found}) > 1:
        raise InvalidArgument("the entries of one call belong to one scope", details={"name": "scope"})
    if len({len(entry.vector) for entry in found}) > 1:
        raise DimensionMismatch("the vectors of one call have different lengths", details={"name": "embedding"})
    return found


def _vectors(entries: Sequence[VectorEntry]) -> Sequence[NDArray[np.float32]]:
    """Return the vectors of entries; those that are float32 of one length already are looked at all at once."""
    given: list[Any] = [entry.embedding for entry in entries]
    if given and all(isinstance(item, np.ndarray) and item.dtype == np.float32 for item in given):
        shapes = {item.shape for item in given}
        if len(shapes) == 1 and len(shape := shapes.pop()) == 1 and 1 <= shape[0] <= MAX_DIM:
            every: NDArray[np.float32] = np.stack(given)
            if np.isfinite(every).all():
                return list(every)
    return [check_vector(item, "embedding") for item in given]


def _checked(entry: VectorEntry, vector: NDArray[np.float32]) -> Checked:
    ident = entry.id or str(uuid4())
    if not isinstance(ident, str) or len(ident.encode(errors="replace")) > MAX_ID_BYTES or not _is_text(ident):
        raise InvalidArgument(f"an id is a text of at most {MAX_ID_BYTES} bytes", details={"name": "id"})
    if entry.text is not None and not (isinstance(entry.text, str) and _is_text(entry.text)):
        raise InvalidArgument("text is no valid text", details={"name": "text"})
    created = seconds(entry.created_at, "created_at")
    expires = seconds(entry.expires_at, "expires_at")
    if entry.ttl_seconds is not None:
        expires = (time.time() if created is None else created) + _duration(entry.ttl_seconds)
    return Checked(
        id=ident,
        vector=vector,
        metadata=check_metadata(entry.metadata),
        scope=scope_of(entry.scope, entry.tenant_id),
        text=entry.text or None,
        created=created,
        event_time=seconds(entry.event_time, "event_time"),
        expires=expires,
    )


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _duration(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise InvalidArgument(
            f"ttl_seconds is a number above 0, got {value!r}", details={"name": "ttl_seconds", "value": value}
        )
    return float(value)


def check_vector(given: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return float32 of shape (dim,). Raises InvalidArgument, NonFiniteValue."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            wide = np.asarray(given)
            if wide.dtype.kind not in "fiu":
                raise TypeError(f"of type {wide.dtype}")
            vector = np.ascontiguousarray(wide, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"{name} is a list of numbers: {error}", details={"name": name}) from error
    vector = vector.reshape(-1) if vector.shape[:1] == (1,) and vector.ndim == 2 else vector
    if vector.ndim != 1 or not 1 <= len(vector) <= MAX_DIM:
        raise InvalidArgument(
            f"{name} has the shape {vector.shape}, expected 1 to {MAX_DIM} numbers", details={"name": name}
        )
    finite = np.isfinite(vector)
    if not finite.all():
        column = int(np.argmin(finite))
        raise NonFiniteValue(f"{name} has no finite float32 at {column}", details={"row": 0, "column": column})
    return vector


def check_direction(vector: NDArray[np.float32], metric: str) -> None:
    """Refuse the zero vector where only directions count."""
    if metric == "cosine" and not vector.any():
        raise ZeroVector("the zero vector has no direction to compare", details={"row": 0})


def check_metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as JSON holds it. Raises ValidationError, InvalidArgument."""
    if not isinstance(given, Mapping):
        raise ValidationError(f"metadata is a table, not {type(given).__name__}")
    try:
        data = msgspec.json.encode(dict(given))
        found: dict[str, Any] = msgspec.json.decode(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValidationError(f"metadata holds what JSON cannot: {error}") from error
    if len(data) > MAX_METADATA_BYTES:
        raise InvalidArgument(
            f"metadata of {len(data)} bytes, at most {MAX_METADATA_BYTES}", details={"name": "metadata"}
        )
    return found


def seconds(moment: datetime | None, name: str) -> float | None:
    """Return seconds since 1970. Raises InvalidArgument for a time without zone."""
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InvalidArgument(f"{name} is a datetime with a zone, got {moment!r}", details={"name": name})
    return moment.timestamp()


def moment(stamp: float | None) -> datetime | None:
    """Return an aware time, None for None."""
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A query whose every field is right."""

    vector: NDArray[np.float32]
    k: int
    scope: str
    matches: Predicate | None
    event_time: tuple[float | None, float | None] | None
    ingested: tuple[float | None, float | None] | None


def check_query(query: VectorQuery) -> Asked:
    """Return a query, checked. Raises what is wrong with it."""
    if isinstance(query.k, bool) or not isinstance(query.k, int) or not 1 <= query.k <= MAX_K:
        raise InvalidArgument(
            f"k is a whole number from 1 to {MAX_K}, got {query.k!r}", details={"name": "k", "value": query.k}
        )
    least = query.threshold
    if least is not None and (isinstance(least, bool) or not isinstance(least, int | float) or least != least):
        raise InvalidArgument(f"threshold is a number, got {least!r}", details={"name": "threshold"})
    return Asked(
        vector=check_vector(query.vector, "vector"),
        k=query.k,
        scope=scope_of(query.scope, query.tenant_id),
        matches=compile_filter(query.filter) if query.filter else None,
        event_time=_window(query.event_time_range, "event_time_range"),
        ingested=_window(query.ingestion_time_range, "ingestion_time_range"),
    )


def _window(given: Any, name: str) -> tuple[float | None, float | None] | None:
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InvalidArgument(f"{name} is a pair of times, each may be None", details={"name": name})
    return seconds(given[0], name), seconds(given[1], name)


def check_index(given: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the dimensions and the settings of an index. Raises InvalidArgument."""
    settings = dict(given)
    dim = settings.pop("dimensions", None)
    unknown = sorted(set(settings) - set(_INDEX))
    if unknown:
        raise InvalidArgument(
            f"an index has no setting {unknown[0]!r}; there are: dimensions, {', '.join(_INDEX)}",
            details={"name": unknown[0], "allowed": ["dimensions", *_INDEX]},
        )
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise InvalidArgument("a new scope needs `dimensions`, a whole number", details={"name": "dimensions"})
    VectorIndex(dim, **settings).close()
    return dim, settings
