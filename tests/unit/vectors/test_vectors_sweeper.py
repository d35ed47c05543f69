"""Expired documents go from the disk by themselves."""

import gc
import threading
import time
import weakref

import numpy as np

from llmspell.errors import StorageFailure
from llmspell.vectors import Catalog, Part, Query, Recorded, Stored
from llmspell.vectors.sweeper import Sweeper

RECORDED = Recorded(embedder="t", embedder_id="t", dimensions=4, metric="cosine", created=1.0)


def entry(ident, expires):
    return Stored(
        id=ident,
        parts=[Part("x", 0, 1)],
        vectors=np.ones((1, 4), np.float32),
        digest=b"",
        ingested=1.0,
        expires=expires,
    )


class Rounds:
    def __init__(self, wanted):
        self.count = 0
        self.wanted = wanted
        self.reached = threading.Event()

    def sweep(self):
        self.count += 1
        if self.count >= self.wanted:
            self.reached.set()
        raise StorageFailure("busy just now")


def test_rounds_go_on_after_one_that_failed_and_end_with_stop():
    rounds = Rounds(3)
    sweeper = Sweeper(rounds.sweep, every_s=0.001)
    sweeper.start()
    sweeper.start()
    assert rounds.reached.wait(10)
    sweeper.stop()
    count = rounds.count
    assert [thread.name for thread in threading.enumerate()].count("llmspell-sweep") == 0
    assert rounds.count == count


def test_a_catalog_sweeps_its_collections_and_tenants_while_it_is_open(tmp_path):
    catalog = Catalog(tmp_path, memory=False, durability="none", max_bytes=1 << 20)
    for scope in ("global", "tenant:a"):
        catalog.make("docs", RECORDED, scope).put(scope, [entry("gone", 1.0), entry("stays", time.time() + 99)])
    assert [thread.name for thread in threading.enumerate()].count("llmspell-sweep") == 1
    assert catalog.sweep() == 2
    assert catalog.sweep() == 0
    assert catalog.stats("docs")["documents"] == 2
    catalog.close()
    assert [thread.name for thread in threading.enumerate()].count("llmspell-sweep") == 0


def test_a_forgotten_catalog_is_not_kept_alive(tmp_path):
    catalog = Catalog(tmp_path, memory=True, durability="none", max_bytes=1 << 20)
    catalog.make("docs", RECORDED)
    kept = weakref.ref(catalog)
    sweeper = catalog._sweeper
    del catalog
    gc.collect()
    assert kept() is None
    sweeper.stop()


def test_indexes_of_all_tenants_together_stay_within_their_bytes(tmp_path):
    catalog = Catalog(tmp_path, memory=False, durability="none", max_bytes=40_000, max_tenants=1000)
    query = Query(k=1, vector=np.ones(4, np.float32))
    for number in range(64):
        scope = f"tenant:{number}"
        found = catalog.make("docs", RECORDED, scope)
        found.put(scope, [entry("d", None)])
        assert len(found.search(scope, query)[0]) == 1
    assert len(catalog._awake) < 64
    assert all(len(catalog.find("docs", f"tenant:{n}").search(f"tenant:{n}", query)[0]) == 1 for n in range(64))
    catalog.close()
