"""Vector storage as a program uses it: one tenant of many, durable inserts, filters, expiry, beside the bare core.

`python rag.py [count]` prints a table of medians in milliseconds; the core is measured on the same vectors in the same
process. SQLite alone is what the same rows cost in a table of their own.
"""

import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from llmspell._core import VectorIndex
from llmspell.vectors import HnswVectors, VectorEntry, VectorQuery

try:
    from ._vector_libraries import embeddings
except ImportError:
    from _vector_libraries import embeddings

SHARES = (0.001, 0.01, 0.1, 0.5)
K = 10


def median_ms(act, rounds):
    took = []
    for turn in range(rounds):
        began = time.perf_counter()
        act(turn)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1000


def entries(vectors, first=0, **more):
    return [
        VectorEntry(
            id=f"d{at}",
            embedding=row,
            text="a few words of text",
            metadata={"part": at % 1000, "kind": "even" if at % 2 == 0 else "odd"},
            **more,
        )
        for at, row in enumerate(vectors, first)
    ]


def filled(folder, vectors, *, scope="global", **more):
    storage = HnswVectors(folder)
    for start in range(0, len(vectors), 10_000):
        storage.store_many(entries(vectors[start : start + 10_000], start, scope=scope, **more))
    storage.persist()
    storage.search(VectorQuery(vector=vectors[0], scope=scope))
    return storage


class Store:
    """A storage of 10,000 vectors and an index of the same."""

    def setup(self):
        self.folder = Path(tempfile.mkdtemp(prefix="llmspell-bench-"))
        self.vectors, self.queries = embeddings(10_000, 200)
        self.storage = filled(self.folder, self.vectors)
        self.index = VectorIndex(384)
        self.index.add(np.arange(len(self.vectors)), self.vectors)

    def teardown(self):
        self.storage.close()
        shutil.rmtree(self.folder)


class Search(Store):
    """200 searches."""

    def time_core(self):
        for query in self.queries:
            self.index.search(query, K)

    def time_storage(self):
        for query in self.queries:
            self.storage.search(VectorQuery(vector=query, k=K))

    def time_storage_with_a_filter(self):
        for query in self.queries:
            self.storage.search(VectorQuery(vector=query, k=K, filter={"kind": "even"}))


class Insert(Store):
    """1,000 inserts in one call, durable."""

    number = 1
    warmup_time = 0

    def time_storage(self):
        self.storage.store_many(entries(self.vectors[:1000] + 0.01, 1_000_000))


class Tenants:
    """Searches in one of 100 tenants, and in a storage of that one alone."""

    params = ["one of 100", "alone"]
    param_names = ["tenants"]

    def setup(self, tenants):
        self.folder = Path(tempfile.mkdtemp(prefix="llmspell-bench-"))
        vectors, self.queries = embeddings(1000, 200)
        self.storage = HnswVectors(self.folder)
        for number in range(100 if tenants == "one of 100" else 1):
            self.storage.store_many(entries(vectors, tenant_id=f"t{number}"))
            self.storage.search(VectorQuery(vector=vectors[0], tenant_id=f"t{number}"))

    def time_search(self, tenants):
        for query in self.queries:
            self.storage.search(VectorQuery(vector=query, k=K, tenant_id="t0"))

    def teardown(self, tenants):
        self.storage.close()
        shutil.rmtree(self.folder)


class Expiry:
    """A sweep of 10,000 expired entries."""

    number = 1
    repeat = 3
    warmup_time = 0

    def setup(self):
        self.folder = Path(tempfile.mkdtemp(prefix="llmspell-bench-"))
        vectors, _ = embeddings(10_000, 1)
        self.storage = filled(self.folder, vectors, scope="session:s", ttl_seconds=0.001)

    def time_sweep(self):
        self.storage.sweep()

    def teardown(self):
        self.storage.close()
        shutil.rmtree(self.folder)


