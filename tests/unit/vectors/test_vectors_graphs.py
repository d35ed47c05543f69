"""Graphs beside the rows: built aside, saved, opened again with what changed since, made anew when they are no good."""

import logging
import shutil
import sqlite3
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from llmspell.errors import StorageFull
from llmspell.vectors import Catalog, Collection, Part, Query, Recorded, Stored, compile_filter, graph_files, worker
from llmspell.vectors.records import IndexSettings

DIM = 12
RECORDED = Recorded(embedder="t", embedder_id="t", dimensions=DIM, metric="cosine", created=1.0)
INDEX = IndexSettings(exact_below=50, ef_construction=60, ef_search=60, num_threads=1)
RNG = np.random.default_rng(5)


def entry(ident, row=None, **more):
    row = RNG.normal(size=DIM) if row is None else row
    vectors = np.asarray([row], np.float32)
    text = more.pop("text", "text")
    return Stored(
        id=ident, parts=[Part(text, 0, 1)], vectors=vectors, digest=b"d", ingested=more.pop("ingested", 1.0), **more
    )


def opened(path, **more):
    return Collection("c", str(path), recorded=more.pop("recorded", RECORDED), index=INDEX, **more)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c" / "data.db"


def filled(path, count=300):
    made = opened(path)
    vectors = RNG.normal(size=(count, DIM)).astype(np.float32)
    made.put("global", [entry(f"d{at}", row) for at, row in enumerate(vectors)])
    made.save()
    return made, vectors


def found(collection, row, k=1, **more):
    return [
        hit.id
        for hit in collection.search("global", Query(k=k, vector=np.asarray(row, np.float32), candidates=1, **more))[0]
    ]


def live(collection):
    return collection._indexes.get(1)


def graph_of(path, scope="global"):
    return graph_files.path_of(path.parent, scope)


def test_saving_writes_a_graph_and_opening_maps_it(path):
    made, vectors = filled(path)
    made.close()
    assert graph_of(path).stat().st_mode & 0o077 == 0
    again = opened(path)
    assert found(again, vectors[7]) == ["d7"]
    assert live(again).is_graph
    assert live(again).index.stats()["generation"] >= 0
    again.close()


def test_what_changed_since_the_save_is_applied(path):
    made, vectors = filled(path)
    kept = graph_of(path).read_bytes()
    new = RNG.normal(size=DIM).astype(np.float32)
    made.put("global", [entry("new", new), entry("d1", new)])
    made.delete("global", ["d7"])
    made.close()
    graph_of(path).write_bytes(kept)
    again = opened(path)
    assert set(found(again, new, k=2)) == {"new", "d1"}
    assert "d7" not in found(again, vectors[7], k=400)
    assert len(found(again, vectors[7], k=400)) == 300
    assert live(again).is_graph
    again.close()


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty", "foreign", "other scope"])
def test_a_file_that_is_no_good_is_made_anew_and_nothing_is_lost(path, damage, caplog, tmp_path):
    made, vectors = filled(path)
    made.close()
    file = graph_of(path)
    data = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[30] ^= 0xFF
        file.write_bytes(data)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "foreign":
        other, _ = filled(tmp_path / "o" / "data.db", 60)
        other.close()
        shutil.copy(graph_of(tmp_path / "o" / "data.db"), file)
    else:
        other = opened(path)
        other.put("user:1", [entry(f"x{at}") for at in range(80)])
        other.save()
        other.close()
        shutil.copy(graph_of(path, "user:1"), file)
    again = opened(path)
    with caplog.at_level(logging.WARNING):
        assert found(again, vectors[7]) == ["d7"]
        assert len(found(again, vectors[7], k=400)) == 300
    assert any("vectors.rebuilt" in record.message for record in caplog.records) == (damage != "missing")
    again.save()
    assert live(again).is_graph
    assert found(again, vectors[8]) == ["d8"]
    again.close()


