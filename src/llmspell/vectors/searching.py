"""One search in one scope: which chunks may be found, both arms over those, the merged ranking, the rows of the best.

Filters, times and expiry decide before the arms run, so k hits come back whenever k chunks pass. Hits that only the
keyword arm found get their exact similarity before ranks are merged: a missing rank would push a text that one arm
puts first behind texts that both arms put nowhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from llmspell.vectors import fuse, lexical, side_arms
from llmspell.vectors.records import Found

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from llmspell._core import VectorIndex
    from llmspell.vectors.indexes import Indexes
    from llmspell.vectors.records import Query

_MAX_K = 100_000
_ROWS = """SELECT chunks.key, documents.id, position, documents.chunks, text, documents.metadata, chunks.metadata,
source, event_time, ingested FROM chunks JOIN documents ON documents.key = chunks.document
WHERE chunks.key IN (SELECT value FROM json_each(?))"""


def search(
    connection: sqlite3.Connection, indexes: Indexes, scope: int, query: Query
) -> tuple[list[Found], bool, dict[int, NDArray[np.float32]]]:
    """Return what was found, best first, whether that is all that passes, and the vectors of the hits by key."""
    allow = _allowed(connection, scope, query)
    if allow is not None and not len(allow):
        return [], True, {}
    arms: dict[str, dict[int, float]] = {}
    complete = True
    depth = min(max(query.k, query.candidates), _MAX_K)
    index = None
    if query.vector is not None:
        index = indexes.of(scope)
        if not len(index):
            return [], True, {}
        arms["vector"], complete = _by_vector(index, query, depth, allow)
    words = lexical.terms(query.words) if query.words is not None else []
    if words:
        arms["keyword"] = _by_words(connection, scope, words, depth, allow)
        if index is None:
            complete = len(arms["keyword"]) < depth
            floor = query.threshold if query.threshold is not None else -1.0
            arms["keyword"] = {key: score for key, score in arms["keyword"].items() if score >= floor}
        else:
            _complete(index, arms, query)
    if query.weights is not None and len(arms) > 1 and any(query.weights.get(name) for name in side_arms.NAMES):
        keys = set().union(*arms.values())
        arms |= side_arms.side_arms(connection, keys, words)
    fused = _fused(arms, query)
    found = _rows(connection, fused, arms, query.k)
    vectors = {} if index is None else _vectors(index, [hit.key for hit in found])
    return found, complete and len(fused) <= query.k, vectors


def _fused(arms: dict[str, dict[int, float]], query: Query) -> dict[int, float]:
    if len(arms) == 1:
        return dict(next(iter(arms.values())))
    if query.weights is not None:
        return fuse.weighted(arms, query.weights)
    return fuse.reciprocal(arms, k=query.rrf_k)


def _allowed(connection: sqlite3.Connection, scope: int, query: Query) -> NDArray[np.int64] | None:
    """Return the keys that filters and times let through, None when that is all of the scope."""
    conditions, given = ["scope = ?"], [scope]
    now = time.time()
    if not query.expired:
        statement = "SELECT 1 FROM documents WHERE scope = ? AND expires <= ? LIMIT 1"
        if connection.execute(statement, (scope, now)).fetchone() is not None:
            conditions.append("(expires IS NULL OR expires > ?)")
            given.append(now)  # type: ignore[arg-type]  # values of statements may be of any kind
    for column, times in (("event_time", query.event_time), ("ingested", query.ingested)):
        for sign, moment in zip((">=", "<"), times or (), strict=False):
            if moment is not None:
                conditions.append(f"{column} {sign} ?")
                given.append(moment)  # type: ignore[arg-type]  # as above
    if query.matches is None and len(conditions) == 1:
        return None
    for text in query.texts:
        conditions.append("(own OR instr(documents.metadata, ?))")
        given.append(_quoted(text))  # type: ignore[arg-type]  # as above
    rows = connection.execute(
        f"""SELECT chunks.key, documents.metadata, chunks.metadata FROM documents
        CROSS JOIN chunks ON document = documents.key WHERE {" AND ".join(conditions)}""",  # noqa: S608 - conditions are constants
        given,
    )
    matches = query.matches
    if matches is None:
        keys = [row[0] for row in rows]
    else:
        keys = [row[0] for row in rows if matches(_metadata(row[1], row[2]))]
    return np.asarray(keys, np.int64)


def _quoted(text: str) -> str:
    """Return a text as the stored JSON spells it; both are written by one encoder."""
    return msgspec.json.encode(text).decode()


def _metadata(document: str, chunk: str | None) -> dict[str, Any]:
    merged: dict[str, Any] = msgspec.json.decode(document)
    if chunk is not None:
        merged.update(msgspec.json.decode(chunk))
    return merged


def _by_vector(index: VectorIndex, query: Query, depth: int, allow: Any) -> tuple[dict[int, float], bool]:
    least = query.threshold if query.threshold is not None and query.threshold > 0 else None
    hits = index.search(query.vector, depth, allow=allow, threshold=least)  # type: ignore[arg-type]  # checked by the caller
    scores = np.clip(hits.scores, 0.0, 1.0).tolist()
    return dict(zip(hits.keys.tolist(), scores, strict=True)), hits.exhausted


def _by_words(connection: sqlite3.Connection, scope: int, words: list[str], depth: int, allow: Any) -> dict[int, float]:
    total = connection.execute("SELECT count(*) FROM vectors WHERE scope = ?", (scope,)).fetchone()[0]
    text = None if allow is None else msgspec.json.encode(allow.tolist()).decode()
    return dict(lexical.search(connection, scope, words, limit=depth, allow=text, total=total))


def _complete(index: VectorIndex, arms: dict[str, dict[int, float]], query: Query) -> None:
    """Give keyword hits their exact similarity; those below the threshold leave."""
    missing = [key for key in arms["keyword"] if key not in arms["vector"]]
    if missing:
        hits = index.search(query.vector, len(missing), allow=np.asarray(missing, np.int64))  # type: ignore[arg-type]  # checked by the caller
        for key, score in zip(hits.keys.tolist(), np.clip(hits.scores, 0.0, 1.0).tolist(), strict=True):
            if query.threshold is None or score >= query.threshold:
                arms["vector"][key] = score
            else:
                del arms["keyword"][key]


def _vectors(index: VectorIndex, keys: list[int]) -> dict[int, NDArray[np.float32]]:
    return dict(zip(keys, index.get(np.asarray(keys, np.int64)), strict=True)) if keys else {}


def _rows(
    connection: sqlite3.Connection, fused: dict[int, float], arms: dict[str, dict[int, float]], k: int
) -> list[Found]:
    """Return the k best, ties by id."""
    ranked = sorted(fused, key=fused.__getitem__, reverse=True)
    last = fused[ranked[k - 1]] if len(ranked) > k else -1.0
    wanted = [key for key in ranked if fused[key] >= last]
    rows = connection.execute(_ROWS, (msgspec.json.encode(wanted).decode(),)).fetchall()
    found = [
        Found(
            key=row[0],
            document=row[1],
            index=row[2],
            chunks=row[3],
            text=row[4],
            score=fused[row[0]],
            scores={name: scores[row[0]] for name, scores in arms.items() if row[0] in scores}
            | {"fused": fused[row[0]]},
            metadata=_metadata(row[5], row[6]),
            source=row[7],
            event_time=row[8],
            ingested=row[9],
        )
        for row in rows
    ]
    found.sort(key=lambda hit: (-hit.score, hit.id))
    return found[:k]
