"""Transactions: a snapshot, all or nothing, and another run after a conflict."""

import threading

import pytest

from llmspell.errors import Conflict, StorageError
from llmspell.state import StateStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = StateStore(request.param, str(tmp_path / "state" / "state.db"))
    yield made
    made.close()


def test_a_transaction_sees_its_own_writes_and_nobody_else_does_before_the_end(store):
    store.set("a", 1)

    def body(tx):
        tx.set("a", 2)
        tx.save("user:1", "b", 3)
        tx.delete("global", "c")
        assert tx.increment("global", "a") == 3
        assert tx.append("global", "l", "x") == 1
        assert (tx.get("a"), tx.list_scopes(), tx.list_keys()) == (3, ["global", "user:1"], ["a", "l"])
        assert (store.get("a"), store.list_scopes()) == (1, ["global"])
        return "done"

    assert store.transaction(body) == "done"
    assert (store.get("a"), store.load("user:1", "b"), store.get("l")) == (3, 3, ["x"])


def test_an_error_in_the_body_writes_nothing_and_comes_out_unchanged(store):
    error = KeyError("mine")

    def body(tx):
        tx.set("a", 2)
        raise error

    with pytest.raises(KeyError) as caught:
        store.transaction(body)
    assert caught.value is error
    assert not store.exists("global", "a")


def test_reads_are_of_one_moment(store):
    store.set("a", 1)
    store.set("b", 1)

    def body(tx):
        assert tx.get("a") == 1
        if len(runs) == 0:
            store.set("b", 2)
        runs.append(tx.get("b"))

    runs = []
    store.transaction(body)
    assert runs == [1]


def test_a_conflict_runs_the_body_again(store):
    store.set("a", 1)
    runs = []

    def body(tx):
        value = tx.get("a")
        runs.append(value)
        if len(runs) < 3:
            store.set("a", value + 10)
        tx.set("a", value + 1)

    store.transaction(body)
    assert runs == [1, 11, 21]
    assert store.get("a") == 22


def test_a_key_that_appears_in_a_listed_range_is_a_conflict(store):
    runs = []

    def body(tx):
        found = tx.list_keys()
        runs.append(found)
        if len(runs) == 1:
            store.set("new", 1)
        tx.save("user:1", "count", len(found))

    store.transaction(body)
    assert len(runs) == 2
    assert store.load("user:1", "count") == 1


def test_after_all_retries_the_conflict_is_raised_and_nothing_is_written(store):
    store.set("a", 0)
    runs = []

    def body(tx):
        runs.append(tx.get("a"))
        store.increment("global", "a")
        tx.set("b", 1)

    with pytest.raises(Conflict):
        store.transaction(body, retries=2)
    assert len(runs) == 3
    assert not store.exists("global", "b")


def test_writes_to_keys_that_were_not_read_never_conflict(store):
    def body(tx):
        tx.get("mine")
        store.increment("global", "other")
        tx.set("mine", 1)

    store.transaction(body, retries=0)
    assert (store.get("mine"), store.get("other")) == (1, 1)


def test_an_inner_call_joins_the_outer_transaction(store):
    def outer(tx):
        store.transaction(lambda inner: inner.set("a", 1))
        tx.transaction(lambda inner: inner.set("b", 1))
        assert not store.exists("global", "a")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.transaction(outer)
    assert store.list_keys() == []


def test_an_ended_transaction_refuses_further_use(store):
    tx = store.begin()
    tx.set("a", 1)
    tx.rollback()
    tx.rollback()
    for use in (tx.commit, lambda: tx.get("a"), lambda: tx.set("a", 2), tx.list_keys):
        with pytest.raises(StorageError):
            use()
    assert not store.exists("global", "a")


def test_transfers_of_many_threads_keep_the_sum(store):
    for name in "abc":
        store.set(name, 100)
    stop = threading.Event()
    sums = []

    def watch():
        while not stop.is_set():
            sums.append(store.transaction(lambda tx: sum(tx.get(name) for name in "abc"), retries=100))

    def move(source, target):
        def body(tx):
            tx.set(source, tx.get(source) - 1)
            tx.set(target, tx.get(target) + 1)

        for _ in range(20):
            store.transaction(body, retries=500, timeout=30)

    watcher = threading.Thread(target=watch)
    movers = [threading.Thread(target=move, args=pair) for pair in ("ab", "bc", "ca", "ba")]
    watcher.start()
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    stop.set()
    watcher.join()
    assert set(sums) == {300}
    assert (store.get("a"), store.get("b"), store.get("c")) == (120, 80, 100)
