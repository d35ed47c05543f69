"""What every vector storage must do; a new engine is a file of the folder and runs here unchanged."""

import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from llmspell.errors import (
    DimensionMismatch,
    InvalidArgument,
    InvalidScope,
    LLMSpellError,
    NonFiniteValue,
    ValidationError,
    ZeroVector,
)
from llmspell.vectors import VectorEntry, VectorQuery, compile_filter
from llmspell.vectors import open as open_vectors
from llmspell.vectors.records import IndexSettings
from llmspell.vectors.storages import ENGINES

ALL = ENGINES.names(outside=False)
DIM = 6
RNG = np.random.default_rng(11)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def made(engine, folder, **options):
    if engine == "hnsw":
        options.setdefault("index", IndexSettings(exact_below=20, ef_construction=50, ef_search=100, num_threads=1))
        return open_vectors(f"hnsw://{folder}/v", durability="none", **options)
    return open_vectors(f"{engine}://", **options)


@pytest.fixture(params=ALL)
def storage(request, tmp_path):
    found = made(request.param, tmp_path)
    yield found
    found.close()


def entry(ident="", vector=None, **more):
    return VectorEntry(id=ident, embedding=RNG.normal(size=DIM) if vector is None else vector, **more)


def axis(at, dim=DIM):
    return [1.0 if place == at else 0.0 for place in range(dim)]


def ids(results):
    return [hit.id for hit in results]


def search(storage, at=0, **more):
    return storage.search(VectorQuery(vector=axis(at), **more))


def test_an_entry_comes_back_as_it_was_given(storage):
    given = entry("a", [1, 2, 3, 4, 5, 6], metadata={"n": {"m": [1, None]}}, text="words", created_at=NOW,
                  event_time=NOW + timedelta(days=1), expires_at=datetime(2200, 1, 1, tzinfo=UTC))  # fmt: skip
    assert storage.store(given) == "a"
    found = storage.get("a")
    assert (found.id, found.metadata, found.text, found.scope) == ("a", {"n": {"m": [1, None]}}, "words", "global")
    assert (found.created_at, found.event_time, found.expires_at) == (NOW, given.event_time, given.expires_at)
    assert found.updated_at > NOW
    assert np.asarray(found.embedding).tolist() == [1, 2, 3, 4, 5, 6]
    assert storage.get("b") is None


def test_an_empty_id_becomes_a_new_one(storage):
    one, other = storage.store(entry()), storage.store(entry())
    assert len(one) == 36
    assert one != other


def test_storing_a_known_id_replaces_and_keeps_the_time_of_creation(storage):
    storage.store(entry("a", axis(0), created_at=NOW, metadata={"old": 1}))
    storage.store(entry("a", axis(1), metadata={"new": 1}))
    assert storage.get("a").created_at == NOW
    assert storage.get("a").metadata == {"new": 1}
    assert storage.get_stats().total_vectors == 1
    assert search(storage, 1)[0].score == pytest.approx(1)


