from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmspell import errors
from llmspell._core import Hits, VectorIndex

sys.path.insert(0, str(Path(__file__).parents[2] / "reference"))
from vectors import NaiveIndex

METRICS = ["cosine", "l2", "ip", "l1"]


def filled(count=300, dim=37, metric="cosine", seed=1):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    index = VectorIndex(dim, metric)
    index.add(np.arange(count), vectors)
    return index, vectors


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 3, 16, 31, 64, 129, 384])
def test_search_agrees_with_brute_force(metric, dim):
    index, vectors = filled(200, dim, metric)
    naive = NaiveIndex(dim, metric)
    naive.add(range(200), vectors)
    for query in np.random.default_rng(2).standard_normal((5, dim)).astype(np.float32):
        hits = index.search(query, 7)
        expected = naive.search(query, 7)
        assert isinstance(hits, Hits)
        assert np.allclose(hits.distances, [distance for distance, _ in expected], rtol=2e-5, atol=2e-5)
        assert np.all(np.diff(hits.distances) >= 0)
        assert (hits.exhausted, hits.visited) == (False, 200)
        for key, distance in zip(hits.keys, hits.distances, strict=True):
            assert distance == pytest.approx(naive.distance(query, naive.rows[int(key)]), rel=2e-5, abs=2e-5)


def test_scores_follow_the_metric():
    for metric, distance, score in [("cosine", 0.0, 1.0), ("l2", 5.0, 1 / 6), ("l1", 7.0, 1 / 8), ("ip", -50.0, 50.0)]:
        index = VectorIndex(2, metric)
        index.add(1, [6.0, 8.0])
        hits = index.search([3.0, 4.0])
        assert hits.distances[0] == pytest.approx(distance, abs=1e-6)
        assert hits.scores[0] == pytest.approx(score, rel=1e-6)


def test_ties_are_broken_by_the_smaller_key():
    index = VectorIndex(4)
    index.add([9, 3, 7, 1], np.ones((4, 4)))
    assert index.search(np.ones(4), 3).keys.tolist() == [1, 3, 7]


def test_fewer_than_k_hits_are_exhausted_and_k_hits_only_when_nothing_is_left():
    index, vectors = filled(5)
    assert index.search(vectors[0], 4).exhausted is False
    assert index.search(vectors[0], 5).exhausted is True
    assert len(index.search(vectors[0], 50).keys) == 5
    empty = VectorIndex(3).search([1, 2, 3])
    assert (len(empty.keys), empty.exhausted, empty.visited) == (0, True, 0)


def test_threshold_is_a_minimum_score():
    index, vectors = filled()
    all_hits = index.search(vectors[0], 300)
    limit = float(all_hits.scores[20])
    hits = index.search(vectors[0], 300, threshold=limit)
    assert hits.keys.tolist() == all_hits.keys[: len(hits.keys)].tolist()
    assert 20 <= len(hits.keys) <= 22
    assert hits.exhausted


def test_only_allowed_keys_are_found():
    index, vectors = filled()
    hits = index.search(vectors[4], 10, allow=[250, 4, 4, 17, 100000])
    assert set(hits.keys.tolist()) == {4, 17, 250}
    assert hits.keys[0] == 4
    assert hits.exhausted
    assert len(index.search(vectors[4], 10, allow=[]).keys) == 0


def test_search_many_equals_single_searches():
    index, vectors = filled()
    for threads in (1, 3, 0):
        for one, many in zip(vectors[:9], index.search_many(vectors[:9], 4, threads=threads), strict=True):
            assert index.search(one, 4).keys.tolist() == many.keys.tolist()
    assert index.search_many(np.zeros((0, 37), np.float32)) == []


def test_get_returns_the_very_vectors_in_the_order_asked():
    index, vectors = filled()
    assert np.array_equal(index.get([7, 3, 7]), vectors[[7, 3, 7]])
    with pytest.raises(errors.NotFound):
        index.get([1, 12345])


def test_a_later_row_replaces_an_earlier_one():
    index = VectorIndex(2, "l2")
    assert index.add([5, 6, 5], [[1, 1], [2, 2], [3, 3]]) == 2
    assert index.get(5).tolist() == [[3, 3]]
    assert index.add([5, 7], [[4, 4], [9, 9]]) == 1
    assert index.search([4, 4], 1).keys.tolist() == [5]
    assert len(index) == 3


