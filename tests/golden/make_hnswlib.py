"""Write the indexes of hnswlib 0.8 and what it finds in them, beside this file."""

from __future__ import annotations

import json
from pathlib import Path

import hnswlib
import numpy as np

HERE = Path(__file__).parent
COUNT, DIM = 150, 12


def main():
    found = {}
    for space in ("cosine", "l2", "ip"):
        rng = np.random.default_rng(7)
        vectors, queries = rng.standard_normal((COUNT, DIM)), rng.standard_normal((5, DIM))
        index = hnswlib.Index(space, DIM)
        index.init_index(COUNT + 10, M=5, ef_construction=60, random_seed=3)
        index.add_items(vectors, np.arange(COUNT) * 7 + 2**40)
        for number in range(0, COUNT, 10):
            index.mark_deleted(number * 7 + 2**40)
        index.set_ef(COUNT)
        labels, distances = index.knn_query(queries, 6)
        index.save_index(str(HERE / f"hnswlib-{space}.bin"))
        found[space] = {
            "queries": queries.tolist(),
            "labels": labels.astype(int).tolist(),
            "distances": distances.tolist(),
        }
    (HERE / "hnswlib.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