def test_a_batch_is_stored_whole_or_not_at_all(storage):
    with pytest.raises(NonFiniteValue):
        storage.store_many([entry("a"), entry("b", [float("nan")] * DIM)])
    with pytest.raises(InvalidArgument):
        storage.store_many([entry("a"), entry("b", scope="user:1")])
    with pytest.raises(DimensionMismatch):
        storage.store_many([entry("a"), entry("b", [1.0])])
    assert storage.get("a") is None
    assert storage.store_many([]) == []
    assert storage.store_many([entry("a"), entry("b")]) == ["a", "b"]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"vector": [float("inf")] * DIM}, NonFiniteValue),
        ({"vector": [1e300] * DIM}, NonFiniteValue),
        ({"vector": [0.0] * DIM}, ZeroVector),
        ({"vector": []}, InvalidArgument),
        ({"vector": [[1.0], [2.0]]}, InvalidArgument),
        ({"vector": ["x"] * DIM}, InvalidArgument),
        ({"vector": [True] * DIM}, InvalidArgument),
        ({"ident": "x" * 300}, InvalidArgument),
        ({"ident": "\ud800"}, InvalidArgument),
        ({"metadata": {"x": object()}}, ValidationError),
        ({"metadata": {"x": "y" * 70_000}}, InvalidArgument),
        ({"metadata": [1]}, ValidationError),
        ({"scope": "tenant:"}, InvalidScope),
        ({"scope": "tenant:a/../b"}, InvalidScope),
        ({"scope": "user:a\0"}, InvalidScope),
        ({"tenant_id": "a:b"}, InvalidScope),
        ({"tenant_id": "a\n"}, InvalidScope),
        ({"tenant_id": "a", "scope": "tenant:b"}, InvalidScope),
        ({"ttl_seconds": 0}, InvalidArgument),
        ({"event_time": datetime(2026, 1, 1)}, InvalidArgument),
        ({"text": 5}, InvalidArgument),
    ],
)
def test_what_is_wrong_is_refused_by_name_and_nothing_is_stored(storage, bad, error):
    with pytest.raises(error):
        storage.store(entry(**{"ident": "a", **bad}))
    assert storage.get_stats().total_vectors == 0


@pytest.mark.parametrize(
    "bad",
    [{"k": 0}, {"k": -1}, {"k": 2**31}, {"k": 1e308}, {"k": True}, {"threshold": float("nan")}, {"ef": 0},
     {"filter": {"a": {"like": 1}}}, {"event_time_range": (1, 2)}, {"event_time_range": 5}],
)  # fmt: skip
def test_a_query_that_cannot_be_is_refused(storage, bad):
    storage.store(entry("a"))
    with pytest.raises(LLMSpellError) as caught:
        search(storage, **bad)
    assert caught.value.kind == "validation"


def test_scopes_do_not_see_each_other(storage):
    for scope in ("global", "user:1", "tenant:a", "tenant:ab", "tenant:A"):
        storage.store(entry("same", axis(0), scope=scope, metadata={"of": scope}))
    for scope in ("global", "user:1", "tenant:a", "tenant:ab", "tenant:A"):
        found = search(storage, scope=scope, k=9)
        assert [(hit.scope, hit.metadata["of"]) for hit in found] == [(scope, scope)]
        assert found.exhausted
    assert storage.namespaces() == sorted(["global", "user:1", "tenant:a", "tenant:ab", "tenant:A"])
    assert storage.delete_scope("tenant:a") == 1
    assert storage.get("same", scope="tenant:a") is None
    assert storage.get("same", scope="tenant:ab") is not None
    assert storage.delete_scope("tenant:a") == 0
    unknown = search(storage, scope="tenant:nobody")
    assert list(unknown) == []
    assert unknown.exhausted


def test_a_tenant_is_a_scope(storage):
    storage.store(entry("x", axis(0), tenant_id="acme"))
    assert ids(search(storage, tenant_id="acme")) == ids(search(storage, scope="tenant:acme")) == ["x"]
    assert storage.get("x", scope="tenant:acme").tenant_id == "acme"


def test_every_scope_has_dimensions_of_its_own(storage):
    storage.store(entry("a", axis(0)))
    storage.store(entry("b", axis(0, 3), scope="user:3"))
    assert storage.get_stats("user:3").dimensions == 3
    with pytest.raises(DimensionMismatch):
        storage.store(entry("c", axis(0, 3)))
    with pytest.raises(DimensionMismatch):
        storage.search(VectorQuery(vector=axis(0), scope="user:3"))
    assert ids(storage.search(VectorQuery(vector=axis(0, 3), scope="user:3"))) == ["b"]


