"""A collection: rows are the truth, searches agree with brute force, scopes and processes, damage, kill."""

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from llmspell.errors import CorruptData, DimensionMismatch, InvalidArgument, NonFiniteValue, ZeroVector
from llmspell.vectors import Catalog, Collection, Part, Query, Recorded, Stored, compile_filter

DIM = 16
RECORDED = Recorded(embedder="t", embedder_id="t", dimensions=DIM, metric="cosine", created=1.0)
RNG = np.random.default_rng(7)


def entry(ident, texts=("some words",), vectors=None, **more):
    rows = RNG.normal(size=(len(texts), DIM)).astype(np.float32) if vectors is None else np.asarray(vectors, np.float32)
    parts, at = [], 0
    for text in texts:
        parts.append(Part(text, at, 2))
        at += len(text)
    return Stored(id=ident, parts=parts, vectors=rows, digest=b"d", ingested=more.pop("ingested", time.time()), **more)


@pytest.fixture
def made(tmp_path):
    found = Collection("c", str(tmp_path / "c" / "data.db"), recorded=RECORDED)
    yield found
    found.close()


def ids(result):
    return [hit.id for hit in result[0]]


def vector(*numbers):
    return np.asarray([*numbers, *[0.0] * (DIM - len(numbers))], np.float32)


def test_the_file_and_its_folder_belong_to_the_owner_alone(made):
    assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(made.path)).st_mode) == 0o700


def test_a_document_comes_back_with_its_whole_text(made):
    parts = [Part("Hello wo", 0, 2), Part("o world.", 7, 2), Part("!", 14, 1)]
    vectors = RNG.normal(size=(3, DIM)).astype(np.float32)
    made.put(
        "global",
        [Stored(id="a", parts=parts, vectors=vectors, digest=b"", metadata={"k": [1, {"x": None}]}, ingested=1.0)],
    )
    found = made.get("global", "a")
    assert found["content"] == "Hello wo world!"
    assert found["metadata"] == {"k": [1, {"x": None}]}


def test_the_same_id_replaces_and_keeps_the_time_of_creation(made):
    made.put("global", [entry("a", ["old text", "more"], ingested=5.0)])
    made.search("global", Query(k=1, vector=vector(1)))
    made.put("global", [entry("a", ["new words"], ingested=9.0)])
    assert made.get("global", "a")["created_at"] == 5.0
    assert made.stats("global")["vectors"] == 1
    assert ids(made.search("global", Query(k=5, words="old"))) == []
    assert ids(made.search("global", Query(k=5, words="new"))) == ["a"]
    assert ids(made.search("global", Query(k=5, vector=vector(1)))) == ["a"]


def test_search_agrees_with_brute_force_under_random_filters_and_changes(made):
    rng = random.Random(3)
    kept = {}
    for step in range(12):
        batch = []
        for number in rng.sample(range(60), 12):
            row = RNG.normal(size=DIM).astype(np.float32)
            meta = {"a": rng.randrange(4), "b": rng.random()}
            when = rng.choice([None, 10.0, 20.0])
            kept[f"d{number}"] = (row, meta, when)
            batch.append(entry(f"d{number}", ["w"], [row], metadata=meta, event_time=when))
        made.put("s:1", batch)
        for gone in rng.sample(sorted(kept), 3):
            made.delete("s:1", [gone])
            del kept[gone]
        spec = rng.choice([{}, {"a": 1}, {"a": [0, 2]}, {"b": {"lt": 0.3}}, {"not": {"a": 3}}, {"a": 9}])
        window = rng.choice([None, (5.0, 15.0), (None, 20.0)])
        query = RNG.normal(size=DIM).astype(np.float32)
        k = rng.choice([1, 5, 100])
        found, exhausted, _ = made.search(
            "s:1", Query(k=k, vector=query, matches=compile_filter(spec), event_time=window)
        )
        passing = {
            ident: float(row @ query / np.linalg.norm(row) / np.linalg.norm(query))
            for ident, (row, meta, when) in kept.items()
            if compile_filter(spec)(meta)
            and (window is None or (when is not None and (window[0] or 0) <= when < window[1]))
        }
        expected = sorted(passing, key=lambda ident: -max(0.0, passing[ident]))
        positive = [ident for ident in expected if passing[ident] > 0][:k]
        assert [hit.id for hit in found][: len(positive)] == positive
        assert len(found) == min(k, len(passing))
        assert exhausted == (len(passing) <= k), step


