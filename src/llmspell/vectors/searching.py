"""One search in one scope: which chunks may be found, both arms over those, the merged ranking, the rows of the best.

Filters, times and expiry hold inside both arms, so k hits come back whenever k chunks pass. The index judges them while
it walks, where it can (`attributes`); else the rows that pass are listed for it first. Hits that only the keyword arm
found get their exact similarity before ranks are merged: a missing rank would push a text that one arm puts first
behind texts that both arms put nowhere.

An index may hold rows that this state of the file has not: those of a writer that commits just now. They are dropped,
and the walk goes deeper.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from llmspell.vectors import fuse, lexical, rows, side_arms
from llmspell.vectors.records import Found

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from llmspell.vectors.attributes import Columns, Row
    from llmspell.vectors.indexes import Indexes, Live
    from llmspell.vectors.records import Place, Query

_MAX_K = 100_000
_MOST_TRIED = 4096  # hits of the keyword arm that are judged one by one
_ROWS = """SELECT chunks.key, documents.id, position, documents.chunks, text, documents.metadata, chunks.metadata,
source, event_time, ingested, created, expires FROM chunks JOIN documents ON documents.key = chunks.document
WHERE chunks.key IN (SELECT value FROM json_each(?))"""


class Narrow(NamedTuple):
    """What may be found: a filter of the index, or keys; neither is everything."""

    filter: dict[str, Any] | None = None
    allow: NDArray[np.int64] | None = None


Answer = tuple[list[Found], bool, dict[int, Any], int]


def search(connection: sqlite3.Connection, indexes: Indexes, place: Place, query: Query) -> Answer:
    """Return what was found, best first, whether that is all that passes, vectors by key, and vectors compared."""
    return _Search(connection, indexes, place, query).run()


class _Search:
    def __init__(self, connection: sqlite3.Connection, indexes: Indexes, place: Place, query: Query) -> None:
        self._connection = connection
        self._indexes = indexes
        self._place = place
        self._query = query
        self._now = time.time()
        self._live: Live | None = None
        self._view: tuple[Any, Columns | None] = (None, None)
        self._distances: dict[int, float] = {}
        self._visited = 0

    def run(self) -> Answer:
        query, arms, complete = self._query, {}, True
        depth = min(max(query.k, query.candidates), _MAX_K)
        if query.vector is not None:
            self._live = self._indexes.of(self._connection, self._place)
            if not len(self._live.index):
                return [], True, {}, self._visited
        narrow = self._narrowed()
        if narrow.allow is not None and not len(narrow.allow):
            return [], True, {}, self._visited
        if self._live is not None:
            arms["vector"], complete = self._by_vector(depth, narrow)
        words = lexical.terms(query.words) if query.words is not None else []
        if words:
            arms["keyword"] = self._by_words(words, depth, narrow)
            if self._live is None:
                complete = len(arms["keyword"]) < depth
                floor = query.threshold if query.threshold is not None else -1.0
                arms["keyword"] = {key: score for key, score in arms["keyword"].items() if score >= floor}
            else:
                self._complete(arms)
        if query.weights is not None and len(arms) > 1 and any(query.weights.get(name) for name in side_arms.NAMES):
            arms |= side_arms.side_arms(self._connection, set().union(*arms.values()), words)
        fused = _fused(arms, query)
        found = self._found(fused, arms)
        vectors = rows.stored(self._connection, [hit.key for hit in found]) if query.vectors and self._live else {}
        return found, complete and len(fused) <= query.k, vectors, self._visited

    def _expiring(self) -> bool:
        """Tell whether something in the scope expired and was not swept yet."""
        if self._query.expired:
            return False
        statement = "SELECT 1 FROM documents WHERE scope = ? AND expires <= ? LIMIT 1"
        return self._connection.execute(statement, (self._place.number, self._now)).fetchone() is not None

    def _narrowed(self) -> Narrow:
        query, expiring = self._query, self._expiring()
        narrows = expiring or query.matches is not None or query.event_time is not None or query.ingested is not None
        if self._live is None:
            return Narrow(allow=self._allowed(expiring=expiring)) if narrows else Narrow()
        if narrows and (query.matches is None or query.filters is not None):
            self._indexes.attributed(self._live, self._connection, self._place)
        self._view = self._live.view
        columns = self._view[1]
        if not narrows:
            return Narrow()
        if columns is not None and (query.matches is None or query.filters is not None):
            conditions = columns.conditions(query, self._now, expiring=expiring)
            if conditions:
                return Narrow(filter=conditions[0] if len(conditions) == 1 else {"$and": conditions})
        return Narrow(allow=self._allowed(expiring=expiring))

    def _allowed(self, *, expiring: bool) -> NDArray[np.int64] | None:
        """Return the keys that filters and times let through, None when that is all of the scope."""
        query = self._query
        conditions, given = ["scope = ?"], [self._place.number]
        if expiring:
            conditions.append("(expires IS NULL OR expires > ?)")
            given.append(self._now)  # type: ignore[arg-type]  # values of statements may be of any kind
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
        found = self._connection.execute(
            f"""SELECT chunks.key, documents.metadata, chunks.metadata FROM documents
            CROSS JOIN chunks ON document = documents.key WHERE {" AND ".join(conditions)}""",  # noqa: S608 - conditions are constants
            given,
        )
        matches = query.matches
        if matches is None:
            keys = [row[0] for row in found]
        else:
            keys = [row[0] for row in found if matches(rows.metadata(row[1], row[2]))]
        return np.asarray(keys, np.int64)

    def _by_vector(self, depth: int, narrow: Narrow) -> tuple[dict[int, float], bool]:
        live = self._live
        assert live is not None
        stamp, quiet, wanted = live.stamp, live.shows(self._place), depth
        while True:
            keys, scores, exhausted = self._walk(wanted, narrow)
            if quiet and stamp == live.stamp:
                break
            here = rows.present(self._connection, keys)
            kept = [at for at, key in enumerate(keys) if key in here]
            if len(kept) == len(keys) or len(kept) >= depth or exhausted or wanted >= _MAX_K:
                keys, scores = [keys[at] for at in kept[:depth]], [scores[at] for at in kept[:depth]]
                exhausted = exhausted and len(kept) <= depth
                break
            wanted = min(wanted * 2, _MAX_K)
        return dict(zip(keys, scores, strict=True)), exhausted

    def _walk(self, depth: int, narrow: Narrow) -> tuple[list[int], list[float], bool]:
        query, index = self._query, self._view[0]
        least = query.threshold
        if least is not None and least <= 0 and not query.raw:  # no score is below 0
            least = None
        hits = index.search(
            query.vector,
            depth,
            ef=self._indexes.settings_of(self._place)[1].ef_search if query.ef is None else query.ef,
            filter=narrow.filter,
            allow=narrow.allow,
            threshold=least,
            exact=query.exact,
        )
        return self._taken(hits), self._scores(hits), hits.exhausted

    def _taken(self, hits: Any) -> list[int]:
        self._visited += hits.visited
        keys: list[int] = hits.keys.tolist()
        self._distances.update(zip(keys, hits.distances.tolist(), strict=True))
        return keys

    def _scores(self, hits: Any) -> list[float]:
        scores: list[float] = (hits.scores if self._query.raw else np.clip(hits.scores, 0.0, 1.0)).tolist()
        return scores

    def _by_words(self, words: list[str], depth: int, narrow: Narrow) -> dict[int, float]:
        connection, scope = self._connection, self._place.number
        total = lexical.count(connection, scope)
        if narrow.filter is not None:
            tried = lexical.search(connection, scope, words, limit=_MOST_TRIED, allow=None, total=total)
            kept = self._passing(tried, depth)
            if len(kept) >= depth or len(tried) < _MOST_TRIED:
                return kept
            narrow = Narrow(allow=self._allowed(expiring=self._expiring()))
        text = None if narrow.allow is None else msgspec.json.encode(narrow.allow.tolist()).decode()
        return dict(lexical.search(connection, scope, words, limit=depth, allow=text, total=total))

    def _passing(self, tried: list[tuple[int, float]], depth: int) -> dict[int, float]:
        """Return the first hits that filters and times let through."""
        kept: dict[int, float] = {}
        for start in range(0, len(tried), 256):
            batch = tried[start : start + 256]
            found = rows.filterable(self._connection, [key for key, _ in batch])
            for key, score in batch:
                if key in found and self._passes(found[key]):
                    kept[key] = score
                    if len(kept) == depth:
                        return kept
        return kept

    def _passes(self, row: Row) -> bool:
        query = self._query
        if not query.expired and row.expires is not None and row.expires <= self._now:
            return False
        for moment, times in ((row.event_time, query.event_time), (row.ingested, query.ingested)):
            start, end = times or (None, None)
            if (start is not None or end is not None) and moment is None:
                return False
            if moment is not None and ((start is not None and moment < start) or (end is not None and moment >= end)):
                return False
        return query.matches is None or query.matches(row.metadata)

    def _complete(self, arms: dict[str, dict[int, float]]) -> None:
        """Give keyword hits their exact similarity; those below the threshold leave."""
        missing = [key for key in arms["keyword"] if key not in arms["vector"]]
        if missing:
            hits = self._view[0].search(self._query.vector, len(missing), allow=np.asarray(missing, np.int64))
            for key, score in zip(self._taken(hits), self._scores(hits), strict=True):
                if self._query.threshold is None or score >= self._query.threshold:
                    arms["vector"][key] = score
                else:
                    del arms["keyword"][key]

    def _found(self, fused: dict[int, float], arms: dict[str, dict[int, float]]) -> list[Found]:
        """Return the k best, ties by id."""
        k = self._query.k
        ranked = sorted(fused, key=fused.__getitem__, reverse=True)
        last = fused[ranked[k - 1]] if len(ranked) > k else None
        wanted = [key for key in ranked if last is None or fused[key] >= last]
        found = [self._hit(row, fused, arms) for row in self._connection.execute(_ROWS, (_numbers(wanted),)).fetchall()]
        found.sort(key=lambda hit: (-hit.score, hit.id))
        return found[:k]

    def _hit(self, row: tuple[Any, ...], fused: dict[int, float], arms: dict[str, dict[int, float]]) -> Found:
        key = row[0]
        scores = {name: found[key] for name, found in arms.items() if key in found}
        return Found(
            key=key,
            document=row[1],
            index=row[2],
            chunks=row[3],
            text=row[4],
            score=fused[key],
            scores={**scores, "fused": fused[key]},
            metadata=rows.metadata(row[5], row[6]),
            source=row[7],
            event_time=row[8],
            ingested=row[9],
            created=row[10],
            expires=row[11],
            distance=self._distances.get(key),
        )


def _fused(arms: dict[str, dict[int, float]], query: Query) -> dict[int, float]:
    if len(arms) == 1:
        return dict(next(iter(arms.values())))
    if query.weights is not None:
        return fuse.weighted(arms, query.weights)
    return fuse.reciprocal(arms, k=query.rrf_k)


def _numbers(keys: Iterable[int]) -> str:
    return msgspec.json.encode(list(keys)).decode()


def _quoted(text: str) -> str:
    """Return a text as the stored JSON spells it; both are written by one encoder."""
    return msgspec.json.encode(text).decode()