def test_a_namespace_is_made_with_settings(storage):
    storage.create_namespace("user:9", dimensions=4, m=8, quantization="i8", keep_f32=True)
    assert "user:9" in storage.namespaces()
    storage.store(entry("a", axis(1, 4), scope="user:9"))
    assert ids(storage.search(VectorQuery(vector=axis(1, 4), scope="user:9"))) == ["a"]
    for bad in ({"dimensions": 0}, {"dimensions": 4, "m": 1}, {"dimensions": 4, "colour": 1}):
        with pytest.raises(LLMSpellError):
            storage.create_namespace("user:8", **bad)


def test_filters_times_and_thresholds_act_inside_k(storage):
    rows = [
        entry(
            f"d{at}",
            RNG.normal(size=DIM),
            metadata={"n": at, "in": {"deep": at % 2}},
            event_time=NOW + timedelta(days=at),
        )
        for at in range(200)
    ]
    storage.store_many(rows)
    assert sorted(ids(search(storage, k=3, filter={"n": {"lt": 3}}))) == ["d0", "d1", "d2"]
    deep = search(storage, k=100, filter={"in.deep": 1})
    assert len(deep) == 100
    window = (NOW + timedelta(days=5), NOW + timedelta(days=8))
    assert sorted(ids(search(storage, k=9, event_time_range=window))) == ["d5", "d6", "d7"]
    assert search(storage, k=9, event_time_range=window).exhausted
    best = search(storage, k=200, threshold=0.3)
    assert best.exhausted
    assert all(hit.score >= 0.3 for hit in best)
    since = datetime.now(UTC) - timedelta(seconds=60)
    assert len(search(storage, k=5, ingestion_time_range=(since, None))) == 5
    assert len(search(storage, k=5, ingestion_time_range=(None, since))) == 0


def test_expired_entries_are_invisible_at_once_and_swept(storage, monkeypatch):
    storage.store(entry("gone", axis(0), expires_at=NOW))
    storage.store(entry("stays", axis(1)))
    storage.store(entry("soon", axis(2), ttl_seconds=50))
    assert sorted(ids(search(storage))) == ["soon", "stays"]
    assert sorted(ids(search(storage, exclude_expired=False))) == ["gone", "soon", "stays"]
    assert storage.get("gone") is None
    assert not storage.update_metadata("gone", {})
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 60)
    assert ids(search(storage)) == ["stays"]
    assert storage.get_stats().expired == 2
    assert storage.sweep() == 2
    assert storage.get_stats().total_vectors == 1


def test_metadata_is_changed_by_key_or_whole(storage):
    storage.store(entry("a", metadata={"x": 1, "y": 2}))
    assert storage.update_metadata("a", {"y": 3})
    assert storage.get("a").metadata == {"x": 1, "y": 3}
    assert ids(search(storage, filter={"y": 3})) == ["a"]
    assert storage.update_metadata("a", {"z": 1}, merge=False)
    assert storage.get("a").metadata == {"z": 1}
    assert ids(search(storage, filter={"x": 1})) == []
    assert not storage.update_metadata("b", {})


def test_results_hold_what_was_asked_for(storage):
    storage.store(entry("a", axis(0), text="words", metadata={"m": 1}))
    full = search(storage, include_vector=True)[0]
    assert (full.text, full.metadata, full.vector.tolist()) == ("words", {"m": 1}, axis(0))
    bare = search(storage, include_text=False, include_metadata=False)[0]
    assert (bare.text, bare.metadata, bare.vector) == (None, None, None)
    assert bare.score == pytest.approx(1)
    assert bare.distance == pytest.approx(0)
    assert search(storage).visited >= 1


@pytest.mark.parametrize("engine", ALL)
@pytest.mark.parametrize(
    ("metric", "score", "distance"),
    [("euclidean", 1 / (1 + np.sqrt(8)), np.sqrt(8)), ("inner_product", 6.0, -6.0), ("manhattan", 1 / 5, 4.0)],
)
def test_scores_are_those_of_the_metric(engine, metric, score, distance, tmp_path):
    storage = made(engine, tmp_path, metric=metric)
    storage.store(entry("a", [3.0, 0.0]))
    hit = storage.search(VectorQuery(vector=[1.0, 2.0] if metric != "inner_product" else [2.0, 0.0], threshold=-9.0))[0]
    assert (hit.score, hit.distance) == (pytest.approx(score), pytest.approx(distance))
    storage.close()


