"""What a search promises whatever is asked: k hits or all there are, by filters, thresholds, threads and processors."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llmspell._core import VectorIndex, cpu
from llmspell.errors import InvalidArgument

sys.path.insert(0, str(Path(__file__).parents[2] / "reference"))
from filters import matches

DIM = 8


def drawn(count, seed):
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def large():
    index = VectorIndex(DIM, m=6, ef_construction=12)
    index.add(np.arange(100_000), drawn(100_000, 1), threads=0)
    index.set_attrs([77_777], [{"tenant": "rare"}])
    return index


WHOLE = [0, -1, 100_001, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**400]
NO_INT = [1e308, float("nan"), float("inf"), 2.0, "3", [1]]


@pytest.mark.parametrize("name", ["k", "ef"])
@pytest.mark.parametrize("exact", [False, True])
def test_a_number_out_of_range_is_refused_by_name(large, name, exact):
    for call in (large.search, large.search_many):
        for value in WHOLE:
            with pytest.raises(InvalidArgument) as caught:
                call(np.ones((1, DIM)), exact=exact, **{name: value})
            assert caught.value.details["name"] == name
        for value in NO_INT:
            with pytest.raises(TypeError):
                call(np.ones((1, DIM)), exact=exact, **{name: value})


def test_the_widest_search_gives_no_more_than_there_is(large):
    found = large.search(np.ones(DIM), 100_000, ef=100_000)
    assert len(found.keys) == len(set(found.keys.tolist())) == 100_000
    assert found.exhausted
    assert len(large.search(np.ones(DIM), np.int64(3), ef=np.uint8(9)).keys) == 3


def test_other_arguments_have_bounds_too(large):
    for value in (-1, 257, 2**63):
        with pytest.raises(InvalidArgument):
            large.search_many(np.ones((1, DIM)), threads=value)
        with pytest.raises(InvalidArgument):
            VectorIndex(4).add(1, np.ones(4), threads=value)
        with pytest.raises(InvalidArgument):
            VectorIndex(4).compact(threads=value)
    with pytest.raises(InvalidArgument):
        large.search(np.ones(DIM), threshold=float("nan"))
    assert large.search(np.ones(DIM), threshold=1e308).keys.tolist() == []
    assert len(large.search(np.ones(DIM), threshold=-1e308).keys) == 10
    for option in ("m", "ef_construction", "ef_search", "max_elements", "exact_below"):
        with pytest.raises(InvalidArgument):
            VectorIndex(4, **{option: 2**64})
    with pytest.raises(InvalidArgument):
        VectorIndex(2**63)


def test_one_of_a_hundred_thousand_is_found(large):
    for how in ({"filter": {"tenant": "rare"}}, {"allow": [77_777, 10**9]}, {"filter": {"tenant": {"prefix": "r"}}}):
        for seed in range(5):
            found = large.search(drawn(1, seed)[0], 10, **how)
            assert found.keys.tolist() == [77_777]
            assert found.exhausted


FIELDS = {
    "n": lambda source: source.choice([0, 1, 2, 3, 7, 2**40]),
    "f": lambda source: source.choice([0.5, 1, 1.5, 2.0, -3.25]),
    "s": lambda source: source.choice(["a", "ab", "abc", "b", "é", ""]),
    "tags": lambda source: source.sample(["x", "y", "xy"], source.randint(0, 3)),
    "b": lambda source: source.random() < 0.5,
}


def drawn_attrs(source):
    return {name: draw(source) for name, draw in FIELDS.items() if source.random() < 0.8}


def drawn_filter(source, depth=0):
    way = source.randrange(10 if depth < 3 else 7)
    if way == 7:
        return {source.choice(["and", "$and"]): [drawn_filter(source, depth + 1) for _ in range(source.randint(1, 3))]}
    if way == 8:
        return {source.choice(["or", "$or"]): [drawn_filter(source, depth + 1) for _ in range(source.randint(1, 3))]}
    if way == 9:
        return {source.choice(["not", "$not"]): drawn_filter(source, depth + 1)}
    name = source.choice([*FIELDS, "absent"])
    value = FIELDS.get(source.choice([name, *FIELDS]), FIELDS["n"])(source)
    dollar = source.choice(["", "$"])
    if way < 2 and not isinstance(value, list):
        return {name: value}
    if way == 2:
        return {name: {f"{dollar}exists": source.random() < 0.5}}
    if way == 3:
        return {name: {f"{dollar}{source.choice(['in', 'nin'])}": [FIELDS[name](source) if name in FIELDS else 1] * 2}}
    if way == 4:
        return {name: {f"{dollar}{source.choice(['contains', 'prefix'])}": source.choice(["a", "x", "ab", "é"])}}
    if way == 5 and not isinstance(value, list | bool):
        return {name: {f"{dollar}{source.choice(['gt', 'gte', 'lt', 'lte'])}": value}}
    return {name: {f"{dollar}{source.choice(['eq', 'ne'])}": value}}


@pytest.mark.parametrize("quantization", ["f32", "i8"])
def test_five_hundred_filters_and_thresholds_agree_with_brute_force(quantization):
    source = random.Random(quantization)
    attrs, vectors = [drawn_attrs(source) for _ in range(1500)], drawn(1500, 2)
    index = VectorIndex(DIM, "l2", m=8, ef_construction=40, exact_below=100, quantization=quantization)
    index.add(np.arange(1500), vectors, attrs=attrs)
    held, met, walked = index.get(np.arange(1500)).astype(float), 0, 0
    for number in range(250):
        condition = drawn_filter(source)
        query, k = drawn(1, number)[0], source.choice([1, 10, 40])
        distances = np.linalg.norm(held - query, axis=1)
        passing = np.array([key for key, one in enumerate(attrs) if matches(condition, one)], dtype=int)
        least = None
        if source.random() < 0.5 and len(passing):
            least = float(1 / (1 + np.sort(distances[passing])[source.randrange(len(passing))] + 1e-4))
            passing = passing[1 / (1 + distances[passing]) >= least]
        order = passing[np.lexsort((passing, distances[passing]))]
        for exact in (True, False):
            found = index.search(query, k, ef=100, filter=condition, threshold=least, exact=exact)
            assert len(found.keys) == min(k, len(order)), condition
            assert set(found.keys.tolist()) <= set(order.tolist()), condition
            assert found.exhausted or len(found.keys) == k, condition
            assert len(order) <= k or not found.exhausted, condition
            np.testing.assert_allclose(found.distances, distances[found.keys], rtol=1e-4)
            if exact:
                np.testing.assert_allclose(found.distances, distances[order[:k]], rtol=1e-4)
            else:
                met += len(set(found.keys.tolist()) & set(order[:k].tolist()))
                walked += len(found.keys)
    assert met >= 0.97 * walked > 500


BUILD = """
import hashlib, json, sys
import numpy as np
from llmspell._core import VectorIndex

