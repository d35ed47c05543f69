"""The store: values, versions, expiry, atomic operations, limits."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.config.model import StatePersistence
from llmspell.errors import (
    AlreadyExists,
    ConfigurationError,
    Conflict,
    CorruptData,
    CycleError,
    InvalidArgument,
    LimitExceeded,
    StorageFull,
    UnsupportedType,
)
from llmspell.state import MISSING, StateStore, open_store
from llmspell.state.store import Limits
from llmspell.state.values import Coding
from llmspell.state.view import equal


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = StateStore(request.param, str(tmp_path / "state" / "state.db"))
    yield made
    made.close()


def test_nothing_is_opened_before_the_first_use(tmp_path):
    store = open_store(StatePersistence(), home=tmp_path)
    assert not (tmp_path / "state").exists()
    store.set("a", 1)
    assert (tmp_path / "state" / "state.db").exists()
    store.close()


def test_a_disabled_store_keeps_values_in_memory_only(tmp_path):
    store = open_store(StatePersistence(enabled=False), home=tmp_path)
    store.set("a", 1)
    assert store.get("a") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_address_names_the_backend(tmp_path):
    store = StateStore.open(f"sqlite://{tmp_path}/x/state.db")
    store.set("a", 1)
    assert (tmp_path / "x" / "state.db").exists()
    store.close()
    assert StateStore.open("memory://").set("a", 1) == 1
    for bad in ("state.db", "sqlite://", "redis://x"):
        with pytest.raises(ConfigurationError):
            StateStore.open(bad)


def test_versions_count_from_one_and_go_on_after_a_deletion(store):
    assert [store.set("a", n) for n in range(3)] == [1, 2, 3]
    assert store.entry("global", "a").version == 3
    store.delete("global", "a")
    assert store.set("a", 1) > 3


def test_a_write_with_a_wrong_version_is_a_conflict(store):
    store.set("a", 1, if_version=0)
    store.set("a", 2, if_version=1)
    for wrong in (0, 1, 3):
        with pytest.raises(Conflict):
            store.set("a", 3, if_version=wrong)
    with pytest.raises(Conflict):
        store.delete("global", "a", if_version=1)
    assert store.get("a") == 2


def test_values_are_private_copies(store):
    value = {"list": [1]}
    store.set("a", value)
    value["list"].append(2)
    store.get("a")["list"].append(3)
    assert store.get("a") == {"list": [1]}


def test_scopes_are_apart_and_the_global_one_is_inherited_on_request(store):
    store.save("user:1", "k", "mine")
    store.set("g", "all")
    assert store.get("k") is None
    assert store.load("user:1", "g", inherit=True) == "all"
    assert store.load("user:1", "g") is None
    assert store.list_scopes() == ["global", "user:1"]
    assert store.list_scopes("user") == ["user:1"]


def test_scopes_whose_texts_begin_alike_are_apart(store):
    for name in ("user:a", "user:a;b", "user:a:b", "user:a%3Ab"):
        store.save(name, "k", name)
    assert {name: store.load(name, "k") for name in store.list_scopes()} == {
        name: name for name in ("user:a", "user:a;b", "user:a:b", "user:a%3Ab")
    }


def test_keys_are_listed_in_order_by_pattern_page_and_limit(store):
    for key in ("b", "a", "ab", "abc", "ü", "a[c"):
        store.set(key, 1)
    assert store.list_keys() == sorted(["b", "a", "ab", "abc", "ü", "a[c"])
    assert store.list_keys("global", "a*") == ["a", "a[c", "ab", "abc"]
    assert store.list_keys("global", "a?c") == ["a[c", "abc"]
    assert store.list_keys("global", "*c") == ["a[c", "abc"]
    assert store.list_keys("global", "a[*") == ["a[c"]
    assert store.list_keys("global", limit=2, after="a") == ["a[c", "ab"]


def test_a_value_is_invisible_the_moment_its_time_is_over(store):
    store.set("a", 1, ttl=0.03)
    time.sleep(0.035)
    assert store.get("a") is None
    assert not store.exists("global", "a")
    assert store.list_keys() == []
    assert store.list_scopes() == []
    assert store.usage()["expired"] == 1
    assert store.sweep() == 1
    assert store.usage()["expired"] == 0
    assert store.set("a", 2) > 1


def test_a_write_without_ttl_ends_an_expiry_and_a_change_keeps_it(store):
    store.set("a", 1, ttl=50)
    store.increment("global", "a")
    assert 0 < store.ttl("global", "a") <= 50
    store.set("a", 1)
    assert store.ttl("global", "a") is None
    assert store.expire("global", "a", 9)
    assert store.ttl("global", "a") is not None
    assert not store.expire("global", "none", 9)


@pytest.mark.parametrize("ttl", [0, -1, 1e9, float("nan")])
def test_an_impossible_ttl_is_refused(store, ttl):
    with pytest.raises(InvalidArgument):
        store.set("a", 1, ttl=ttl)


def test_increments_of_threads_are_exact(store):
    def work():
        for _ in range(100):
            store.increment("global", "n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("n") == 400


def test_incrementing_keeps_the_kind_of_number_and_refuses_others(store):
    assert store.increment("global", "i", 4) == 4
    assert isinstance(store.get("i"), int)
    assert store.increment("global", "i", 0.5) == 4.5
    for value in ("x", True, [1]):
        store.set("x", value)
        with pytest.raises(InvalidArgument):
            store.increment("global", "x")
        assert store.get("x") == value


def test_appending_returns_the_length_and_keeps_the_newest(store):
    assert [store.append("global", "l", n, max_items=3) for n in range(5)] == [1, 2, 3, 3, 3]
    assert store.get("l") == [2, 3, 4]
    store.set("x", "text")
    with pytest.raises(InvalidArgument):
        store.append("global", "x", 1)


def test_compare_and_swap_writes_only_over_the_expected_value(store):
    swap = store.compare_and_swap
    assert swap("global", "a", MISSING, {"n": [1]})
    assert not swap("global", "a", MISSING, 2)
    assert not swap("global", "a", {"n": [2]}, 2)
    version = store.entry("global", "a").version
    assert not swap("global", "a", {"n": [True]}, 2)
    assert store.entry("global", "a").version == version
    assert swap("global", "a", {"n": [1.0]}, 2)
    assert swap("global", "a", 2, MISSING)
    assert not store.exists("global", "a")


def test_equality_is_that_of_lua():
    assert equal(1, 1.0)
    assert equal([], {})
    assert not equal(1, True)
    assert not equal({"a": 0}, {"a": False})
    assert not equal({"a": 1}, {"a": 1, "b": None})


def test_scopes_are_copied_and_moved_whole_or_not_at_all(store):
    store.save("user:1", "a", 1)
    store.save("user:1", "b", 2)
    assert store.copy_scope("user:1", "user:2") == 2
    store.save("user:3", "b", "kept")
    with pytest.raises(AlreadyExists):
        store.move_scope("user:1", "user:3")
    assert store.get_all("user:3") == {"b": "kept"}
    assert store.move_scope("user:1", "user:3", overwrite=True) == 2
    assert store.get_all("user:3") == {"a": 1, "b": 2}
    assert store.get_all("user:1") == {}
    assert store.clear_scope("user:2") == 2
    assert store.list_scopes() == ["user:3"]


def test_an_update_runs_again_after_a_conflict(store):
    store.set("a", 1)
    calls = []

    def change(value):
        calls.append(value)
        if len(calls) == 1:
            store.set("a", 10)
        return value + 1

    assert store.update("global", "a", change) == 11
    assert calls == [1, 10]


def test_what_cannot_be_stored_is_named_by_its_path_and_nothing_is_written(store):
    cycle = {}
    cycle["me"] = cycle
    with pytest.raises(CycleError):
        store.set("a", cycle)
    with pytest.raises(UnsupportedType):
        store.set("a", {"f": print})
    assert not store.exists("global", "a")


def test_a_value_past_the_size_limit_is_refused(tmp_path):
    store = StateStore("memory", coding=Coding(1000, None))
    store.set("a", "x" * 900)
    with pytest.raises(LimitExceeded):
        store.set("a", "x" * 1100)
    assert len(store.get("a")) == 900


def test_a_full_scope_takes_no_new_key_but_changes_to_old_ones(tmp_path):
    store = StateStore("memory", limits=Limits(max_keys_per_scope=3))
    for key in "abc":
        store.set(key, 1)
    with pytest.raises(LimitExceeded):
        store.set("d", 1)
    store.set("a", 2)
    store.save("user:1", "d", 1)
    store.delete("global", "a")
    store.set("d", 1)


def test_a_full_store_takes_no_more(tmp_path):
    store = StateStore("memory", limits=Limits(max_total_bytes=2000), coding=Coding(10_000, None))
    store.set("a", "x" * 3000)
    refused = 0
    for n in range(200):
        try:
            store.set("b", n)
        except LimitExceeded:
            refused += 1
    assert refused >= 100
    store.delete("global", "a")
    store.set("b", 1)


def test_a_damaged_value_is_an_error_of_that_key_alone(tmp_path):
    store = StateStore("sqlite", str(tmp_path / "state.db"))
    store.set("a", "good")
    store.set("b", "bad")
    raw = store.backend.get_many([b"global::b"])[0].value
    flipped = raw[:3] + bytes((raw[3] ^ 1,)) + raw[4:]
    store.backend._writer.execute("UPDATE entries SET value = ? WHERE key = ?", (flipped, b"global::b"))
    assert store.get("a") == "good"
    with pytest.raises(CorruptData) as caught:
        store.get("b")
    assert "global::b" in caught.value.message
    assert len(store.verify().errors) == 1
    store.close()


def test_a_value_found_under_another_key_is_damage():
    coding = Coding()
    raw = coding.dump(b"global::a", 1)
    assert coding.load(b"global::a", raw) == 1
    with pytest.raises(CorruptData):
        coding.load(b"global::b", raw)


def test_a_full_disk_is_reported_and_the_store_goes_on_afterwards(tmp_path):
    store = StateStore("sqlite", str(tmp_path / "state.db"), coding=Coding(10_000_000, None))
    store.set("a", 1)
    pages = store.backend._writer.execute("PRAGMA page_count").fetchone()[0]
    store.backend._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageFull):
        store.set("big", "x" * 100_000)
    assert store.get("a") == 1
    assert not store.exists("global", "big")
    store.backend._writer.execute("PRAGMA max_page_count = 1000000")
    store.set("big", "x" * 100_000)
    store.close()


def test_keys_of_the_pattern_are_written_with_full_durability(tmp_path):
    store = StateStore("memory", limits=Limits(full=("critical:*", "x?z")))
    words = []
    apply = store.backend.apply
    store.backend.apply = lambda *a, **k: (words.append(k["durability"]), apply(*a, **k))[1]
    for key in ("critical:a", "critical", "xyz", "xyzz"):
        store.save("user:1", key, 1)
    assert words == ["full", "normal", "full", "normal"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN, st.booleans())
def test_every_plain_value_comes_back_as_it_was(value, deflate):
    coding = Coding(10_000_000, 8 if deflate else None)
    found = coding.load(b"k", coding.dump(b"k", value))
    assert found == value
    assert type(found) is type(value)