def test_deleting_and_clearing(storage):
    storage.store_many([entry(name) for name in "abcd"])
    assert storage.delete("a")
    assert not storage.delete("a")
    assert storage.delete_many(["b", "b", "x"]) == 1
    assert sorted(ids(search(storage))) == ["c", "d"]
    storage.store(entry("a", axis(0)))
    assert ids(search(storage, k=1)) == ["a"]
    storage.clear()
    assert storage.get_stats().total_vectors == 0
    assert ids(search(storage)) == []
    storage.store(entry("e"))
    assert ids(search(storage)) == ["e"]


def test_statistics_count(storage):
    before = storage.get_stats().generation
    storage.store_many([entry(name) for name in "abc"])
    storage.store(entry("d", scope="user:1"))
    search(storage)
    stats = storage.get_stats()
    assert (stats.total_vectors, stats.namespace_count, stats.query_count) == (4, 2, 1)
    assert stats.generation > before
    assert stats.memory_bytes > 0
    assert storage.get_stats("user:1").total_vectors == 1
    assert storage.get_stats("user:2").total_vectors == 0
    storage.delete("a")
    assert set(storage.optimize()) == {"removed", "relinked", "bytes_freed"}
    assert storage.get_stats().generation > stats.generation


def test_eight_threads_lose_nothing(storage):
    def work(number):
        for at in range(12):
            storage.store(entry(f"{number}-{at}", axis(number % DIM), scope=f"tenant:{number % 2}"))
            found = search(storage, number % DIM, scope=f"tenant:{number % 2}", k=100)
            if f"{number}-{at}" not in ids(found):
                wrong.append((number, at))

    wrong = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert storage.get_stats().total_vectors == 96


def test_a_closed_folder_opens_again_with_everything(tmp_path):
    storage = made("hnsw", tmp_path)
    rows = RNG.normal(size=(60, DIM))
    for scope in ("global", "tenant:a"):
        storage.store_many([entry(f"d{at}", row, scope=scope) for at, row in enumerate(rows)])
    assert storage.persist() > 0
    storage.close()
    storage.close()
    again = made("hnsw", tmp_path)
    for scope in ("global", "tenant:a"):
        assert ids(again.search(VectorQuery(vector=rows[7], k=1, scope=scope))) == ["d7"]
    again.close()
    other = made("hnsw", tmp_path, metric="euclidean")
    with pytest.raises(InvalidArgument):
        other.store(entry("x"))
    other.close()


def test_a_url_that_names_no_engine_is_refused():
    for url in ("nothing://x", "memory", "", "hnsw://"):
        with pytest.raises(InvalidArgument):
            open_vectors(url)


FIELDS = st.dictionaries(
    st.sampled_from(["a", "b"]), st.sampled_from([0, 1, 2.5, "x", True, None, ["x"], {"c": 1}]), max_size=2
)
FILTERS = st.dictionaries(
    st.sampled_from(["a", "b", "b.c"]),
    st.sampled_from(
        [0, 1, "x", True, [1, "x"], {"ne": 1}, {"gte": 1}, {"exists": False}, {"contains": "x"}, {"lt": 2}]
    ),
    max_size=2,
)
SCOPES = st.sampled_from(["global", "user:1", "tenant:a", "tenant:b"])
DAYS = st.sampled_from([None, 1, 2, 3])


