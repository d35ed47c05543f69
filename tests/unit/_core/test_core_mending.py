"""What removals leave of the graph: recall, the same file however it is mended, and nothing of what was removed."""

import numpy as np
import pytest

from llmspell._core import VectorIndex
from llmspell.errors import InvalidArgument

DIM, COUNT = 24, 4000


def drawn(count, seed):
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def built(vectors, **options):
    index = VectorIndex(DIM, "l2", m=8, ef_construction=60, exact_below=50, **options)
    index.add(np.arange(len(vectors)), vectors)
    return index


def recall(index, queries, ef):
    found = index.search_many(queries, 10, ef=ef)
    exact = index.search_many(queries, 10, exact=True)
    return np.mean([len(set(a.keys) & set(b.keys)) / 10 for a, b in zip(found, exact, strict=True)])


def test_elements_of_every_layer_are_linked_to_their_nearest():
    assert recall(built(drawn(COUNT, 1)), drawn(300, 2), 100) >= 0.974


def test_putting_back_what_was_removed_costs_no_recall():
    vectors, queries = drawn(COUNT, 1), drawn(300, 2)
    fresh = built(vectors)
    wanted = recall(fresh, queries, 20)
    assert 0.4 < wanted < 0.95  # so narrow a walk shows what the links are worth
    index = built(vectors)
    for seed in (3, 4):
        gone = np.random.default_rng(seed).permutation(COUNT)[: COUNT // 2]
        assert index.remove(gone) == COUNT // 2
        assert index.add(gone, vectors[gone]) == COUNT // 2
        index.compact()
        assert recall(index, queries, 20) >= wanted - 0.01
        visited = [hits.visited for hits in index.search_many(queries, 10, ef=20)]
        assert np.mean(visited) <= 1.1 * np.mean([hits.visited for hits in fresh.search_many(queries, 10, ef=20)])


def test_compacting_on_many_threads_gives_the_same_file(tmp_path):
    files = []
    for threads in (1, 2, 8):
        index = built(drawn(COUNT, 1))
        index.remove(np.arange(0, COUNT, 3))
        done = index.compact(threads=threads)
        assert done["removed"] > 1300
        assert done["relinked"] > 1000
        index.save(tmp_path / "a", sync=False)
        files.append((tmp_path / "a").read_bytes())
    assert files[0] == files[1] == files[2]
    with pytest.raises(InvalidArgument):
        index.compact(threads=-1)


def test_repair_between_calls_depends_on_the_calls_alone(tmp_path):
    files = []
    for _ in range(3):
        index = built(drawn(COUNT, 1))
        index.remove(np.arange(0, COUNT, 2))
        for step in range(30):
            index.add(np.arange(10000 + 20 * step, 10020 + 20 * step), drawn(20, step))
        index.save(tmp_path / "a", sync=False)
        files.append((tmp_path / "a").read_bytes())
    assert files[0] == files[1] == files[2]


def test_a_vector_replaced_over_and_over_is_still_found():
    vectors = drawn(600, 1)
    index = built(vectors)
    for _ in range(200):  # more often than a walk of ef_construction remembers
        index.add(0, vectors[0])
    assert index.search(vectors[0], 1).keys.tolist() == [0]
    for key in range(1000, 1200):
        index.add(key, vectors[0])
        index.remove(key - 1)
    assert index.search(vectors[0], 2).keys.tolist() == [0, 1199]
    index.compact()
    assert index.search(vectors[0], 2).keys.tolist() == [0, 1199]