def test_replace_off_refuses_live_and_repeated_keys_and_adds_nothing():
    index = VectorIndex(2, "l2")
    index.add(5, [1, 1])
    for keys in ([4, 5], [8, 8]):
        with pytest.raises(errors.DuplicateKey) as caught:
            index.add(keys, [[1, 1], [2, 2]], replace=False)
        assert caught.value.details["key"] == keys[1]
    assert index.keys().tolist() == [5]


@pytest.mark.parametrize(
    ("vectors", "error", "details"),
    [
        ([[1, 2, 3], [1, np.nan, 1]], errors.NonFiniteValue, {"row": 1, "column": 1}),
        ([[1, 2, 3], [1, 1e300, 1]], errors.NonFiniteValue, {"row": 1, "column": 1}),
        ([[0, 0, 0], [1, 1, 1]], errors.ZeroVector, {"row": 0}),
        ([[1, 2], [1, 1]], errors.DimensionMismatch, {"expected": 3, "got": 2}),
        ([[1, 2, 3]], errors.InvalidArgument, {}),
        ([[[1, 2, 3]]], errors.InvalidArgument, {}),
    ],
)
def test_bad_vectors_are_refused_whole(vectors, error, details):
    index = VectorIndex(3)
    with pytest.raises(error) as caught:
        index.add([1, 2], vectors)
    assert details.items() <= caught.value.details.items()
    assert len(index) == 0


def test_bad_queries_and_numbers_are_refused():
    index, _ = filled(5, 3)
    with pytest.raises(errors.ZeroVector):
        index.search([0, 0, 0])
    with pytest.raises(errors.NonFiniteValue):
        index.search([1, np.inf, 0])
    with pytest.raises(errors.DimensionMismatch):
        index.search([1, 0])
    for options in ({"k": 0}, {"k": 100_001}):
        with pytest.raises(errors.InvalidArgument):
            index.search([1, 1, 1], **options)
    for threads in (-1, 257):
        with pytest.raises(errors.InvalidArgument):
            index.search_many([[1, 1, 1]], threads=threads)
    with pytest.raises(errors.InvalidArgument):
        index.add(-1, [1, 1, 1])
    for wrong in (1.5, "a", [None], [True]):
        with pytest.raises(TypeError):
            index.add(wrong, [1, 1, 1])
    with pytest.raises(TypeError):
        index.add(1, np.array([object()] * 3))


@pytest.mark.parametrize("arguments", [(0,), (65536,), (3, "hamming")])
def test_a_bad_index_is_not_made(arguments):
    with pytest.raises(errors.InvalidArgument):
        VectorIndex(*arguments)


def test_aliases_name_the_four_metrics():
    aliases = {
        "cos": "cosine",
        "euclidean": "l2",
        "dot": "ip",
        "inner_product": "ip",
        "innerproduct": "ip",
        "manhattan": "l1",
    }
    for alias, metric in aliases.items():
        assert VectorIndex(2, alias).metric == metric


def test_other_number_types_are_converted():
    index = VectorIndex(2, "l2")
    for key, dtype in enumerate((np.float64, np.float16, np.int8, np.float32)):
        index.add(key, np.array([[1, 2, 3, 4]], dtype)[:, ::2])
    assert index.get([0, 1, 2, 3]).tolist() == [[1, 3]] * 4


@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e25, 3e38])
@pytest.mark.parametrize("metric", METRICS)
def test_tiny_and_huge_vectors_have_true_distances(scale, metric):
    vectors = (np.array([[1, 0.5], [0.1, -1]]) * scale).astype(np.float32)
    index = VectorIndex(2, metric)
    index.add([0, 1], vectors)
    naive = NaiveIndex(2, metric)
    naive.add([0, 1], vectors)
    hits = index.search(vectors[0], 2)
    assert not np.isnan(hits.distances).any()
    if metric == "cosine":
        assert hits.distances == pytest.approx([d for d, _ in naive.search(vectors[0], 2)], rel=1e-4, abs=1e-4)