def test_other_settings_build_another_graph(path):
    made, vectors = filled(path)
    made.close()
    again = Collection("c", str(path), index=IndexSettings(exact_below=50, m=4, num_threads=1))
    assert found(again, vectors[7]) == ["d7"]
    again.save()
    assert live(again).index.stats()["m"] == 4
    again.close()


def test_searches_and_writes_go_on_while_a_graph_is_built(path):
    made = opened(path)
    vectors = RNG.normal(size=(4000, DIM)).astype(np.float32)
    made.put("global", [entry(f"d{at}", row) for at, row in enumerate(vectors)])
    assert found(made, vectors[9]) == ["d9"]
    assert made._worker._thread is not None
    late = RNG.normal(size=DIM).astype(np.float32)
    made.put("global", [entry("late", late)])
    made.delete("global", ["d9"])
    assert found(made, late) == ["late"]
    assert "d9" not in found(made, vectors[9], k=20)
    made._worker.settle()
    assert live(made).is_graph
    assert found(made, late) == ["late"]
    assert "d9" not in found(made, vectors[9], k=20)
    assert len(live(made).index) == 4000
    made.close()


def test_another_process_applies_what_was_written_here_to_its_graph(path):
    made, vectors = filled(path)
    other = opened(path)
    assert found(other, vectors[3]) == ["d3"]
    graph = live(other).index
    made.put("global", [entry("d3", -vectors[3]), entry("new", vectors[3])])
    made.delete("global", ["d4"])
    assert found(other, vectors[3]) == ["new"]
    assert "d4" not in found(other, vectors[4], k=400)
    assert live(other).index is graph
    other.close()
    made.close()


def test_one_process_saves_at_a_time(path):
    made, _ = filled(path)
    made.put("global", [entry("new")])
    with graph_files.saving(path.parent) as mine:
        assert mine
        assert made.save() == 0
    assert made.save() > 0
    made.close()


def test_drafts_of_a_process_that_died_are_removed(path):
    made, _ = filled(path)
    draft = graph_of(path).with_name(graph_of(path).name + ".tmp-1-2")
    draft.write_bytes(b"half")
    made.put("global", [entry("new")])
    made.save()
    assert not draft.exists()
    made.close()


def test_a_dropped_scope_takes_its_graph_along(path):
    made, _ = filled(path)
    made.delete_scope("global")
    assert not graph_of(path).exists()
    made.close()


def test_a_forgotten_log_makes_other_processes_load_again(path):
    made, vectors = filled(path)
    other = opened(path)
    assert found(other, vectors[3]) == ["d3"]
    made.delete("global", ["d3"])
    raw = sqlite3.connect(path)
    raw.execute("UPDATE scopes SET floor = seq")
    raw.execute("DELETE FROM touched")
    raw.commit()
    raw.close()
    assert "d3" not in found(other, vectors[3], k=400)
    assert len(found(other, vectors[3], k=400)) == 299
    other.close()
    made.close()


def test_the_log_of_changes_stays_bounded(path, monkeypatch):
    from llmspell.vectors import writing

    monkeypatch.setattr(writing, "_KEPT_CHANGES", 40)
    made = opened(path)
    for turn in range(30):
        made.put("global", [entry(f"d{at}") for at in range(5)])
        assert len(found(made, np.ones(DIM), k=9)) == 5, turn
    with made._connections.read() as connection:
        assert connection.execute("SELECT count(*) FROM touched").fetchone()[0] <= 45
    made.close()


@pytest.mark.parametrize("count", [30, 300])
def test_a_failed_commit_leaves_the_index_as_it_was(path, count, monkeypatch):
    made, vectors = filled(path, count)
    assert found(made, vectors[3]) == ["d3"]
    real = made._indexes._commit

    def refused(connection, live, change):
        real_index = live.index
        real_index.add(np.asarray(change.keys), np.stack(change.vectors))
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(made._indexes, "_commit", refused)
    with pytest.raises(Exception, match="full"):
        made.put("global", [entry("d3", -vectors[3])])
    monkeypatch.setattr(made._indexes, "_commit", real)
    assert found(made, vectors[3]) == ["d3"]
    assert len(found(made, vectors[3], k=400)) == count
    made.close()


