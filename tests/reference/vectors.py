"""A brute-force index in plain numpy, double precision: what the compiled one must agree with."""

from __future__ import annotations

import numpy as np


class NaiveIndex:
    def __init__(self, dim, metric):
        self.dim, self.metric, self.rows = dim, metric, {}

    def add(self, keys, vectors):
        new = len(set(keys) - set(self.rows))
        self.rows.update(zip(keys, np.asarray(vectors, dtype=np.float64), strict=True))
        return new

    def remove(self, keys):
        return sum(self.rows.pop(key, None) is not None for key in keys)

    def distance(self, query, row):
        query = np.asarray(query, dtype=np.float64)
        if self.metric == "cosine":
            return 1 - query @ row / (np.linalg.norm(query) * np.linalg.norm(row))
        if self.metric == "l2":
            return np.linalg.norm(query - row)
        if self.metric == "l1":
            return np.abs(query - row).sum()
        return -(query @ row)

    def search(self, query, k, allow=None):
        rows = {key: row for key, row in self.rows.items() if allow is None or key in allow}
        return sorted((self.distance(query, row), key) for key, row in rows.items())[:k]
