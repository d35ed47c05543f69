"""Graph search beside hnswlib, usearch and faiss, at equal recall.

The vectors stand for sentence embeddings: 384 numbers whose variances fall by a power law along a random basis, around
1,000 centres of which a few are common (Zipf), brought to unit length. The same seed gives the same vectors. With
exponent 0.75 the graph of hnswlib (m 16, ef_construction 200) needs a little more effort for the same recall than it
does on real embeddings of short English texts.

`python vectors.py [count]` prints a table: every library builds once, then answers all queries at each effort in five
interleaved rounds; figures are medians, interpolated at recall 0.95 and 0.99. Libraries that are missing are left out.
"""

import importlib
import sys
import time

import numpy as np

from llmspell._core import VectorIndex

DIM, K, ROUNDS = 384, 10, 5
EFFORTS = (10, 16, 24, 32, 50, 75, 100, 150, 200)
TARGETS = (0.95, 0.99)


def embeddings(count, queries, dim=DIM, seed=7):
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, dim + 1) ** -0.75).astype(np.float32)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    centres = rng.standard_normal((1000, dim)).astype(np.float32) * spectrum
    every = count + queries
    rows = 0.8 * centres[rng.zipf(1.3, every) % len(centres)]
    rows = (rows + rng.standard_normal((every, dim), dtype=np.float32) * spectrum) @ basis
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[:count], rows[count:]


def build_llmspell(vectors, **options):
    index = VectorIndex(DIM, **options)
    index.add(np.arange(len(vectors)), vectors)
    return lambda query, ef: index.search(query, K, ef=ef).keys


def build_llmspell_i8(vectors):
    return build_llmspell(vectors, quantization="i8")


def build_hnswlib(vectors):
    index = importlib.import_module("hnswlib").Index("ip", DIM)
    index.init_index(len(vectors), M=16, ef_construction=200)
    index.set_num_threads(1)
    index.add_items(vectors)

    def search(query, ef):
        index.set_ef(ef)
        return index.knn_query(query, K)[0][0]

    return search


def build_usearch(vectors):
    library = importlib.import_module("usearch.index")
    index = library.Index(ndim=DIM, metric="ip", dtype="f32", connectivity=16, expansion_add=200)
    index.add(np.arange(len(vectors)), vectors, threads=1)

    def search(query, ef):
        index.expansion_search = ef
        return index.search(query, K, threads=1).keys

    return search


def build_faiss(vectors):
    library = importlib.import_module("faiss")
    library.omp_set_num_threads(1)
    index = library.IndexHNSWFlat(DIM, 16, library.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.add(vectors)

    def search(query, ef):
        index.hnsw.efSearch = ef
        return index.search(query[None], K)[1][0]

    return search


LIBRARIES = {
    "llmspell": build_llmspell,
    "llmspell i8": build_llmspell_i8,
    "hnswlib": build_hnswlib,
    "usearch": build_usearch,
    "faiss": build_faiss,
}


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


class GraphSearch:
    """One query at a time over 10,000 vectors at an effort that gives every library about the same recall."""

    params = [list(LIBRARIES), [24, 50]]
    param_names = ["library", "ef"]
    timeout = 600

    def setup(self, library, ef):
        vectors, self.queries = embeddings(10_000, 200)
        try:
            self.search = LIBRARIES[library](vectors)
        except ImportError:
            raise NotImplementedError from None

    def time_queries(self, library, ef):
        for query in self.queries:
            self.search(query, ef)


class GraphBuild:
    """Building over 10,000 vectors."""

    params = [list(LIBRARIES)]
    param_names = ["library"]
    timeout = 600

    def setup(self, library):
        self.vectors, _ = embeddings(10_000, 1)
        if library in ("hnswlib", "usearch", "faiss"):
            try:
                importlib.import_module(library)
            except ImportError:
                raise NotImplementedError from None

    def time_build(self, library):
        LIBRARIES[library](self.vectors)


class GraphBatch:
    """200 queries in one call over 10,000 vectors, on one thread and on all."""

    params = [1, 0]
    param_names = ["threads"]

    def setup(self, threads):
        vectors, self.queries = embeddings(10_000, 200)
        self.index = VectorIndex(DIM)
        self.index.add(np.arange(len(vectors)), vectors)

    def time_search_many(self, threads):
        self.index.search_many(self.queries, K, ef=50, threads=threads)


def measure(searches, queries, truth):
    figures = {name: {} for name in searches}
    for _ in range(ROUNDS):
        for ef in EFFORTS:
            for name, search in searches.items():
                begin = time.perf_counter()
                found = [search(query, ef) for query in queries]
                speed = len(queries) / (time.perf_counter() - begin)
                same = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(found, truth, strict=True))
                figures[name].setdefault(ef, (same / truth.size, []))[1].append(speed)
    return figures


def at_recall(curve, target):
    points = sorted((recall, float(np.median(speeds))) for recall, speeds in curve.values())
    recalls = [recall for recall, _ in points]
    return float(np.interp(target, recalls, [speed for _, speed in points])) if recalls[-1] >= target else 0.0


def main(count):
    vectors, queries = embeddings(count, 300)
    truth = np.argpartition(-(queries @ vectors.T), K, axis=1)[:, :K]
    searches, lines = {}, {}
    for name, build in LIBRARIES.items():
        before, begin = resident(), time.perf_counter()
        try:
            searches[name] = build(vectors)
        except ImportError:
            continue
        lines[name] = [time.perf_counter() - begin, (resident() - before) / 1e6]
    figures = measure(searches, queries, truth)
    sys.stdout.write("library       build s    MB   " + "   ".join(f"qps at {target}" for target in TARGETS) + "\n")
    for name, (seconds, megabytes) in lines.items():
        speeds = "   ".join(f"{at_recall(figures[name], target):11.0f}" for target in TARGETS)
        sys.stdout.write(f"{name:12} {seconds:8.1f} {megabytes:5.0f}   {speeds}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