def test_scopes_see_nothing_of_each_other_not_even_in_scores(made):
    made.put("tenant:a", [entry("d", ["zebra crossing"]), entry("e", ["other thing"]), entry("f", ["third thing"])])
    before = [hit.scores for hit in made.search("tenant:a", Query(k=5, words="zebra"))[0]]
    made.put("tenant:b", [entry(f"x{n}", ["zebra zebra"]) for n in range(50)])
    after = [hit.scores for hit in made.search("tenant:a", Query(k=5, words="zebra"))[0]]
    assert before == after
    assert ids(made.search("tenant:a", Query(k=99, vector=vector(1))))
    assert made.stats("tenant:a")["documents"] == 3
    assert made.get("tenant:a", "x1") is None
    assert made.delete("tenant:a", ["x1"]) == 0
    assert made.delete_scope("tenant:a")["vectors"] == 3
    assert made.stats("tenant:b")["documents"] == 50


@pytest.mark.parametrize(
    "words",
    [
        '"',
        "a AND",
        "NEAR(x y)",
        "text:x",
        "-x",
        "*",
        "^x (",
        "x' OR 1=1 --",
        "a\0b",
        "\ud800" * 0 + "col:*",
        "   ",
        "({[",
    ],
)
def test_words_of_users_are_never_syntax(made, words):
    made.put("global", [entry("a", ["a text near x"])])
    made.search("global", Query(k=3, words=words))


def test_diacritics_stems_identifiers_and_unspaced_scripts_are_found(made):
    made.put(
        "global",
        [
            entry("a", ["caf\u00e9 cr\u00e8me"]),
            entry("b", ["it parses members"]),
            entry("c", ["class ZipFile"]),
            entry("d", ["\u4eca\u65e5\u306f\u5929\u6c17"]),
        ],
    )
    for words, ident in (
        ("cafe", "a"),
        ("parsing member", "b"),
        ("zip file", "c"),
        ("\u5929\u6c17", "d"),
        ("ZIPFILE", "c"),
    ):
        assert ids(made.search("global", Query(k=1, words=words))) == [ident], words


def test_expired_documents_are_invisible_and_swept(made):
    made.put("global", [entry("a", expires=time.time() - 1), entry("b", expires=time.time() + 99)])
    assert ids(made.search("global", Query(k=5, vector=vector(1)))) == ["b"]
    assert ids(made.search("global", Query(k=5, words="words"))) == ["b"]
    assert len(made.search("global", Query(k=5, vector=vector(1), expired=True))[0]) == 2
    assert made.get("global", "a") is None
    assert made.sweep() == 1
    assert made.stats("global")["documents"] == 1


def test_ties_are_in_the_order_of_ids(made):
    made.put("global", [entry(name, ["same"], [vector(1)]) for name in ("c", "a", "b", "e", "d")])
    assert ids(made.search("global", Query(k=3, vector=vector(1), words="same"))) == ["a", "b", "c"]


def test_the_threshold_cuts_keyword_hits_by_their_similarity(made):
    made.put("global", [entry("near", ["apple"], [vector(1)]), entry("far", ["apple pie"], [vector(0, 1)])])
    found, exhausted, _ = made.search("global", Query(k=5, vector=vector(1), words="pie", threshold=0.5))
    assert [hit.id for hit in found] == ["near"]
    assert exhausted


def test_another_connection_sees_what_was_written_here_and_the_other_way_round(made):
    made.put("global", [entry("a", ["one"], [vector(1)])])
    other = Collection("c", made.path)
    assert ids(other.search("global", Query(k=5, vector=vector(1)))) == ["a"]
    made.put("global", [entry("b", ["two"], [vector(1)])])
    assert ids(other.search("global", Query(k=5, vector=vector(1)))) == ["a", "b"]
    other.delete("global", ["a"])
    assert ids(made.search("global", Query(k=5, vector=vector(1)))) == ["b"]
    other.close()


def test_a_failed_put_leaves_nothing(made):
    made.put("global", [entry("a", ["kept"])])
    with pytest.raises(DimensionMismatch):
        made.put(
            "global",
            [
                entry("b"),
                Stored(id="c", parts=[Part("x", 0, 1)], vectors=np.ones((1, 3), np.float32), digest=b"", ingested=1.0),
            ],
        )
    assert [row["id"] for row in made.documents("global", limit=9)] == ["a"]


@pytest.mark.parametrize(("row", "error"), [([float("nan")] * DIM, NonFiniteValue), ([0.0] * DIM, ZeroVector)])
def test_a_vector_that_no_index_takes_is_not_stored(made, row, error):
    made.put("global", [entry("a", ["kept"])])
    with pytest.raises(error):
        made.put("global", [entry("b"), entry("c", ["x"], [row])])
    assert ids(made.search("global", Query(k=9, vector=vector(1)))) == ["a"]