threads, folder, out = int(sys.argv[1]), sys.argv[2], {}
vectors = np.random.default_rng(1).standard_normal((1200, 40)).astype(np.float32)
for metric, codes in (("cosine", "f32"), ("l2", "f32"), ("ip", "i8")):
    index = VectorIndex(40, metric, m=6, ef_construction=40, exact_below=100, quantization=codes)
    for first in range(0, 1200, 400):
        index.add(np.arange(first, first + 400), vectors[first : first + 400], threads=threads)
    index.remove(np.arange(0, 1200, 3))
    index.add(np.arange(0, 300, 3), -vectors[:100], threads=threads)
    index.compact(threads=threads)
    index.save(folder + "/a", sync=False)
    found = index.search_many(vectors[:100] + 0.1, 10, threads=threads)
    out[metric] = [
        hashlib.blake2b(open(folder + "/a", "rb").read()).hexdigest(),
        [hits.keys.tolist() for hits in found],
        [hits.distances.tolist() for hits in found],
    ]
print(json.dumps(out))
"""


def test_threads_and_processors_give_the_same_files_and_hits(tmp_path):
    results = {}
    levels = ["baseline", "avx2", "avx512"] if cpu()["detected"] != "neon" else ["baseline", "neon"]
    for level in levels:
        for threads in (1, 8):
            folder = tmp_path / f"{level}-{threads}"
            folder.mkdir()
            done = subprocess.run(
                [sys.executable, "-c", BUILD, str(threads), str(folder)],
                env={**os.environ, "LLMSPELL_SIMD": level},
                capture_output=True,
                text=True,
                check=True,
            )
            results[level, threads] = json.loads(done.stdout)
    first = results[levels[0], 1]
    for (level, threads), result in results.items():
        assert result == results[level, 1], (level, threads)
        for metric, (file, keys, distances) in result.items():
            assert (file, keys) == tuple(first[metric][:2]), (level, metric)
            np.testing.assert_allclose(distances, first[metric][2], rtol=1e-5, atol=1e-6)
