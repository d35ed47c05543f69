"""The graph, its filters and its file, against brute force."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from llmspell._core import Filter, VectorIndex
from llmspell.errors import CorruptData, InvalidArgument, LimitExceeded, NotFound, StorageFailure, VersionMismatch

DIM = 16


def drawn(count, seed=0, dim=DIM):
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def graph(count=1000, attrs=None, **options):
    index = VectorIndex(DIM, exact_below=50, m=8, ef_construction=60, **options)
    vectors = drawn(count)
    index.add(np.arange(count), vectors, attrs=attrs)
    return index, vectors


def recall(index, queries, ef=200, **how):
    found = [set(index.search(query, 10, ef=ef, **how).keys.tolist()) for query in queries]
    exact = [set(index.search(query, 10, exact=True, **how).keys.tolist()) for query in queries]
    return np.mean([len(a & b) / max(1, len(b)) for a, b in zip(found, exact, strict=True)])


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip", "l1"])
def test_every_metric_reaches_recall_by_the_graph(metric):
    index, _ = graph(metric=metric)
    assert index.mode == "graph"
    assert recall(index, drawn(30, 1)) >= 0.98


@pytest.mark.parametrize("options", [{"quantization": "i8"}, {"quantization": "int8", "keep_f32": True}])
def test_codes_of_one_byte_reach_recall_and_give_vectors_back(options):
    index, vectors = graph(**options)
    assert index.quantization == "i8"
    assert recall(index, drawn(30, 1)) >= 0.98
    wanted = 1e-6 if options.get("keep_f32") else 0.02
    assert np.abs(index.get([3, 5]) - vectors[[3, 5]]).max() <= wanted * np.abs(vectors).max()


def test_distances_of_the_graph_are_those_of_the_scan():
    index, _ = graph()
    query = drawn(1, 3)[0]
    near, exact = index.search(query, 5, ef=300), index.search(query, 5, exact=True)
    assert near.keys.tolist() == exact.keys.tolist()
    np.testing.assert_allclose(near.distances, exact.distances, rtol=1e-5)
    assert exact.visited == 1000 > near.visited


def test_options_out_of_range_are_refused():
    for wrong in ({"m": 1}, {"m": 129}, {"ef_construction": 8}, {"ef_search": 0}, {"quantization": "i4"}):
        with pytest.raises(InvalidArgument):
            VectorIndex(4, **wrong)
    with pytest.raises(InvalidArgument):
        VectorIndex(4, "l1", quantization="i8")
    with pytest.raises(InvalidArgument):
        VectorIndex(4).search(np.ones(4), ef=0)


def test_the_graph_goes_when_few_vectors_are_left():
    index, _ = graph()
    index.remove(np.arange(980))
    assert index.compact()["removed"] == 980
    assert index.mode == "exact"
    assert len(index.search(np.ones(DIM), 100).keys) == 20


ROWS = [
    {"n": 1, "f": 1.5, "s": "abc", "b": True, "tags": ["x", "y"]},
    {"n": 2, "f": 2, "s": "abd", "b": False, "tags": []},
    {"n": 3.0, "s": "b"},
    {},
    None,
]


@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ({"n": 1}, [0]),
        ({"n": 3}, [2]),
        ({"f": 2.0}, [1]),
        ({"n": [1, 2, 9]}, [0, 1]),
        ({"n": {"$gte": 2}}, [1, 2]),
        ({"n": {"gt": 1, "lt": 3}}, [1]),
        ({"n": {"$ne": 1}}, [1, 2, 3, 4]),
        ({"n": {"$nin": [1, 2]}}, [2, 3, 4]),
        ({"n": {"lte": 1}}, [0]),
        ({"n": "1"}, []),
        ({"b": True}, [0]),
        ({"b": 1}, []),
        ({"s": {"$prefix": "ab"}}, [0, 1]),
        ({"s": {"contains": "b"}}, [0, 1, 2]),
        ({"s": {"gt": "abc"}}, [1, 2]),
        ({"tags": {"contains": "x"}}, [0]),
        ({"tags": {"$eq": ["x", "y"]}}, [0]),
        ({"tags": {"exists": False}}, [2, 3, 4]),
        ({"f": {"$exists": True}}, [0, 1]),
        ({"$and": [{"n": {"gt": 0}}, {"b": False}]}, [1]),
        ({"or": [{"n": 1}, {"s": "b"}]}, [0, 2]),
        ({"not": {"n": {"gt": 0}}}, [3, 4]),
        ({"n": 1, "s": "abd"}, []),
        ({"unknown": 1}, []),
        ({}, [0, 1, 2, 3, 4]),
    ],
)
def test_a_filter_keeps_what_it_says(condition, keys):
    index = VectorIndex(2, "l2")
    index.add(np.arange(5), np.eye(5, 2), attrs=ROWS)
    found = index.search([0, 0], 10, filter=condition)
    assert sorted(found.keys.tolist()) == keys
    assert found.exhausted
    assert sorted(index.search([0, 0], 10, filter=Filter(condition)).keys.tolist()) == keys


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": {"$near": 1}},
        {"$xor": []},
        {"and": {}},
        {"n": {"in": 3}},
        {"n": {"exists": 1}},
        {"n": {"prefix": 1}},
        {"n": object()},
        [],
        {"or": [{"n": i} for i in range(300)]},
    ],
)
def test_a_wrong_filter_is_refused(wrong):
    with pytest.raises(InvalidArgument):
        Filter(wrong)


def test_a_filter_that_is_too_deep_is_refused():
    condition = {"n": 1}
    for _ in range(40):
        condition = {"not": condition}
    with pytest.raises(InvalidArgument):
        Filter(condition)


@pytest.mark.parametrize("modulus", [2, 10, 200])
def test_a_filtered_search_finds_k_whatever_share_passes(modulus):
    index, _ = graph(2000, attrs=[{"n": i % modulus} for i in range(2000)])
    for query in drawn(5, 7):
        found = index.search(query, 10, filter={"n": 1})
        assert len(found.keys) == 10
        assert set(found.keys % modulus) == {1}
    assert recall(index, drawn(20, 8), filter={"n": 1}) >= 0.97


def test_allow_and_threshold_hold_in_the_graph():
    index, vectors = graph()
    allow = np.arange(0, 1000, 3)
    found = index.search(vectors[7], 10, allow=allow)
    assert set(found.keys % 3) == {0}
    assert recall(index, drawn(20, 8), allow=allow) >= 0.97
    above = index.search(vectors[7], 10, threshold=0.99)
    assert above.keys.tolist() == [7]
    assert above.exhausted


def test_attributes_are_changed_merged_and_bounded():
    index = VectorIndex(2)
    index.add([1, 2], np.eye(2), attrs=[{"a": 1, "b": "x"}, None])
    assert index.set_attrs([1, 2, 9], [{"b": None, "c": ["l"]}, {"a": 2.5}, {"a": 1}]) == 2
    assert index.get_attrs([1, 2]) == [{"a": 1, "c": ["l"]}, {"a": 2.5}]
    index.set_attrs(1, [{"z": True}], merge=False)
    assert index.get_attrs(1) == [{"z": True}]
    with pytest.raises(NotFound):
        index.get_attrs(9)
    with pytest.raises(LimitExceeded):
        index.add(3, [1, 1], attrs=[{f"c{i}": 1 for i in range(65)}])
    with pytest.raises(InvalidArgument):
        index.add(3, [1, 1], attrs=[{"s": "x" * 5000}])
    with pytest.raises(InvalidArgument):
        index.add(3, [1, 1], attrs=[])
    assert len(index) == 2


def test_replacing_a_vector_replaces_its_attributes():
    index, vectors = graph(200, attrs=[{"n": i} for i in range(200)])
    index.add(5, -vectors[5], attrs=[{"m": 1}])
    assert index.get_attrs(5) == [{"m": 1}]
    assert index.search(-vectors[5], 1).keys.tolist() == [5]
    assert index.search(vectors[5], 200).keys.tolist().count(5) == 1


@pytest.mark.parametrize("mmap", [True, False])
def test_a_saved_index_opens_with_all_it_held(tmp_path, mmap):
    index, vectors = graph(300, attrs=[{"n": i} for i in range(300)])
    index.remove([3])
    path = tmp_path / "a.lsvx"
    assert index.save(path, tag=b"\x00mark") == path.stat().st_size
    other = VectorIndex.open(path, mmap=mmap, verify="full")
    assert (other.tag, other.mode, len(other), other.dim) == (b"\x00mark", "graph", 299, DIM)
    assert other.get_attrs([4]) == [{"n": 4}]
    np.testing.assert_array_equal(other.get([4]), vectors[[4]])
    before = path.read_bytes()
    other.add(1000, vectors[0] * 2)
    other.remove([4])
    assert 1000 in other.search(vectors[0], 2).keys
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.lsvx"]


def test_nothing_removed_is_in_the_file(tmp_path):
    index, vectors = graph(200, attrs=[{"s": f"secret-{i}-"} for i in range(200)])
    index.remove([17])
    index.save(tmp_path / "a")
    data = (tmp_path / "a").read_bytes()

    def traces(vector):
        lower_halves = (vector.view(np.uint32) & 0xFFFF).astype(np.uint16)
        codes = np.rint(vector / np.abs(vector).max() * 127).astype(np.int8)
        return [part.tobytes() in data for part in (lower_halves, codes)]

    assert traces(vectors[17]) == [False, False]
    assert traces(vectors[18]) == [True, True]
    assert b"secret-17-" not in data


def test_a_read_only_index_refuses_changes(tmp_path):
    graph(100)[0].save(tmp_path / "a")
    index = VectorIndex.open(tmp_path / "a", writable=False)
    with pytest.raises(InvalidArgument):
        index.remove([1])
    assert len(index.search(np.ones(DIM)).keys) == 10


def test_damage_is_named(tmp_path):
    path = tmp_path / "a"
    graph(100)[0].save(path)
    data = bytearray(path.read_bytes())
    at = data.index(np.int64(57).tobytes() + np.int64(58).tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptData) as caught:
        VectorIndex.open(path)
    assert caught.value.details["section"] == "keys"
    assert caught.value.details["path"] == str(path)
    data[4] = 9
    path.write_bytes(data)
    with pytest.raises(VersionMismatch):
        VectorIndex.open(path)
    with pytest.raises(StorageFailure):
        VectorIndex.open(tmp_path / "absent")
    with pytest.raises(StorageFailure):
        graph(100)[0].save(tmp_path / "no" / "such")


class GraphAndDictionary(RuleBasedStateMachine):
    """Any sequence of changes leaves exactly what a dictionary holds, found by scan and, nearly always, by walk."""

    @initialize(quantization=st.sampled_from(["f32", "i8"]))
    def begin(self, quantization):
        self.index = VectorIndex(
            DIM, "l2", m=4, ef_construction=30, exact_below=20, quantization=quantization, keep_f32=True
        )
        self.held = {}

    @rule(first=st.integers(0, 150), count=st.integers(1, 60), seed=st.integers(0, 5))
    def add(self, first, count, seed):
        vectors = drawn(count, seed)
        keys = list(range(first, first + count))
        attrs = [{"odd": key % 2 == 1} for key in keys]
        assert self.index.add(keys, vectors, attrs=attrs) == len(set(keys) - set(self.held))
        self.held.update(zip(keys, vectors, strict=True))

    @rule(first=st.integers(0, 150), count=st.integers(1, 60))
    def remove(self, first, count):
        keys = list(range(first, first + count))
        assert self.index.remove(keys) == sum(self.held.pop(key, None) is not None for key in keys)

    @rule()
    def compact(self):
        self.index.compact()
        assert self.index.stats()["removed"] >= 0

    @rule(seed=st.integers(10, 20), odd=st.booleans())
    def search(self, seed, odd):
        query = drawn(1, seed)[0]
        for condition, keys in (
            (None, list(self.held)),
            ({"odd": odd}, [key for key in self.held if (key % 2 == 1) == odd]),
        ):
            wanted = sorted((float(np.linalg.norm(self.held[key] - query)), key) for key in keys)[:5]
            exact = self.index.search(query, 5, filter=condition, exact=True)
            np.testing.assert_allclose(exact.distances, [pair[0] for pair in wanted], rtol=1e-4)
            walked = self.index.search(query, 5, ef=200, filter=condition)
            assert len(walked.keys) == len(wanted)
            assert set(walked.keys.tolist()) <= set(keys)

    @invariant()
    def holds_the_same_keys(self):
        if hasattr(self, "held"):
            assert self.index.keys().tolist() == sorted(self.held)


TestGraphAndDictionary = GraphAndDictionary.TestCase
TestGraphAndDictionary.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip", "l1"])
def test_vectors_come_back_bit_by_bit_from_a_graph_its_file_and_what_is_left_of_it(tmp_path, metric):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((300, 48)).astype(np.float32)
    vectors[::7] *= rng.choice([1e-6, 1e-3, 1.0], (43, 48)).astype(np.float32)
    vectors[::5, ::3] = 0.0
    index = VectorIndex(48, metric, exact_below=40, m=8)
    index.add(np.arange(300), vectors)
    index.save(tmp_path / "a")
    for one in (index, VectorIndex.open(tmp_path / "a"), VectorIndex.open(tmp_path / "a", mmap=False)):
        assert one.mode == "graph"
        assert one.get(np.arange(300)).tobytes() == vectors.tobytes()
        one.add(np.arange(100, 300), vectors[::-1][:200])
        assert one.get(np.arange(100, 300)).tobytes() == vectors[::-1][:200].tobytes()
        one.remove(np.arange(20, 300))
        one.compact()
        assert one.mode == "exact"
        assert one.get(np.arange(20)).tobytes() == vectors[:20].tobytes()
        assert metric == "ip" or one.search(vectors[3], 1).keys.tolist() == [3]
