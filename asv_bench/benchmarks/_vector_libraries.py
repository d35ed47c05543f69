"""Graph indexes of several libraries behind one small face, and the vectors they are compared on.

The vectors stand for sentence embeddings: 384 numbers whose variances fall by a power law along a random basis, around
1,000 centres of which a few are common (Zipf), brought to unit length. The same seed gives the same vectors. With
exponent 0.75 the graph of hnswlib (m 16, ef_construction 200) needs a little more effort for the same recall than it
does on real embeddings of short English texts.

Every library has its own recommended settings: m 16, ef_construction 200, inner products of unit vectors (for faiss and
usearch their fastest such metric). A library that is not installed raises ImportError.
"""

import importlib

import numpy as np

DIM, K = 384, 10


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


def nearest(vectors, queries, k=K):
    """Return the true neighbours, block by block: a million rows would not fit in memory at once."""
    blocks = np.array_split(queries, max(1, len(queries) * len(vectors) // 100_000_000))
    return np.concatenate([np.argpartition(-(block @ vectors.T), k, axis=1)[:, :k] for block in blocks])


class Llmspell:
    module = "llmspell._core"
    options: dict = {}

    def build(self, vectors, threads):
        from llmspell._core import VectorIndex

        self.index = VectorIndex(vectors.shape[1], **self.options)
        self.index.add(np.arange(len(vectors)), vectors, threads=threads)

    def search(self, query, ef):
        return self.index.search(query, K, ef=ef).keys

    def search_many(self, queries, ef, threads):
        return [hits.keys for hits in self.index.search_many(queries, K, ef=ef, threads=threads)]

    def save(self, path):
        self.index.save(path, sync=False)

    def load(self, path):
        from llmspell._core import VectorIndex

        self.index = VectorIndex.open(path)


class LlmspellI8(Llmspell):
    options = {"quantization": "i8"}


class Hnswlib:
    module = "hnswlib"

    def build(self, vectors, threads):
        self.index = importlib.import_module(self.module).Index("ip", vectors.shape[1])
        self.index.init_index(len(vectors), M=16, ef_construction=200)
        self.index.set_num_threads(threads)
        self.index.add_items(vectors)

    def search(self, query, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(query, K, num_threads=1)[0][0]

    def search_many(self, queries, ef, threads):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, K, num_threads=threads)[0]

    def save(self, path):
        self.index.save_index(path)

    def load(self, path):
        self.index = importlib.import_module(self.module).Index("ip", DIM)
        self.index.load_index(path)


class Usearch:
    module = "usearch.index"

    def build(self, vectors, threads):
        library = importlib.import_module(self.module)
        self.index = library.Index(ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=200)
        self.index.add(np.arange(len(vectors)), vectors, threads=threads)

    def search(self, query, ef):
        self.index.expansion_search = ef
        return self.index.search(query, K, threads=1).keys

    def search_many(self, queries, ef, threads):
        self.index.expansion_search = ef
        return self.index.search(queries, K, threads=threads).keys

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        self.index = importlib.import_module(self.module).Index.restore(path)


class Faiss:
    module = "faiss"

    def build(self, vectors, threads):
        self.library = importlib.import_module(self.module)
        self.library.omp_set_num_threads(threads)
        self.index = self.library.IndexHNSWFlat(vectors.shape[1], 16, self.library.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = 200
        self.index.add(vectors)

    def search(self, query, ef):
        return self.search_many(query[None], ef, 1)[0]

    def search_many(self, queries, ef, threads):
        self.index.hnsw.efSearch = ef
        self.library.omp_set_num_threads(threads)
        return self.index.search(queries, K)[1]

    def save(self, path):
        self.library.write_index(self.index, path)

    def load(self, path):
        self.library = importlib.import_module(self.module)
        self.index = self.library.read_index(path)


LIBRARIES = {
    "llmspell": Llmspell,
    "llmspell i8": LlmspellI8,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "faiss": Faiss,
}
