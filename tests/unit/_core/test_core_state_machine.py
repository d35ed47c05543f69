"""Any sequence of calls, saves and openings leaves what plain dictionaries and brute force say."""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmspell._core import VectorIndex

sys.path.insert(0, str(Path(__file__).parents[2] / "reference"))
from vectors import NaiveIndex

DIM, K = 8, 6
KEYS = st.lists(st.integers(0, 90), min_size=1, max_size=40)
CONDITIONS = {
    "all": (None, lambda attrs: True),
    "equal": ({"n": 1}, lambda attrs: attrs.get("n") == 1),
    "range": ({"n": {"$gte": 1, "lt": 3}}, lambda attrs: 1 <= attrs.get("n", -1) < 3),
    "missing": ({"n": {"exists": False}}, lambda attrs: "n" not in attrs),
    "either": ({"or": [{"n": 0}, {"s": {"prefix": "b"}}]}, lambda attrs: attrs.get("n") == 0 or attrs["s"][0] == "b"),
    "not": ({"not": {"s": ["a0", "b1"]}}, lambda attrs: attrs["s"] not in ("a0", "b1")),
    "nobody": ({"n": 77}, lambda attrs: False),
}


def drawn(count, seed):
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def attrs_of(key, seed):
    attrs = {"s": "ab"[key % 2] + str(key % 3)}
    return attrs if (key + seed) % 5 == 0 else {**attrs, "n": (key + seed) % 4}


class IndexAndDictionary(RuleBasedStateMachine):
    @initialize(
        metric=st.sampled_from(["cosine", "l2", "ip", "l1"]),
        codes=st.sampled_from([{}, {"quantization": "i8"}, {"quantization": "i8", "keep_f32": True}]),
        exact_below=st.sampled_from([0, 12, 30]),
    )
    def begin(self, metric, codes, exact_below):
        self.folder = Path(tempfile.mkdtemp())
        self.exact = metric == "l1" or not codes or "keep_f32" in codes
        self.index = VectorIndex(
            DIM, metric, m=4, ef_construction=24, exact_below=exact_below, **({} if metric == "l1" else codes)
        )
        self.naive, self.attrs = NaiveIndex(DIM, metric), {}

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(keys=KEYS, seed=st.integers(0, 9), threads=st.sampled_from([1, 3]))
    def add(self, keys, seed, threads):
        """New keys and keys that are replaced; of a repeated one the last counts."""
        vectors = drawn(len(keys), seed)
        attrs = [attrs_of(key, seed) for key in keys]
        assert self.index.add(keys, vectors, attrs=attrs, threads=threads) == self.naive.add(keys, vectors)
        self.attrs.update(zip(keys, attrs, strict=True))

    @rule(keys=KEYS)
    def remove(self, keys):
        assert self.index.remove(keys) == self.naive.remove(keys)
        for key in keys:
            self.attrs.pop(key, None)

    @rule(
        keys=st.lists(st.integers(0, 90), min_size=1, max_size=20, unique=True),
        n=st.integers(0, 5),
        merge=st.booleans(),
    )
    def set_attrs(self, keys, n, merge):
        changes = [{"n": n if n < 5 else None} if merge else {"n": n, "s": f"b{n}"} for _ in keys]
        present = [key for key in keys if key in self.attrs]
        assert self.index.set_attrs(keys, changes, merge=merge) == len(present)
        for key in present:
            merged = {**(self.attrs[key] if merge else {}), **changes[0]}
            self.attrs[key] = {name: value for name, value in merged.items() if value is not None}

    @rule(threads=st.sampled_from([1, 4]))
    def compact(self, threads):
        self.index.compact(threads=threads)
        assert self.index.stats()["count"] == len(self.attrs)

    @rule()
    def clear(self):
        self.index.clear()
        self.naive.rows.clear()
        self.attrs.clear()

    @rule(mmap=st.booleans(), verify=st.sampled_from(["header", "graph", "full"]), tag=st.binary(max_size=9))
    def save_and_open(self, mmap, verify, tag):
        """What was saved is opened, and goes on in place of the one that saved it."""
        path = self.folder / "index"
        mode, found = self.index.mode, self.index.search(drawn(1, 50)[0], K, ef=100)
        assert self.index.save(path, sync=False, tag=tag) == path.stat().st_size
        self.index.close()
        self.index = VectorIndex.open(path, mmap=mmap, verify=verify)
        assert (self.index.mode, self.index.tag) == (mode, tag)
        again = self.index.search(drawn(1, 50)[0], K, ef=100)
        if mode == "exact":
            assert again.keys.tolist() == found.keys.tolist()
            assert again.distances.tolist() == found.distances.tolist()

    def passing(self, condition, allow):
        passes = CONDITIONS[condition][1]
        return {key for key, attrs in self.attrs.items() if passes(attrs) and (allow is None or key in allow)}

    @rule(
        condition=st.sampled_from(sorted(CONDITIONS)),
        seed=st.integers(20, 40),
        allow=st.none() | st.sets(st.integers(0, 99), max_size=60),
        k=st.sampled_from([1, K, 200]),
    )
    def search(self, condition, seed, allow, k):
        query, among = drawn(1, seed)[0], self.passing(condition, allow)
        how = {"filter": CONDITIONS[condition][0], "allow": None if allow is None else sorted(allow)}
        wanted = self.naive.search(query, k, among)
        exact = self.index.search(query, k, exact=True, **how)
        self.agrees(exact, wanted)
        walked = self.index.search(query, k, ef=300, **how)
        assert len(walked.keys) == len(wanted)
        assert set(walked.keys.tolist()) <= among
        assert walked.exhausted or len(walked.keys) == k
        assert len(among) <= k or not walked.exhausted
        many = self.index.search_many(drawn(3, seed), k, ef=300, threads=2, **how)
        assert many[0].keys.tolist() == walked.keys.tolist()
        assert [len(hits.keys) for hits in many] == [len(wanted)] * 3

    def agrees(self, found, wanted):
        assert len(found.keys) == len(wanted)
        if self.exact:
            np.testing.assert_allclose(found.distances, [distance for distance, _ in wanted], rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_allclose(found.distances, [distance for distance, _ in wanted], rtol=0.05, atol=0.2)

    @precondition(lambda self: self.attrs)
    @rule(data=st.data(), share=st.floats(0.1, 0.9))
    def threshold(self, data, share):
        """Exactly those that score as much are found, and it is known that they are all."""
        query = drawn(1, data.draw(st.integers(20, 40)))[0]
        scores = np.sort(self.index.search(query, 200, exact=True).scores)
        least = float(scores[int(share * len(scores))])
        found = self.index.search(query, 200, threshold=least)
        assert found.exhausted
        assert found.scores.tolist() == scores[scores >= np.float32(least)][::-1].tolist()

    @invariant()
    def holds_the_same(self):
        if hasattr(self, "attrs"):
            keys = sorted(self.attrs)
            assert len(self.index) == len(keys)
            assert self.index.keys().tolist() == keys
            assert self.index.get_attrs(keys) == [self.attrs[key] for key in keys]
            assert self.index.contains(range(100)).tolist() == [key in self.attrs for key in range(100)]
            if keys and self.exact:
                held = np.array([self.naive.rows[key] for key in keys], dtype=np.float32)
                assert np.array_equal(self.index.get(keys), held)


TestIndexAndDictionary = IndexAndDictionary.TestCase
TestIndexAndDictionary.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