def bare_insert(folder, vectors):
    """Return the milliseconds that SQLite needs for the same rows."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "CREATE TABLE d(key INTEGER PRIMARY KEY, id TEXT UNIQUE, meta TEXT, text TEXT, data BLOB);"
    )
    rows = [(f"d{at}", "{}", "a few words of text", row.tobytes()) for at, row in enumerate(vectors)]
    began = time.perf_counter()
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO d(id, meta, text, data) VALUES (?, ?, ?, ?)", rows)
    connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.close()
    return took * 1000


def searches(storage, index, vectors, queries):
    yield "core: search", median_ms(lambda turn: index.search(queries[turn], K), len(queries))
    exact = median_ms(lambda turn: index.search(queries[turn], K, exact=True), 20)
    yield "core: exact scan of all", exact
    yield (
        "storage: search",
        median_ms(lambda turn: storage.search(VectorQuery(vector=queries[turn], k=K)), len(queries)),
    )
    storage.search(VectorQuery(vector=queries[0], k=K, filter={"part": 1}))
    for share in SHARES:
        wanted = {"part": {"lt": int(share * 1000)}}
        allow = np.flatnonzero(np.arange(len(vectors)) % 1000 < share * 1000)
        yield (
            f"storage: filter keeps {share:.1%}",
            median_ms(
                lambda turn, wanted=wanted: storage.search(VectorQuery(vector=queries[turn], k=K, filter=wanted)), 100
            ),
        )
        rows = np.ascontiguousarray(vectors[allow])
        kept = VectorIndex(384, exact_below=1_000_000_000)
        kept.add(np.arange(len(rows)), rows)
        yield (
            f"core: exact scan of these {len(allow)}",
            median_ms(lambda turn, kept=kept: kept.search(queries[turn], K), 20),
        )


def inserts(storage, index, vectors, folder):
    rows = np.roll(vectors[:1000], 1, axis=1)
    keys = np.arange(len(vectors), len(vectors) + 1000)
    began = time.perf_counter()
    index.add(keys, rows, threads=0)
    yield "core: 1,000 inserts", (time.perf_counter() - began) * 1000
    batch = entries(np.roll(vectors[1000:2000], 1, axis=1), 10_000_000)
    began = time.perf_counter()
    storage.store_many(batch)
    yield "storage: 1,000 inserts, durable", (time.perf_counter() - began) * 1000
    yield "SQLite alone: the rows of 1,000 inserts", bare_insert(folder, rows)


def tenants(folder):
    vectors, queries = embeddings(1000, 400)
    alone, many = HnswVectors(folder / "alone"), HnswVectors(folder / "many")
    alone.store_many(entries(vectors))
    for number in range(100):
        many.store_many(entries(vectors, tenant_id=f"t{number}"))
        many.search(VectorQuery(vector=queries[0], tenant_id=f"t{number}"))
    took = {"a storage of 1,000 alone": [], "one of 100 tenants of 1,000": [], "tenants in turn": []}
    for _ in range(5):
        for name, act in (
            ("a storage of 1,000 alone", lambda turn: alone.search(VectorQuery(vector=queries[turn]))),
            (
                "one of 100 tenants of 1,000",
                lambda turn: many.search(VectorQuery(vector=queries[turn], tenant_id="t7")),
            ),
            (
                "tenants in turn",
                lambda turn: many.search(VectorQuery(vector=queries[turn], tenant_id=f"t{turn % 100}")),
            ),
        ):
            took[name].append(median_ms(act, len(queries)))
    yield from ((f"tenants: {name}", min(values)) for name, values in took.items())
    alone.close()
    many.close()


def expiry(folder):
    vectors, queries = embeddings(10_000, 10)
    storage = filled(folder / "expiry", vectors, scope="session:s", ttl_seconds=30)
    query = VectorQuery(vector=queries[0], scope="session:s")
    real, later = time.time, time.time() + 60
    time.time = lambda: later
    try:
        began = time.perf_counter()
        assert len(storage.search(query)) == 0
        yield "expiry: first search after 10,000 entries expired", (time.perf_counter() - began) * 1000
        began = time.perf_counter()
        assert storage.sweep() == 10_000
        yield "expiry: sweep of 10,000", (time.perf_counter() - began) * 1000
    finally:
        time.time = real
    storage.close()


def main(count):
    folder = Path(tempfile.mkdtemp(prefix="llmspell-bench-"))
    vectors, queries = embeddings(count, 300)
    index = VectorIndex(384)
    index.add(np.arange(count), vectors, threads=0)
    began = time.perf_counter()
    storage = filled(folder / "large", vectors)
    lines = [(f"storage: {count} stored, graph built and saved", (time.perf_counter() - began) * 1000)]
    storage.close()
    began = time.perf_counter()
    storage = HnswVectors(folder / "large")
    storage.search(VectorQuery(vector=queries[0], k=K))
    lines.append(("storage: opened, first search", (time.perf_counter() - began) * 1000))
    for part in (
        searches(storage, index, vectors, queries),
        inserts(storage, index, vectors, folder),
        tenants(folder),
        expiry(folder),
    ):
        lines.extend(part)
    storage.close()
    shutil.rmtree(folder)
    for name, figure in lines:
        sys.stdout.write(f"{name:52} {figure:12.3f} ms\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
