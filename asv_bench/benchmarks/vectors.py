"""Graph search beside hnswlib, usearch and faiss. `vector_peers.py` compares them at equal recall."""

import pathlib

import numpy as np

from ._vector_libraries import DIM, LIBRARIES, K, embeddings

COUNTS = [10_000, 100_000]


class GraphSearch:
    """200 queries at an effort that gives every library about the same recall: one by one, or in one call."""

    params = [list(LIBRARIES), COUNTS, [24, 50]]
    param_names = ["library", "count", "ef"]
    timeout = 3600

    def setup_cache(self):
        for count in COUNTS:
            vectors, _ = embeddings(count, 200)
            for name, library in LIBRARIES.items():
                try:
                    built = library()
                    built.build(vectors, 2)
                except ImportError:
                    continue
                built.save(f"{name} {count}")

    def setup(self, library, count, ef):
        path = pathlib.Path(f"{library} {count}")
        if not path.exists():
            raise NotImplementedError("the library is not installed")
        self.index = LIBRARIES[library]()
        self.index.load(str(path))
        self.queries = embeddings(count, 200)[1]

    def time_queries(self, library, count, ef):
        for query in self.queries:
            self.index.search(query, ef)

    def time_batch(self, library, count, ef):
        self.index.search_many(self.queries, ef, 1)

    def time_batch_two_threads(self, library, count, ef):
        self.index.search_many(self.queries, ef, 2)


class GraphBuild:
    """Building over 10,000 vectors."""

    params = [list(LIBRARIES), [1, 2]]
    param_names = ["library", "threads"]
    timeout = 600

    def setup(self, library, threads):
        self.vectors, _ = embeddings(10_000, 1)
        try:
            LIBRARIES[library]().build(self.vectors[:100], threads)
        except ImportError:
            raise NotImplementedError("the library is not installed") from None

    def time_build(self, library, threads):
        LIBRARIES[library]().build(self.vectors, threads)


class FilteredSearch:
    """A filter that keeps a share of 100,000 rows, beside comparing just the rows it keeps with numpy."""

    params = [["llmspell", "numpy"], [0.001, 0.01, 0.1, 0.5]]
    param_names = ["library", "share"]
    timeout = 600

    def setup_cache(self):
        from llmspell._core import VectorIndex

        vectors, _ = embeddings(100_000, 200)
        index = VectorIndex(DIM)
        draws = np.random.default_rng(1).random(len(vectors))
        index.add(np.arange(len(vectors)), vectors, attrs=[{"draw": float(draw)} for draw in draws], threads=2)
        index.save("filtered", sync=False)

    def setup(self, library, share):
        from llmspell._core import Filter, VectorIndex

        vectors, self.queries = embeddings(100_000, 200)
        draws = np.random.default_rng(1).random(len(vectors))
        self.kept = np.ascontiguousarray(vectors[draws < share])
        self.index, self.filter = VectorIndex.open("filtered"), Filter({"draw": {"lt": share}})

    def time_queries(self, library, share):
        for query in self.queries:
            if library == "llmspell":
                self.index.search(query, K, filter=self.filter)
            else:
                np.argpartition(-(self.kept @ query), K)[:K]


class Opening:
    """Opening 100,000 saved vectors by map, with the first query."""

    timeout = 600

    def setup_cache(self):
        vectors, queries = embeddings(100_000, 1)
        built = LIBRARIES["llmspell"]()
        built.build(vectors, 2)
        built.save("opened")
        return queries[0]

    def time_open(self, query):
        LIBRARIES["llmspell"]().load("opened")

    def time_open_and_search(self, query):
        index = LIBRARIES["llmspell"]()
        index.load("opened")
        index.search(query, 50)