def test_tenants_have_their_graphs_in_their_own_folders(tmp_path):
    catalog = Catalog(tmp_path, memory=False, durability="none", max_bytes=1 << 24, max_tenants=1, index=INDEX)
    rows = RNG.normal(size=(120, DIM)).astype(np.float32)
    for scope in ("tenant:a", "tenant:b"):
        catalog.make("docs", RECORDED, scope).put(scope, [entry(f"d{at}", row) for at, row in enumerate(rows)])
    catalog.find("docs", "tenant:a").save()
    catalog.find("docs", "tenant:b").save()
    assert sorted(path.parent.parent.name for path in tmp_path.rglob("*.lsvx")) == ["tenants", "tenants"]
    catalog.close()


def test_no_search_sees_neither_the_old_nor_the_new_document_nor_both(path):
    made, _ = filled(path, 40)
    target = RNG.normal(size=DIM).astype(np.float32)
    made.put("global", [entry("target", target)])
    stop, wrong = threading.Event(), []

    def replace():
        while not stop.is_set():
            made.put("global", [entry("target", target), entry("other")])

    def search():
        while not stop.is_set():
            hits = made.search("global", Query(k=3, vector=target, candidates=1))[0]
            names = [hit.id for hit in hits]
            if names.count("target") != 1 or len(names) != 3:
                wrong.append(names)

    threads = [threading.Thread(target=work) for work in (replace, search, search, search)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    made.close()


def test_a_search_waits_for_no_writer(path):
    made, vectors = filled(path, 100)
    with made._connections.write() as connection:
        connection.execute("DELETE FROM documents")
        answer = []
        thread = threading.Thread(target=lambda: answer.append(found(made, vectors[3])))
        thread.start()
        thread.join(10)
        assert answer == [["d3"]]
        connection.execute("ROLLBACK")
    made.close()


KEYS = st.integers(0, 90)
FIELDS = st.dictionaries(
    st.sampled_from(["a", "b", "c.d"]), st.sampled_from([0, 1, 2.5, "x", "xy", True, None, ["x"]]), max_size=3
)
CONDITIONS = st.one_of(
    st.sampled_from([0, 1, "x", True, [1, "x"]]),
    st.dictionaries(st.sampled_from(["eq", "ne"]), st.sampled_from([0, 1, "x", True]), min_size=1, max_size=1),
    st.dictionaries(
        st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from([0, 1, 2, "x"]), min_size=1, max_size=2
    ),
    st.builds(lambda value: {"exists": value}, st.booleans()),
    st.builds(lambda value: {"prefix": value}, st.sampled_from(["x", ""])),
    st.builds(lambda value: {"contains": value}, st.sampled_from(["x", "y"])),
)
FILTERS = st.recursive(
    st.dictionaries(st.sampled_from(["a", "b", "c.d", "e"]), CONDITIONS, max_size=2),
    lambda inner: st.one_of(
        st.builds(lambda items: {"or": items}, st.lists(inner, max_size=2)),
        st.builds(lambda item: {"not": item}, inner),
    ),
    max_leaves=3,
)
MOMENTS = st.sampled_from([None, 10.0, 20.0, 30.0])


class Against(RuleBasedStateMachine):
    """A collection with a graph from its tenth vector on, against a plain dictionary."""

    folder = None
    count = 0

    @initialize()
    def make(self):
        Against.count += 1
        self.path = Against.folder / str(Against.count) / "data.db"
        self.kept = {}
        self.now = 1000.0
        self.open()

    def open(self):
        index = IndexSettings(exact_below=10, ef_construction=40, ef_search=200, num_threads=1)
        self.made = Collection("c", str(self.path), recorded=RECORDED, index=index, durability="none")

    @rule(keys=st.lists(KEYS, min_size=1, max_size=30), data=st.data())
    def put(self, keys, data):
        batch = []
        for key in keys:
            meta, when = data.draw(FIELDS), data.draw(MOMENTS)
            expires = data.draw(st.sampled_from([None, None, 1.0, time.time() + 1e6]))
            row = RNG.normal(size=DIM).astype(np.float32)
            batch.append(entry(f"d{key}", row, metadata=meta, event_time=when, expires=expires))
            self.kept[f"d{key}"] = (row, meta, when, expires)
        self.made.put("global", batch)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=10))
    def delete(self, keys):
        self.made.delete("global", [f"d{key}" for key in keys])
        for key in keys:
            self.kept.pop(f"d{key}", None)

    @rule(key=KEYS, meta=FIELDS, when=MOMENTS)
    def change(self, key, meta, when):
        known = self.kept.get(f"d{key}")
        alive = known is not None and (known[3] is None or known[3] > time.time())
        assert self.made.set_metadata("global", f"d{key}", meta, event_time=when, expires=None) == alive
        if alive:
            self.kept[f"d{key}"] = (known[0], meta, when, None)

    @rule()
    def sweep(self):
        self.made.sweep()
        self.kept = {name: row for name, row in self.kept.items() if row[3] is None or row[3] > time.time()}

    @rule()
    def save(self):
        self.made.save()
        self.sweep()

    @rule()
    def reopen(self):
        self.made.close()
        self.open()

    @rule(spec=FILTERS, start=MOMENTS, end=MOMENTS, k=st.sampled_from([1, 3, 200]), least=st.sampled_from([None, 0.2]))
    def search(self, spec, start, end, k, least):
        query = RNG.normal(size=DIM).astype(np.float32)
        window = None if start is None and end is None else (start, end)
        matches = compile_filter(spec) if spec else None
        hits, exhausted, _ = self.made.search(
            "global",
            Query(
                k=k,
                vector=query,
                matches=matches,
                filters=spec or None,
                event_time=window,
                threshold=least,
                candidates=1,
                raw=True,
            ),
        )
        passing = {}
        for name, (row, meta, when, expires) in self.kept.items():
            score = float(row @ query / np.linalg.norm(row) / np.linalg.norm(query))
            if expires is not None and expires <= time.time():
                continue
            if window is not None and (
                when is None or (start is not None and when < start) or (end is not None and when >= end)
            ):
                continue
            if (matches is None or matches(meta)) and (least is None or score >= least):
                passing[name] = score
        best = sorted(passing, key=lambda name: -passing[name])[:k]
        assert [hit.id for hit in hits] == best
        assert exhausted or len(hits) == k
        if exhausted:
            assert len(hits) == len(passing)

    @precondition(lambda self: len(self.kept) > 10)
    @rule()
    def settle(self):
        self.made._worker.settle()

    def teardown(self):
        if hasattr(self, "made"):
            self.made.close()


