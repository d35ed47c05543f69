"""Tenants of a collection: a file each, bounded open files, nothing of a name in a path, not one row crosses."""

import gc
import os
import random
import shutil
import sqlite3
import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.errors import ComponentError, CorruptData, InvalidScope
from llmspell.vectors import Catalog, Collection, Part, Query, Recorded, Stored, connections, files, tenants

DIM = 8
RECORDED = Recorded(embedder="t", embedder_id="t", dimensions=DIM, metric="cosine", created=1.0)
HOSTILE = ["tenant:a/../b", "tenant:a", "tenant:ab", "tenant:A", "tenant:a:b", "tenant:a%2Fb", "tenant:*", "tenant:\u00e9",
           "tenant:e\u0301", "tenant:__global__", "tenant:" + "x" * 400, "tenant:data.db", "tenant:."]  # fmt: skip


def entry(ident, text="some words", **more):
    row = np.random.default_rng(len(ident)).normal(size=(1, DIM)).astype(np.float32)
    return Stored(
        id=ident, parts=[Part(text, 0, 2)], vectors=row, digest=b"d", ingested=more.pop("ingested", 1.0), **more
    )


def catalog_of(folder, **options):
    return Catalog(folder, memory=False, durability="none", max_bytes=1 << 20, **options)


@pytest.fixture
def catalog(tmp_path):
    found = catalog_of(tmp_path / "v", max_tenants=4)
    yield found
    found.close()


def put(catalog, scope, *entries):
    found = catalog.make("docs", RECORDED, scope)
    found.put(scope, entries)
    return found


def every(catalog, scope):
    found = catalog.find("docs", scope)
    return (
        []
        if found is None
        else sorted(hit.text for hit in found.search(scope, Query(k=99, vector=np.ones(DIM, np.float32)))[0])
    )


def test_every_tenant_has_a_file_of_its_own_and_no_path_holds_its_name(catalog, tmp_path):
    for scope in HOSTILE:
        put(catalog, scope, entry("same id", scope))
    assert [every(catalog, scope) for scope in HOSTILE] == [[scope] for scope in HOSTILE]
    assert catalog.scopes("docs") == sorted(HOSTILE)
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("data.db")]
    assert len(files) == len(HOSTILE) + 1
    assert all(set(str(path)) <= set("abcdefghijklmnopqrstuvwxyz0123456789/.") for path in files)
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    catalog.close()
    again = catalog_of(tmp_path / "v")
    assert [every(again, scope) for scope in HOSTILE] == [[scope] for scope in HOSTILE]
    again.close()


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_scopes_never_share_a_file(tmp_path_factory, one, other):
    root = tmp_path_factory.getbasetemp()
    files = [tenants.file_of(root, "tenant:" + name) for name in (one, other)]
    assert (files[0] == files[1]) == (one == other)
    assert all(file.resolve().is_relative_to(root.resolve()) for file in files)


def test_a_file_is_used_only_for_the_scope_that_is_written_in_it(catalog, tmp_path):
    put(catalog, "tenant:a", entry("d", "secret of a"))
    put(catalog, "tenant:b", entry("d", "of b"))
    catalog.close()
    mine, other = (tenants.file_of(tmp_path / "v" / "docs", f"tenant:{name}") for name in "ab")
    shutil.copy(mine, other)
    again = catalog_of(tmp_path / "v")
    with pytest.raises(CorruptData):
        again.find("docs", "tenant:b")
    with pytest.raises(InvalidScope):
        again.find("docs", "tenant:a").put("tenant:b", [entry("x")])
    again.close()


def descriptors():
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def test_open_files_are_bounded_and_idle_tenants_cost_nothing(catalog):
    for number in range(20):
        put(catalog, f"tenant:{number}", entry("d", str(number)))
    gc.collect()
    before = descriptors()
    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]
    for number in range(20, 120):
        put(catalog, f"tenant:{number}", entry("d", str(number)))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - start
    tracemalloc.stop()
    assert descriptors() <= before + 4
    assert grown / 100 < 2048
    assert all(every(catalog, f"tenant:{number}") == [str(number)] for number in range(120))
    assert catalog.stats("docs")["documents"] == 120


