"""What ingestion and search return."""

from __future__ import annotations

from typing import Any

import msgspec


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a text. Offsets and length are those of the whole text."""

    content: str
    index: int
    byte_offset: int
    byte_length: int
    char_offset: int
    token_count: int
    metadata: dict[str, Any] = {}


class IngestProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an ingestion is. stage: read, chunk, embed, store or done. rate: tokens per second. eta: seconds left."""

    stage: str
    documents_done: int
    documents_total: int
    chunks_done: int
    tokens: int
    rate: float
    eta: float | None


class IngestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an ingestion did. ids: of the documents, in the order given. errors: `{id?, source?, reason}`."""

    success: bool = True
    documents_processed: int
    documents_unchanged: int
    documents_failed: int
    chunks_created: int
    vectors_created: int
    total_tokens: int
    embedding_cost_usd: float
    ids: list[str]
    document_ids: list[str]
    errors: list[dict[str, Any]]
    embedder: str
    duration_ms: float


class SearchItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One hit. score: 0 to 1, better is higher; scores: by arm. id: the document's, or `<document>#<chunk>`."""

    id: str
    document_id: str
    chunk_index: int
    score: float
    scores: dict[str, float]
    metadata: dict[str, Any]
    collection: str
    scope: str
    content: str | None = None
    text: str | None = None
    source: str | None = None
    event_time: float | None = None
    vector: list[float] | None = None


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found, best first. exhausted: nothing else passes. total: how many results there are here."""

    success: bool = True
    results: list[SearchItem]
    total: int
    exhausted: bool
    query: str
    mode: str
    embedder: str
    duration_ms: float
    embedding_tokens: int
    warnings: list[str]