def test_max_elements_is_a_wall():
    index = VectorIndex(2, max_elements=3)
    index.add([1, 2], np.ones((2, 2)))
    with pytest.raises(errors.LimitExceeded):
        index.add([2, 3, 4], np.ones((3, 2)))
    assert index.keys().tolist() == [1, 2]


def test_closed_and_cleared_indexes_behave():
    index, vectors = filled(10)
    index.clear()
    assert len(index) == 0
    index.add(1, vectors[0])
    index.close()
    index.close()
    for call in (
        lambda: index.search(vectors[0]),
        lambda: index.add(1, vectors[0]),
        index.keys,
        index.stats,
        index.clear,
    ):
        with pytest.raises(errors.ComponentError, match="closed"):
            call()


def test_stats_count_what_happened():
    index, vectors = filled(10)
    index.remove([1, 2, 99])
    index.search(vectors[0])
    stats = index.stats()
    assert (stats["count"], stats["removed"], stats["mode"], stats["searches"]) == (8, 2, "exact", 1)
    per_vector = (VectorIndex(37).stats()["memory_bytes"], filled(2000)[0].stats()["memory_bytes"])
    assert per_vector[0] <= 4096
    assert per_vector[1] - 2000 * 37 * 4 <= 2000 * 24 + 4096


def test_searches_see_every_key_exactly_once_while_a_writer_replaces():
    index, vectors = filled(200, 16)
    stop = threading.Event()
    wrong: list[object] = []

    def look():
        while not stop.is_set():
            keys = index.search(vectors[0], 400).keys
            if len(keys) != 200 or len(set(keys.tolist())) != 200:
                wrong.append(keys)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        index.add(np.arange(200), vectors)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_levels_agree(level):
    program = (
        "import numpy as np; from llmspell._core import VectorIndex, cpu; r = np.random.default_rng(1)\n"
        "for metric in ('cosine', 'l2', 'ip', 'l1'):\n"
        "    i = VectorIndex(101, metric); i.add(np.arange(50), r.standard_normal((50, 101)))\n"
        "    h = i.search(r.standard_normal(101), 50); print(*h.keys, *h.distances)\n"
        "print(cpu()['active'])"
    )
    runs = []
    for wish in (level, "nonsense"):
        environment = {**os.environ, "LLMSPELL_SIMD": wish}
        out = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        runs.append(out.stdout.split())
    assert np.allclose([float(x) for x in runs[0][:-1]], [float(x) for x in runs[1][:-1]], rtol=1e-5, atol=1e-6)
    if level == "baseline":
        assert runs[0][-1] == "baseline"


def test_an_index_is_closed_in_a_forked_child():
    program = (
        "import os; from llmspell import errors; from llmspell._core import VectorIndex; i = VectorIndex(2)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try: i.keys()\n"
        "    except errors.ComponentError: os._exit(7)\n"
        "    os._exit(1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


class Machine(RuleBasedStateMachine):
    keys = st.lists(st.integers(0, 60), max_size=40)

    def __init__(self):
        super().__init__()
        self.index, self.naive = VectorIndex(3, "l2"), NaiveIndex(3, "l2")

    @rule(keys=keys, seed=st.integers(0, 1000))
    def add(self, keys, seed):
        vectors = np.random.default_rng(seed).integers(-9, 9, (len(keys), 3)).astype(np.float32)
        assert self.index.add(np.array(keys, np.int64), vectors) == self.naive.add(keys, vectors)

    @rule(keys=keys)
    def remove(self, keys):
        assert self.index.remove(np.array(keys, np.int64)) == self.naive.remove(keys)

    @rule()
    def clear(self):
        self.index.clear()
        self.naive.rows.clear()

    @rule(query=st.lists(st.integers(-9, 9), min_size=3, max_size=3), k=st.integers(1, 70), allow=st.none() | keys)
    def search(self, query, k, allow):
        hits = self.index.search(query, k, allow=None if allow is None else np.array(allow, np.int64))
        assert hits.keys.tolist() == [key for _, key in self.naive.search(query, k, allow)]

    @invariant()
    def holds_the_same_keys(self):
        assert self.index.keys().tolist() == sorted(self.naive.rows)
        assert len(self.index) == len(self.naive.rows)
        assert self.index.contains(np.arange(61)).tolist() == [key in self.naive.rows for key in range(61)]


Machine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestStateful = Machine.TestCase