class Model(RuleBasedStateMachine):
    """A storage against a dictionary and numpy."""

    engine = folder = None
    count = 0

    @initialize()
    def begin(self):
        Model.count += 1
        self.storage = made(Model.engine, Model.folder / str(Model.count))
        self.kept = {}
        self.perhaps = set()  # expired, and swept by now or not

    @rule(
        scope=SCOPES,
        keys=st.lists(st.integers(0, 40), min_size=1, max_size=25),
        meta=FIELDS,
        day=DAYS,
        gone=st.booleans(),
    )
    def store(self, scope, keys, meta, day, gone):
        batch = []
        for key in keys:
            when = None if day is None else NOW + timedelta(days=day)
            expires = NOW if gone and key % 3 == 0 else None
            vector = RNG.normal(size=DIM).astype(np.float32)
            batch.append(entry(f"d{key}", vector, scope=scope, metadata=meta, event_time=when, expires_at=expires))
            self.kept[scope, f"d{key}"] = (vector, meta, when, expires)
            self.perhaps.discard((scope, f"d{key}"))
        self.storage.store_many(batch)

    @rule(scope=SCOPES, keys=st.lists(st.integers(0, 40), max_size=6))
    def delete(self, scope, keys):
        places = {(scope, f"d{key}") for key in keys} & self.kept.keys()
        sure = len(places - self.perhaps)
        assert sure <= self.storage.delete_many([f"d{key}" for key in keys], scope=scope) <= len(places)
        self.forget(places)

    @rule(scope=SCOPES)
    def drop(self, scope):
        places = {place for place in self.kept if place[0] == scope}
        assert len(places - self.perhaps) <= self.storage.delete_scope(scope) <= len(places)
        self.forget(places)

    def forget(self, places):
        self.perhaps -= places
        for place in places:
            del self.kept[place]

    @rule(scope=SCOPES, key=st.integers(0, 40), meta=FIELDS)
    def update(self, scope, key, meta):
        known = self.kept.get((scope, f"d{key}"))
        alive = known is not None and known[3] is None
        assert self.storage.update_metadata(f"d{key}", meta, scope=scope) == alive
        if alive:
            self.kept[scope, f"d{key}"] = (known[0], {**known[1], **meta}, *known[2:])

    @rule()
    def persist(self):
        self.storage.persist()  # sweeps what is open
        self.perhaps = {place for place, row in self.kept.items() if row[3] is not None}

    @rule()
    def reopen(self):
        if Model.engine != "memory":
            self.storage.close()
            self.storage = made(Model.engine, Model.folder / str(Model.count))

    @rule(
        scope=SCOPES,
        spec=FILTERS,
        start=DAYS,
        end=DAYS,
        k=st.sampled_from([1, 4, 99]),
        expired=st.booleans(),
        least=st.sampled_from([None, 0.0, 0.4]),
    )
    def search(self, scope, spec, start, end, k, expired, least):
        expired = expired and not any(place[0] == scope for place in self.perhaps)
        query = RNG.normal(size=DIM).astype(np.float32)
        window = tuple(None if day is None else NOW + timedelta(days=day) for day in (start, end))
        found = self.storage.search(
            VectorQuery(
                vector=query,
                k=k,
                filter=spec,
                scope=scope,
                event_time_range=window,
                exclude_expired=not expired,
                threshold=least,
            )
        )
        matches = compile_filter(spec)
        passing = {}
        for (place, name), (vector, meta, when, expires) in self.kept.items():
            score = float(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query))
            inside = (
                when is not None
                and (window[0] is None or when >= window[0])
                and (window[1] is None or when < window[1])
            )
            seen = place == scope and (expired or expires is None) and (inside or window == (None, None))
            if seen and matches(meta) and (least is None or score >= least):
                passing[name] = score
        best = sorted(passing, key=lambda name: -passing[name])[:k]
        assert ids(found) == best
        assert len(found) == k or found.exhausted
        if found.exhausted:
            assert len(found) == len(passing)

    def teardown(self):
        if hasattr(self, "storage"):
            total = self.storage.get_stats().total_vectors
            assert len(self.kept) - len(self.perhaps) <= total <= len(self.kept)
            self.storage.close()


@pytest.mark.parametrize("engine", ALL)
def test_a_storage_agrees_with_a_dictionary_whatever_happens(engine, tmp_path):
    Model.engine, Model.folder = engine, tmp_path
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
