"""Text to vectors: the built-in embedder beside scikit-learn's hashing, and what the cache and the client add.

Peers that are not installed are skipped. Texts are made of words by Zipf's law, about 2 KB each.
"""

import asyncio
import random

import numpy as np

from llmspell._core import HashEmbedder
from llmspell.embedders import find
from llmspell.embedders._cache import VectorCache
from llmspell.embedders._source import Source

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def texts_of(count, size=2048, seed=1):
    dice = random.Random(seed)
    words = ["".join(dice.choices(LETTERS, k=dice.randint(2, 10))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return [" ".join(dice.choices(words, weights, k=size // 3))[:size] for _ in range(count)]


class Hashing:
    """Word and character n-grams of texts."""

    params = (["llmspell", "llmspell-2-threads", "scikit-learn"], [1, 32, 256])
    param_names = ["library", "texts"]

    def setup(self, library, count):
        self.texts = texts_of(count)
        if library == "scikit-learn":
            try:
                from sklearn.feature_extraction.text import HashingVectorizer
            except ImportError as error:
                raise NotImplementedError("scikit-learn is not installed") from error
            self.run = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5)).transform
            return
        embedder, threads = HashEmbedder(), 2 if library.endswith("threads") else 1
        self.run = lambda texts: embedder.embed(texts, threads=threads)

    def time_embed(self, library, count):
        self.run(self.texts)


class Recall:
    """How often 60 % of the words of a passage find it first among 1000."""

    def track_first(self):
        dice = random.Random(2)
        passages = texts_of(1000, size=600)
        embedder = HashEmbedder()
        rows = embedder.embed(passages)
        queries = []
        for passage in passages:
            words = passage.split()
            queries.append(" ".join(dice.sample(words, len(words) * 6 // 10)))
        return float(np.mean((embedder.embed(queries) @ rows.T).argmax(axis=1) == np.arange(1000)))

    track_first.unit = "share"


class Kept:
    """256 texts through the cache: none known, all known."""

    params = [False, True]
    param_names = ["known"]

    def setup(self, known):
        self.texts = texts_of(256, size=512)
        self.source = Source(find("builtin"), VectorCache(entries=10_000, max_bytes=1 << 30, ttl_s=0))
        self.loop = asyncio.new_event_loop()
        if known:
            self.time_embed(known)

    def teardown(self, known):
        self.loop.close()

    def time_embed(self, known):
        run = self.source.run("global", cache=True)
        if not known:
            self.source._cache.forget("global")
        self.loop.run_until_complete(run.embed(self.texts))
