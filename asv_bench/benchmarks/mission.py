"""What an index of 100,000 vectors does within a program's patience: `python asv_bench/benchmarks/mission.py [count]`.

Searches, inserts, opening a saved file, and filters that keep few or many rows, beside numpy comparing just the rows
kept. Medians of the clock in microseconds or milliseconds.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from _vector_libraries import DIM, K, embeddings

from llmspell._core import Filter, VectorIndex

SHARES = (0.001, 0.01, 0.1, 0.5)
ROUNDS = 5


def microseconds(act, inputs):
    took = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for one in inputs:
            act(one)
        took.append((time.perf_counter() - begin) / len(inputs) * 1e6)
    return float(np.median(took))


def inserts(index, vectors, threads):
    took = []
    for turn in range(ROUNDS):
        rng = np.random.default_rng(turn)
        rows = vectors[1000 * turn : 1000 * turn + 1000] + 0.02 * rng.standard_normal((1000, DIM), dtype=np.float32)
        keys = np.arange(1000) + 10_000_000 * threads + 1000 * turn
        begin = time.perf_counter()
        index.add(keys, rows, threads=threads)
        took.append((time.perf_counter() - begin) * 1e3)
    return float(np.median(took))


def opening(path, query):
    opened, searched = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        index = VectorIndex.open(path)
        opened.append((time.perf_counter() - begin) * 1e3)
        found = index.search(query, K).keys.tolist()
        searched.append((time.perf_counter() - begin) * 1e3)
    return float(np.median(opened)), float(np.median(searched)), found


def main(count):
    vectors, queries = embeddings(count, 300)
    draws = np.random.default_rng(1).random(count)
    index = VectorIndex(DIM)
    index.add(np.arange(count), vectors, attrs=[{"draw": float(draw)} for draw in draws], threads=0)
    sys.stdout.write(f"search of {count:,}: {microseconds(lambda query: index.search(query, K), queries):.0f} us\n")
    for share in SHARES:
        kept, keys = np.ascontiguousarray(vectors[draws < share]), np.flatnonzero(draws < share)
        condition = Filter({"draw": {"lt": share}})
        found = [index.search(query, K, filter=condition).keys.tolist() for query in queries]
        true = [keys[np.argpartition(-(kept @ query), K)[:K]].tolist() for query in queries]
        recall = sum(len(set(a) & set(b)) for a, b in zip(found, true, strict=True)) / (K * len(queries))
        walked = microseconds(lambda query, condition=condition: index.search(query, K, filter=condition), queries)
        compared = microseconds(lambda query, kept=kept: np.argpartition(-(kept @ query), K)[:K], queries)
        sys.stdout.write(
            f"filter keeping {share:.1%}: {walked:.0f} us at recall {recall:.4f}; comparing the {len(keys):,} rows "
            f"with numpy: {compared:.0f} us\n"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.lsvx"
        index.save(path)
        opened, searched, found = opening(path, queries[0])
        same = found == index.search(queries[0], K).keys.tolist()
        sys.stdout.write(f"open by map: {opened:.1f} ms, with the first query {searched:.1f} ms, same hits: {same}\n")
    for threads in (1, 2):
        sys.stdout.write(f"1,000 inserts, {threads} threads: {inserts(index, vectors, threads):.0f} ms\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