def test_a_collection_agrees_with_brute_force_whatever_happens(tmp_path):
    from hypothesis.stateful import run_state_machine_as_test

    Against.folder = tmp_path
    run_state_machine_as_test(
        Against,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_scope_whose_documents_all_expired_is_emptied_at_once_for_every_process(path):
    made, vectors = filled(path, 120)
    other = opened(path)
    assert found(other, vectors[3]) == ["d3"]
    made.put("session:s", [entry(f"s{at}", row, expires=time.time() + 50) for at, row in enumerate(vectors)])
    made.save()
    other_query = Query(k=1, vector=vectors[3])
    assert other.search("session:s", other_query)[0][0].id == "s3"
    with made._connections.write() as connection:
        connection.execute("UPDATE documents SET expires = 1 WHERE scope = 2")
    assert made.sweep() == 120
    assert other.search("session:s", other_query) == made.search("session:s", other_query) == ([], True, {})
    made.put("session:s", [entry("new", vectors[3])])
    for collection in (made, other):
        assert [hit.id for hit in collection.search("session:s", other_query)[0]] == ["new"]
        assert [hit.id for hit in collection.search("session:s", Query(k=9, words="text"))[0]] == ["new"]
    other.close()
    made.close()
    again = opened(path)
    assert [hit.id for hit in again.search("session:s", Query(k=9, vector=vectors[3]))[0]] == ["new"]
    assert found(again, vectors[3]) == ["d3"]
    again.close()


def test_a_sweep_of_many_lets_others_write_in_between(path):
    made = opened(path)
    made.put("global", [entry(f"d{at}", expires=1.0 if at < 1200 else None) for at in range(1210)])
    assert made.sweep() == 1200
    assert made.stats()["documents"] == 10
    assert len(made.search("global", Query(k=99, vector=np.ones(DIM, np.float32)))[0]) == 10
    assert len(made.search("global", Query(k=99, words="text", candidates=9999))[0]) == 10
    made.close()


def test_the_last_of_an_id_in_a_batch_counts(path):
    made = opened(path)
    rows = np.eye(DIM, dtype=np.float32)
    made.put("global", [entry("a", rows[0]), entry("b", rows[1]), entry("a", rows[2])])
    made.put("global", [entry("a", rows[3]), entry("a", rows[4])])
    assert made.stats()["documents"] == made.stats()["vectors"] == 2
    assert found(made, rows[4]) == ["a"]
    assert made.search("global", Query(k=1, vector=rows[4]))[0][0].scores["vector"] == pytest.approx(1)
    made.close()


@pytest.mark.parametrize("count", [30, 300])
def test_a_full_disk_refuses_the_write_and_takes_nothing_away(path, count):
    made, vectors = filled(path, count)
    assert found(made, vectors[3]) == ["d3"]
    with made._connections.alone() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    more = [entry(f"x{at}", text="much text " * 500) for at in range(300)]
    with pytest.raises(StorageFull):
        made.put("global", more)
    assert found(made, vectors[3]) == ["d3"]
    assert len(found(made, vectors[3], k=999)) == count
    with made._connections.alone() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    made.put("global", more)
    assert len(found(made, vectors[3], k=999)) == count + 300
    made.close()


def test_the_end_of_the_interpreter_waits_for_no_graph(path):
    made = opened(path)
    vectors = RNG.normal(size=(9000, DIM)).astype(np.float32)
    made.put("global", [entry(f"d{at}", row) for at, row in enumerate(vectors)])
    assert found(made, vectors[9]) == ["d9"]
    assert made._worker._thread is not None
    worker._abandon()
    assert made._worker._thread is None
    assert not live(made).is_graph
    assert found(made, vectors[9]) == ["d9"]
    made.close()


def test_graphs_of_what_is_open_are_built_without_a_search(tmp_path):
    for memory in (False, True):
        catalog = Catalog(tmp_path / str(memory), memory=memory, durability="none", max_bytes=1 << 24, index=INDEX)
        for scope in ("global", "tenant:a"):
            rows = RNG.normal(size=(60, DIM))
            catalog.make("docs", RECORDED, scope).put(scope, [entry(f"d{at}", row) for at, row in enumerate(rows)])
        written = catalog.build()
        assert (written > 0) == (not memory)
        assert catalog.build() == 0
        catalog.close()
        assert len(list((tmp_path / str(memory)).rglob("*.lsvx"))) == (0 if memory else 2)


def test_long_texts_stay_out_of_the_index_and_are_filtered_all_the_same(path):
    made = opened(path)
    made.put("global", [entry(f"d{at}", metadata={"note": "n" * 300 + str(at), "n": at}) for at in range(60)])
    for spec in ({"note": "n" * 300 + "7"}, {"n": 7}):
        query = Query(k=9, vector=np.ones(DIM, np.float32), matches=compile_filter(spec), filters=spec)
        assert [hit.id for hit in made.search("global", query)[0]] == ["d7"]
    assert all(set(item) == {"m.n", "t.ingested"} for item in live(made).index.get_attrs(live(made).index.keys()))
    made.close()
