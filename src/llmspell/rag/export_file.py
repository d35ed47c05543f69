"""Documents in a file and back: one JSON object per line, with their chunks and vectors, so that nothing is embedded.

{"format": "llmspell.rag/1", "collection", "embedder", "embedder_id", "dimensions", "metric", ...}
{"scope", "id", "metadata", "source", "ingested", ..., "chunks": [{"text", "start", "metadata"}], "vectors": base64}
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

import msgspec
import numpy as np

from llmspell._core import count_tokens
from llmspell.errors import InvalidArgument, MalformedData, VersionMismatch
from llmspell.rag.documents import MAX_METADATA_BYTES, checked_id
from llmspell.vectors.records import Part, Recorded, Stored

FORMAT = "llmspell.rag/1"
BATCH = 64


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: where the documents were, and how they were embedded."""

    format: str
    collection: str
    embedder: str
    embedder_id: str
    dimensions: int
    metric: str
    model: str | None = None


class Piece(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One chunk. start: character offset in the document."""

    text: str
    start: int
    metadata: dict[str, Any] | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One document. vectors: float32, little endian, chunk by chunk. Times are seconds since 1970."""

    scope: str
    id: str
    digest: bytes
    chunks: list[Piece]
    vectors: bytes
    ingested: float
    metadata: dict[str, Any] = {}
    source: str | None = None
    created: float | None = None
    event_time: float | None = None
    expires: float | None = None


def header(collection: str, recorded: Recorded) -> Header:
    """Return the first line of a collection."""
    return Header(
        format=FORMAT,
        collection=collection,
        embedder=recorded.embedder,
        embedder_id=recorded.embedder_id,
        dimensions=recorded.dimensions,
        metric=recorded.metric,
        model=recorded.model,
    )


def line(scope: str, entry: Stored) -> Line:
    """Return the line of a document."""
    return Line(
        scope=scope,
        id=entry.id,
        digest=entry.digest,
        chunks=[Piece(text=part.text, start=part.start, metadata=part.metadata) for part in entry.parts],
        vectors=np.ascontiguousarray(entry.vectors, "<f4").tobytes(),
        ingested=entry.ingested,
        metadata=entry.metadata,
        source=entry.source,
        created=entry.created,
        event_time=entry.event_time,
        expires=entry.expires,
    )


def entry(given: Line, number: int, dim: int) -> Stored:
    """Return the document of a line. Raises MalformedData naming the line for what no collection would hold."""
    count = len(given.chunks)
    if len(given.vectors) != 4 * count * dim:
        raise _bad(number, f"{count} chunks of {dim} dimensions need {4 * count * dim} bytes of vectors")
    vectors = np.frombuffer(given.vectors, "<f4").reshape(count, dim).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise _bad(number, "a vector holds NaN or infinity")
    try:
        ident = checked_id(given.id, f"line {number}")
        size = len(msgspec.json.encode(given.metadata))
    except (ValueError, OverflowError) as error:
        raise _bad(number, str(error)) from error
    if size > MAX_METADATA_BYTES:
        raise _bad(number, f"metadata of {size} bytes, at most {MAX_METADATA_BYTES}")
    return Stored(
        id=ident,
        parts=[Part(piece.text, piece.start, count_tokens(piece.text), piece.metadata) for piece in given.chunks],
        vectors=vectors,
        digest=given.digest,
        metadata=given.metadata,
        source=given.source,
        ingested=given.ingested,
        created=given.created,
        event_time=given.event_time,
        expires=given.expires,
    )


def read_header(file: IO[bytes], name: str) -> Header:
    """Return the first line. Raises MalformedData, VersionMismatch."""
    try:
        found = msgspec.json.decode(file.readline(), type=Header)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise MalformedData(f"{name} is no export of documents: {error}", details={"path": name}) from error
    if found.format != FORMAT:
        raise VersionMismatch(
            f"{name} has the format {found.format!r}, this version reads {FORMAT!r}",
            details={"path": name, "found": found.format, "supported": FORMAT},
        )
    if not 1 <= found.dimensions <= 65_535:
        raise InvalidArgument(f"{name}: vectors of {found.dimensions} dimensions", details={"name": "dimensions"})
    return found


def read_lines(file: IO[bytes], dim: int) -> Iterator[list[tuple[str, Stored]]]:
    """Yield (scope, document) in batches. Raises MalformedData."""
    decoder = msgspec.json.Decoder(Line)
    number = 1

    def one(raw: bytes) -> tuple[str, Stored]:
        nonlocal number
        number += 1
        try:
            found = decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise _bad(number, str(error)) from error
        return found.scope, entry(found, number, dim)

    while batch := [one(raw) for raw in islice(file, BATCH) if raw.strip()]:
        yield batch


def _bad(number: int, reason: str) -> MalformedData:
    return MalformedData(f"line {number}: {reason}", details={"line": number, "reason": reason})