def test_one_that_is_held_while_it_rests_wakes_at_its_next_use(catalog):
    held = put(catalog, "tenant:held", entry("d", "one"))
    for number in range(10):
        put(catalog, f"tenant:{number}", entry("d"))
    held.put("tenant:held", [entry("e", "two")])
    assert catalog.find("docs", "tenant:held") is held
    assert every(catalog, "tenant:held") == ["one", "two"]


def test_a_tenant_goes_with_its_folder_and_comes_back_empty(catalog, tmp_path):
    held = put(catalog, "tenant:a", entry("d", "old"))
    put(catalog, "tenant:b", entry("d", "kept"))
    assert catalog.drop_scope("docs", "tenant:a")["vectors"] == 1
    assert not tenants.file_of(tmp_path / "v" / "docs", "tenant:a").parent.exists()
    assert list((tmp_path / "v" / ".gone").iterdir()) == []
    assert catalog.scopes("docs") == ["tenant:b"]
    assert catalog.drop_scope("docs", "tenant:a")["vectors"] == 0
    with pytest.raises(ComponentError):
        held.put("tenant:a", [entry("late")])
    assert every(catalog, "tenant:a") == []
    put(catalog, "tenant:a", entry("d", "new"))
    assert every(catalog, "tenant:a") == ["new"]
    assert every(catalog, "tenant:b") == ["kept"]


@pytest.mark.parametrize("scope", ["tenant:a", "global"])
def test_what_another_process_removed_is_not_written_to(catalog, tmp_path, scope, monkeypatch):
    held = put(catalog, scope, entry("d", "old"))
    other = catalog_of(tmp_path / "v")
    if scope == "global":
        other.drop("docs")
    else:
        other.drop_scope("docs", scope)
    with pytest.raises(ComponentError):
        held.put(scope, [entry("late")])
    monkeypatch.setattr(connections, "TRUSTED_S", 0.0)
    assert catalog.find("docs", scope) is None
    monkeypatch.undo()
    put(catalog, scope, entry("d", "new"))
    assert every(other, scope) == ["new"]
    other.drop_scope("docs", scope)
    put(catalog, scope, entry("d", "newer"))
    assert every(other, scope) == ["newer"]
    other.close()


def test_what_an_interrupted_removal_left_goes_with_the_next_start(tmp_path):
    rest = tmp_path / ".gone" / "abc-1-2"
    rest.mkdir(parents=True)
    (rest / "data.db").write_bytes(b"x")
    catalog_of(tmp_path).close()
    assert not rest.exists()


def test_a_file_whose_making_was_interrupted_is_no_tenant(catalog, tmp_path):
    catalog.make("docs", RECORDED)
    file = tenants.file_of(tmp_path / "v" / "docs", "tenant:a")
    tenants.label(file, "tenant:a")
    assert catalog.find("docs", "tenant:a") is None
    assert catalog.scopes("docs") == []
    raw = sqlite3.connect(file)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.close()
    assert catalog.find("docs", "tenant:a") is None
    put(catalog, "tenant:a", entry("d", "text"))
    assert every(catalog, "tenant:a") == ["text"]


def test_dropping_a_collection_takes_its_tenants_along(catalog, tmp_path):
    held = put(catalog, "tenant:a", entry("d"))
    assert catalog.drop("docs") == 1
    assert not (tmp_path / "v" / "docs").exists()
    with pytest.raises(ComponentError):
        held.stats()


