"""Indexes that hnswlib saved: found as there, and refused where their bytes cannot be right."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from llmspell._core import VectorIndex
from llmspell.errors import CorruptData, DimensionMismatch, InvalidArgument, LimitExceeded, StorageFailure

GOLDEN = Path(__file__).parents[2] / "golden"
DIM, SPACES = 12, ["cosine", "l2", "ip"]
FIRST, HEADER, M = 2**40, 96, 5
STRIDE = (2 * M + 1) * 4 + DIM * 4 + 8


def native(space, distances):
    """Return distances of hnswlib in our measure: the root of its squares, its 1 - dot as -dot."""
    distances = np.asarray(distances)
    return np.sqrt(distances) if space == "l2" else distances - (space == "ip")


def golden(space, **options):
    return VectorIndex.import_hnswlib(GOLDEN / f"hnswlib-{space}.bin", DIM, space, **options)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("exact_below", [0, 2048])
def test_an_imported_index_finds_what_hnswlib_found(space, exact_below):
    index = golden(space, exact_below=exact_below, name="old")
    assert (index.mode, index.metric, index.name, len(index)) == (
        "exact" if exact_below else "graph",
        space,
        "old",
        135,
    )
    assert (index.stats()["m"], index.stats()["ef_construction"]) == (M, 60)
    wanted = json.loads((GOLDEN / "hnswlib.json").read_text())[space]
    for query, labels, distances in zip(wanted["queries"], wanted["labels"], wanted["distances"], strict=True):
        found = index.search(query, 6, ef=150)
        assert found.keys.tolist() == labels
        np.testing.assert_allclose(found.distances, native(space, distances), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"quantization": "i8"}, {"quantization": "i8", "keep_f32": True}])
def test_an_imported_index_goes_on_like_any_other(tmp_path, options):
    index = golden("l2", exact_below=10, **options)
    dead = FIRST + 7 * np.arange(0, 150, 10)
    assert not index.contains(dead).any()
    assert index.stats()["removed"] == len(dead)
    vectors = np.random.default_rng(1).standard_normal((40, DIM)).astype(np.float32)
    assert index.add(np.concatenate([dead, np.arange(25)]), vectors) == 40
    assert index.remove([FIRST + 7, 3]) == 2
    assert index.compact()["removed"] == len(dead) + 2
    index.save(tmp_path / "a")
    other = VectorIndex.open(tmp_path / "a", verify="full")
    assert len(other) == 173
    for key, vector in zip([*dead, *range(25)], vectors, strict=True):
        if key != 3:
            assert other.search(vector, 1, ef=100).keys.tolist() == [key]


def patched(tmp_path, *changes):
    data = bytearray((GOLDEN / "hnswlib-cosine.bin").read_bytes())
    for at, form, *values in changes:
        struct.pack_into(f"<{form}", data, at, *values)
    (tmp_path / "a").write_bytes(data)
    return tmp_path / "a"


def element(number):
    return HEADER + number * STRIDE


@pytest.mark.parametrize(
    ("change", "section", "offset"),
    [
        ((0, "Q", 8), "header", 0),
        ((8, "Q", 149), "header", 8),
        ((16, "Q", 151), "links", None),
        ((16, "Q", 2**63), "header", 16),
        ((24, "Q", STRIDE + 4), "header", 24),
        ((32, "Q", 2**64 - 8), "header", 32),
        ((40, "Q", 0), "header", 40),
        ((48, "i", 101), "header", 48),
        ((48, "i", 0), "links", None),
        ((52, "I", 150), "header", 52),
        ((56, "Q", 2**62), "header", 56),
        ((64, "Q", 11), "header", 64),
        ((80, "d", float("nan")), "header", 80),
        ((88, "Q", 4), "header", 88),
        ((element(1), "H", 11), "elements", element(1)),
        ((element(1) + 2, "B", 2), "elements", element(1) + 2),
        ((element(1) + 4, "I", 150), "elements", element(1) + 4),
        ((element(1) + 48, "f", float("inf")), "vectors", element(1) + 48),
        ((element(1) + 44, "12f", *[0.0] * 12), "vectors", element(1) + 44),
        ((element(1) + 92, "q", -1), "labels", element(1) + 92),
        ((element(1) + 92, "q", FIRST + 14), "labels", element(1) + 92),
        ((element(150), "I", 23), "links", element(150)),
        ((element(150), "I", 2**32 - 8), "links", element(150)),
    ],
)
def test_a_number_that_cannot_be_is_named_with_its_place(tmp_path, change, section, offset):
    with pytest.raises(CorruptData) as caught:
        VectorIndex.import_hnswlib(patched(tmp_path, change), DIM, exact_below=0)
    assert caught.value.details["section"] == section
    if section == "labels":
        assert "each of them once" in str(caught.value)
        assert caught.value.details["offset"] in (offset, offset + STRIDE)
    elif offset is not None:
        assert caught.value.details["offset"] == offset


def test_what_is_asked_must_fit_the_file(tmp_path):
    path = GOLDEN / "hnswlib-l2.bin"
    for wrong, error in (
        ({"dim": DIM + 1}, DimensionMismatch),
        ({"dim": DIM, "metric": "l1"}, InvalidArgument),
        ({"dim": DIM, "metric": "hamming"}, InvalidArgument),
        ({"dim": DIM, "max_elements": 149}, LimitExceeded),
        ({"dim": DIM, "ef_search": 0}, InvalidArgument),
    ):
        with pytest.raises(error):
            VectorIndex.import_hnswlib(path, **wrong)
    with pytest.raises(StorageFailure):
        VectorIndex.import_hnswlib(tmp_path / "absent", DIM)
    golden("l2").save(tmp_path / "own")
    for other in (tmp_path / "own", GOLDEN / "hnswlib.json", tmp_path):
        with pytest.raises(CorruptData):
            VectorIndex.import_hnswlib(other, DIM)


def test_an_index_of_the_library_at_hand_is_as_good_here(tmp_path):
    hnswlib = pytest.importorskip("hnswlib", reason="hnswlib is not installed")
    rng = np.random.default_rng(0)
    vectors, queries = rng.standard_normal((4000, 24)), rng.standard_normal((200, 24))
    for space in SPACES:
        theirs = hnswlib.Index(space, 24)
        theirs.init_index(4000, M=8, ef_construction=80, random_seed=5)
        theirs.add_items(vectors, np.arange(4000), num_threads=1)
        theirs.save_index(str(tmp_path / "a"))
        ours = VectorIndex.import_hnswlib(tmp_path / "a", 24, space)
        exact = ours.search_many(queries, 10, exact=True)
        for ef in (20, 60):
            theirs.set_ef(ef)
            labels, distances = theirs.knn_query(queries, 10, num_threads=1)
            found = ours.search_many(queries, 10, ef=ef)
            same = np.mean([len(set(a.keys) & set(b)) for a, b in zip(found, labels, strict=True)]) / 10
            recall = np.mean([len(set(a.keys) & set(b.keys)) for a, b in zip(found, exact, strict=True)]) / 10
            others = np.mean([len(set(a) & set(b.keys)) for a, b in zip(labels, exact, strict=True)]) / 10
            assert same >= 0.95
            assert recall >= others - 0.005
        np.testing.assert_allclose(found[0].distances[0], native(space, distances)[0, 0], rtol=1e-4)
    empty = hnswlib.Index("l2", 24)
    empty.init_index(10)
    empty.save_index(str(tmp_path / "a"))
    ours = VectorIndex.import_hnswlib(tmp_path / "a", 24, "l2")
    assert len(ours) == 0
    assert ours.add(1, np.ones(24)) == 1
