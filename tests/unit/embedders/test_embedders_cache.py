"""The cache of vectors: what it keeps, for how long, for whom, and what a damaged file does."""

import os
import random
import sqlite3
import stat
import threading
import time
from collections import OrderedDict

import pytest

from llmspell.embedders._cache import ENTRY_BYTES, VectorCache, key_of, partition_digest

HERE = partition_digest("global")


def key(number, partition=HERE):
    return key_of(partition, b"e:8:", str(number))


def made(path=None, *, entries=100, max_bytes=1 << 20, ttl_s=0.0):
    return VectorCache(entries=entries, max_bytes=max_bytes, ttl_s=ttl_s, path=path)


def test_it_keeps_what_a_dictionary_by_last_use_keeps():
    cache, model, dice = made(entries=10), OrderedDict(), random.Random(1)
    for _ in range(3000):
        number = dice.randrange(25)
        if dice.random() < 0.5:
            cache.put_many([(key(number), b"%d" % number)])
            model[number] = b"%d" % number
            model.move_to_end(number)
            if len(model) > 10:
                model.popitem(last=False)
        else:
            assert cache.get_many([key(number)]) == [model.get(number)]
            if number in model:
                model.move_to_end(number)
    assert cache.stats() == {
        "entries": len(model),
        "bytes": sum(map(len, model.values())) + len(model) * ENTRY_BYTES,
    }


def test_it_takes_no_more_memory_than_it_may():
    cache = made(max_bytes=5 * (1000 + ENTRY_BYTES))
    cache.put_many([(key(number), bytes(1000)) for number in range(50)])
    assert cache.stats() == {"entries": 5, "bytes": 5 * (1000 + ENTRY_BYTES)}
    cache.put_many([(key(99), bytes(1 << 20))])
    assert cache.stats()["entries"] == 0


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_entry_ends_with_its_life(tmp_path, monkeypatch, on_disk):
    cache = made(tmp_path / "c.db" if on_disk else None, ttl_s=60)
    cache.put_many([(key(1), b"one")])
    monotonic, wall = time.monotonic(), time.time()
    for passed, kept in ((59, b"one"), (61, None)):
        monkeypatch.setattr(time, "monotonic", lambda passed=passed: monotonic + passed)
        monkeypatch.setattr(time, "time", lambda passed=passed: wall + passed)
        assert cache.get_many([key(1)]) == [kept]
    cache.close()


def test_keys_tell_partitions_embedders_and_texts_apart():
    given = [
        key_of(partition_digest(partition), embedder, text)
        for partition in ("global", "tenant:a", "tenant:b")
        for embedder in (b"a:1:", b"a:1:query", b"b:1:", b"a:", b"")
        for text in ("", "1:x", "x", "query", ":x")
    ]
    assert len(set(given)) == len(given)


@pytest.mark.parametrize("on_disk", [False, True])
def test_forgetting_takes_one_partition_only(tmp_path, on_disk):
    path = tmp_path / "c.db" if on_disk else None
    cache = made(path)
    mine, yours = partition_digest("tenant:a"), partition_digest("tenant:b")
    cache.put_many([(key(n, partition), b"v") for n in range(5) for partition in (mine, yours)])
    cache.forget("tenant:a")
    cache.close()
    if on_disk:
        cache = made(path)
    assert cache.get_many([key(n, mine) for n in range(5)]) == [None] * 5
    assert cache.get_many([key(n, yours) for n in range(5)]) == [b"v"] * 5
    cache.close()


def test_a_file_serves_the_next_process_and_is_for_the_owner_alone(tmp_path):
    path = tmp_path / "new" / "c.db"
    first = made(path)
    first.put_many([(key(1), b"one")])
    first.close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    again = made(path)
    assert again.get_many([key(1), key(2)]) == [b"one", None]
    assert again.stats()["entries"] == 1
    again.close()
    again.close()


def test_a_file_holds_a_bounded_number_of_vectors(tmp_path, monkeypatch):
    path = tmp_path / "c.db"
    first = made(path, entries=1)
    first.put_many([(key(number), b"v") for number in range(250)])
    first.close()
    again = made(path, entries=1)
    again.get_many([key(0)])
    again.close()
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT count(*) FROM vectors").fetchone() == (100,)
    raw.close()


def test_a_damaged_file_costs_a_warning_and_nothing_else(tmp_path, caplog):
    path = tmp_path / "c.db"
    path.write_bytes(b"no database" * 100)
    cache = made(path)
    cache.put_many([(key(1), b"one")])
    assert cache.get_many([key(1), key(2)]) == [b"one", None]
    assert len([record for record in caplog.records if "given up" in record.message]) == 1
    cache.forget("global")
    assert cache.get_many([key(1)]) == [None]
    cache.close()


def test_threads_may_share_it(tmp_path):
    cache, wrong = made(tmp_path / "c.db", entries=50), []

    def work(seed):
        dice = random.Random(seed)
        for _ in range(150):
            number = dice.randrange(100)
            cache.put_many([(key(number), b"%d" % number)])
            found = cache.get_many([key(number)])[0]
            if found not in (b"%d" % number, None):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.stats()["entries"] == 50
    cache.close()