OLD_SCHEMA = """
CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, embedder TEXT NOT NULL,
    embedder_id TEXT NOT NULL, dimensions INTEGER NOT NULL, metric TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE scopes(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE documents(key INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL, id TEXT NOT NULL,
    digest BLOB NOT NULL, metadata TEXT NOT NULL, source TEXT, event_time REAL, ingested REAL NOT NULL,
    created REAL NOT NULL, expires REAL, chunks INTEGER NOT NULL, tokens INTEGER NOT NULL,
    bytes INTEGER NOT NULL, own INTEGER NOT NULL, UNIQUE(scope, id));
CREATE INDEX documents_expires ON documents(scope, expires) WHERE expires IS NOT NULL;
CREATE TABLE chunks(key INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL,
    position INTEGER NOT NULL, start INTEGER NOT NULL, metadata TEXT, text TEXT NOT NULL);
CREATE INDEX chunks_document ON chunks(document, position);
CREATE TABLE vectors(key INTEGER PRIMARY KEY, scope INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX vectors_scope ON vectors(scope);
CREATE TABLE notes(name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO meta VALUES (1, 1, 't', 't', 8, 'cosine', 1.0);
INSERT INTO scopes VALUES (1, 'global'), (2, 'tenant:old');
INSERT INTO documents VALUES (1, 2, 'd', x'00', '{}', NULL, NULL, 1.0, 1.0, NULL, 1, 1, 9, 0);
INSERT INTO chunks VALUES (1, 1, 0, 0, NULL, 'written long ago');
CREATE VIRTUAL TABLE words_1 USING fts5(text, content='', tokenize="porter unicode61 remove_diacritics 2");
CREATE VIRTUAL TABLE words_2 USING fts5(text, content='', tokenize="porter unicode61 remove_diacritics 2");
INSERT INTO words_2(rowid, text) VALUES (1, 'written long ago');
"""


def test_tenants_of_an_older_store_stay_where_they_are(catalog, tmp_path):
    file = tmp_path / "v" / "docs" / "data.db"
    file.parent.mkdir(parents=True)
    raw = sqlite3.connect(file)
    raw.executescript(OLD_SCHEMA)
    raw.execute("INSERT INTO vectors VALUES (1, 2, ?)", (np.ones(DIM, np.float32).tobytes(),))
    raw.commit()
    raw.close()
    assert every(catalog, "tenant:old") == ["written long ago"]
    put(catalog, "tenant:old", entry("e", "now"))
    assert every(catalog, "tenant:old") == ["now", "written long ago"]
    assert list(tmp_path.rglob("tenants")) == []
    assert catalog.drop_scope("docs", "tenant:old")["documents"] == 2
    put(catalog, "tenant:old", entry("f", "moved"))
    assert len(list(tmp_path.rglob("data.db"))) == 2


def test_in_memory_they_are_scopes_and_are_read_again_from_the_saved_file(tmp_path):
    memory = Catalog(tmp_path, memory=True, durability="none", max_bytes=1 << 20)
    memory.make("docs", RECORDED, "tenant:a").put("tenant:a", [entry("d", "text")])
    memory.save()
    memory.close()
    again = catalog_of(tmp_path)
    assert every(again, "tenant:a") == ["text"]
    again.close()


def test_threads_over_many_tenants_see_their_own_rows_alone(catalog):
    wrong = []
    stop = time.monotonic() + 1.5

    def work(seed):
        rng = random.Random(seed)
        while time.monotonic() < stop and not wrong:
            scope = f"tenant:{rng.randrange(12)}"
            try:
                match rng.randrange(6):
                    case 0 | 1 | 2:
                        put(catalog, scope, entry(f"d{rng.randrange(5)}", scope))
                    case 3:
                        catalog.drop_scope("docs", scope)
                    case _:
                        if not set(every(catalog, scope)) <= {scope}:
                            wrong.append(scope)
            except ComponentError as error:  # dropped by another thread between finding and using it
                if error.code != "closed":
                    wrong.append(repr(error))
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_newer_scope_column_is_in_files_of_today(tmp_path):
    made = Collection("c", str(tmp_path / "data.db"), recorded=RECORDED, scope="tenant:x")
    made.close()
    raw = sqlite3.connect(made.path)
    assert raw.execute("SELECT format, scope FROM meta").fetchone() == (2, "tenant:x")
    raw.close()


def test_counting_all_wakes_nobody_and_misses_nothing(catalog, tmp_path):
    for number in range(12):
        put(catalog, f"tenant:{number}", entry("d"), entry("e", expires=1.0))
    other = catalog_of(tmp_path / "v")
    put(other, "tenant:0", entry("f"))
    awake = set(catalog._awake)
    assert ("docs", "tenant:1") not in awake
    counts = catalog.stats("docs")
    assert set(catalog._awake) <= awake | {("docs", "tenant:0")}
    assert (counts["documents"], counts["vectors"], counts["expired"], counts["scopes"]) == (25, 25, 12, 12)
    assert counts["bytes"] > 12 * 10_000
    other.close()
    assert files.peek(tmp_path / "nothing" / "data.db") is None
    assert not (tmp_path / "nothing").exists()