def test_lost_word_tables_are_rebuilt_from_the_rows(made):
    made.put("global", [entry("a", ["needle here"])])
    made.close()
    raw = sqlite3.connect(made.path)
    raw.execute("DELETE FROM words_1_data")
    raw.commit()
    raw.close()
    again = Collection("c", made.path)
    assert ids(again.search("global", Query(k=5, words="needle"))) == ["a"]
    again.close()


def test_a_damaged_file_is_reported_as_such(tmp_path):
    file = tmp_path / "data.db"
    file.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(CorruptData):
        Collection("c", str(file))


def test_names_become_folders_that_cannot_escape_or_collide(tmp_path):
    catalog = Catalog(tmp_path / "v", memory=False, durability="none", max_bytes=1 << 20)
    names = ["../../etc", "a/b", "Docs", "docs", ".", "\u00fc", "x y"]
    for name in names:
        catalog.make(name, RECORDED)
    assert catalog.names() == sorted(names)
    assert sorted(path.parent.parent for path in tmp_path.rglob("data.db")) == [tmp_path / "v"] * len(names)
    for bad in ("", "x" * 300, "a\0b", "\ud800"):
        with pytest.raises(InvalidArgument):
            catalog.find(bad)
    catalog.close()


def test_a_file_whose_making_was_interrupted_is_no_collection(tmp_path):
    catalog = Catalog(tmp_path, memory=False, durability="normal", max_bytes=1 << 20)
    (tmp_path / "half").mkdir()
    raw = sqlite3.connect(tmp_path / "half" / "data.db")
    raw.execute("PRAGMA journal_mode = WAL")
    raw.close()
    assert catalog.find("half") is None
    catalog.make("half", RECORDED).put("global", [entry("a")])
    assert catalog.names() == ["half"]
    catalog.close()


def test_a_killed_process_leaves_whole_documents_only(tmp_path):
    path = str(tmp_path / "c" / "data.db")
    program = textwrap.dedent(f"""
        import numpy as np
        from llmspell.vectors import Collection, Stored, Part, Recorded
        recorded = Recorded(embedder="t", embedder_id="t", dimensions=16, metric="cosine", created=1.0)
        made = Collection("c", {path!r}, recorded=recorded)
        rows = np.ones((5, 16), np.float32)
        number = 0
        while True:
            batch = []
            for n in range(number, number + 20):
                parts = [Part(f"part {{n}} {{i}} ", i * 9, 2) for i in range(5)]
                batch.append(Stored(id=f"d{{n}}", parts=parts, digest=b"x", vectors=rows, ingested=1.0))
            made.put("global", batch)
            number += 20
            print(number, flush=True)
    """)
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    told = 0
    while told < 200:
        told = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    again = Collection("c", path)
    counts = again.stats("global")
    assert counts["documents"] >= told
    assert counts["documents"] % 20 == 0
    assert counts["vectors"] == counts["documents"] * 5
    found, _, _ = again.search("global", Query(k=10_000, vector=vector(1)))
    assert len(found) == counts["vectors"]
    assert len(again.search("global", Query(k=10_000, words="part", candidates=10_000))[0]) == counts["vectors"]
    again.close()


def test_six_thousand_vectors_load_fast(tmp_path):
    made = Collection(
        "c",
        str(tmp_path / "c" / "data.db"),
        recorded=Recorded(embedder="t", embedder_id="t", dimensions=384, metric="cosine", created=1.0),
        durability="none",
    )
    rows = RNG.normal(size=(6000, 384)).astype(np.float32)
    made.put(
        "global",
        [
            Stored(id=f"d{n}", parts=[Part("x", 0, 1)], vectors=rows[n : n + 1], digest=b"", ingested=1.0)
            for n in range(6000)
        ],
    )
    made.close()
    again = Collection("c", made.path)
    started = time.process_time()
    assert ids(again.search("global", Query(k=1, vector=rows[4321]))) == ["d4321"]
    assert time.process_time() - started < 0.3
    again.close()


def test_what_a_collection_was_made_with_is_there_again(tmp_path):
    path = str(tmp_path / "data.db")
    made = Recorded(
        embedder="t", embedder_id="t:m:16", dimensions=DIM, metric="cosine", created=1.0, model="m", probe=b"\0" * 64,
        probe_hash="ab" * 32,
    )  # fmt: skip
    Collection("c", path, recorded=made).close()
    again = Collection("c", path, recorded=RECORDED)
    assert again.recorded == made
    again.close()
