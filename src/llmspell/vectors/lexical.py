"""The keyword arm: FTS5 with BM25, one table per scope.

The tokenizer is `porter unicode61 remove_diacritics 2`: stemming finds "members" for "member" and "parsing" for
"parse", which the hashed n-grams of the built-in embedder find only in part. Before a text is indexed, the parts of
identifiers are added to it (`ZipFile` also as `Zip File`), and characters of scripts without spaces stand alone, so
that a query of two such characters finds them. Text of users is never FTS syntax: a query is its words, each quoted,
joined by OR. Words that carry no topic are left out of a query unless it has no others.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from math import log

MAX_TERMS = 64
_K1_PLUS_1 = 2.2  # the constant k1 of FTS5's bm25() is 1.2
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"[a-z\d][A-Z]|[A-Z]{2}[a-z]")
_IDENTIFIER = re.compile(r"[A-Za-z\d]+")
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z\d]+|[A-Z]+|\d+")
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f])")
STOP_WORDS = frozenset(
    "a an and are as at be been being but by can could did do does for from had has have he her his how i if in into "  # noqa: SIM905 - a text is easier to read than 90 strings
    "is it its me my no not of on or our she should so some such than that the their them then there these they this "
    "those to was we were what when where which while who whom why will with would you your".split()
)


def indexed(text: str) -> str:
    """Return a text as it is indexed. The same text gives the same result for ever: deleting repeats it."""
    if not text.isascii():
        text = _UNSPACED.sub(r" \1 ", text)
    if _HUMP.search(text) is None:
        return text
    extra = [part for name in _IDENTIFIER.findall(text) if _HUMP.search(name) for part in _PARTS.findall(name)]
    return f"{text} {' '.join(extra)}" if extra else text


def terms(query: str) -> list[str]:
    """Return the words of a query that are searched, each once, in order."""
    found = list(dict.fromkeys(_WORD.findall(indexed(query[:10_000]).lower())))
    topical = [word for word in found if word not in STOP_WORDS]
    return (topical or found)[:MAX_TERMS]


def table(scope: int) -> str:
    """Return the name of the word table of a scope."""
    return f"words_{int(scope)}"


def create(connection: sqlite3.Connection, scope: int) -> None:
    """Make the word table of a scope."""
    connection.execute(
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {table(scope)} USING "
        "fts5(text, content='', tokenize=\"porter unicode61 remove_diacritics 2\")"
    )


def drop(connection: sqlite3.Connection, scope: int) -> None:
    """Remove the word table of a scope."""
    connection.execute(f"DROP TABLE IF EXISTS {table(scope)}")


def count(connection: sqlite3.Connection, scope: int) -> int:
    """Return how many texts a scope has, as FTS5 itself notes it: counting the rows would take longer than a search.

    Source: the record of averages in sqlite.org/src, ext/fts5/fts5_index.c; a varint, seven bits to a byte.
    """
    statement = f"SELECT block FROM {table(scope)}_data WHERE id = 1"  # noqa: S608 - the name is made of a number
    row = connection.execute(statement).fetchone()
    total = 0
    for byte in row[0] if row is not None else b"":
        total = total << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return total


def add(connection: sqlite3.Connection, scope: int, rows: Sequence[tuple[int, str]]) -> None:
    """Index (key, text) rows."""
    connection.executemany(
        f"INSERT INTO {table(scope)}(rowid, text) VALUES (?, ?)",  # noqa: S608 - the name is made of a number
        [(key, indexed(text)) for key, text in rows],
    )


def remove(connection: sqlite3.Connection, scope: int, rows: Sequence[tuple[int, str]]) -> None:
    """Take (key, text) rows out; the texts must be those that were added."""
    name = table(scope)
    connection.executemany(
        f"INSERT INTO {name}({name}, rowid, text) VALUES ('delete', ?, ?)",  # noqa: S608 - the name is made of a number
        [(key, indexed(text)) for key, text in rows],
    )


def search(
    connection: sqlite3.Connection, scope: int, words: Sequence[str], *, limit: int, allow: str | None, total: int
) -> list[tuple[int, float]]:
    """Return (key, score) of the texts with any of the words, best first.

    allow: JSON list of the only keys that may be found. total: texts in the scope. Scores in 0..1: BM25 over the most
    that these words could give.
    """
    name = table(scope)
    query = " OR ".join(f'"{word}"' for word in words)
    # The plus keeps SQLite from asking the word table anew for every key.
    condition = "" if allow is None else "AND +rowid IN (SELECT value FROM json_each(?))"
    given = [query, limit] if allow is None else [query, allow, limit]
    rows = connection.execute(
        f"SELECT rowid, rank FROM {name} WHERE {name} MATCH ? {condition} ORDER BY rank LIMIT ?",  # noqa: S608 - as above
        given,
    ).fetchall()
    if not rows:
        return []
    best = _K1_PLUS_1 * sum(_weight(connection, name, word, total) for word in words)
    return [(key, min(1.0, -rank / best)) for key, rank in rows]


def _weight(connection: sqlite3.Connection, name: str, word: str, total: int) -> float:
    """Return the inverse document frequency of a word, by the formula of FTS5's bm25()."""
    statement = f"SELECT count(*) FROM {name} WHERE {name} MATCH ?"  # noqa: S608 - as above
    hits = connection.execute(statement, (f'"{word}"',)).fetchone()[0]
    return max(log((total - hits + 0.5) / (hits + 0.5)), 1e-6)
