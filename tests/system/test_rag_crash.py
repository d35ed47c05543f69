"""No acknowledged document is lost or doubled when an ingestion is killed; real processes, real SIGKILL, random moments.

`LLMSPELL_TEST_KILLS=100` makes it a hundred kills. The same check, given a writer that acknowledges before it stores,
must fail: that shows that the check can see a loss.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from llmspell.config import load
from llmspell.rag import Rag
from llmspell.vectors import Query, graph_files, lexical, rows

KILLS = int(os.environ.get("LLMSPELL_TEST_KILLS", "6"))
PLACES = ({}, {"tenant_id": "acme"})
SETS = ["rag.vector_storage.hnsw.exact_below=40", "rag.chunking.chunk_size=30", "rag.chunking.min_chunk_size=1",
        "rag.chunking.overlap=0", "rag.vector_storage.hnsw.num_threads=1"]  # fmt: skip

OPEN = f"""
import asyncio, sys
from pathlib import Path
from llmspell.config import load
from llmspell.rag import Rag
home = Path(sys.argv[1])
rag = Rag(load(sets={SETS!r}, environ={{}}, cwd=home, home=home).config.rag, home=home)
def text(n):
    return " ".join(f"document {{n}} sentence {{i}} speaks of {{n * 7 + i}}." for i in range(n % 5 * 8 + 1))
def batch(n):
    return [{{"id": f"d{{m}}", "content": text(m)}} for m in range(n, n + 6)] + [{{"id": "same", "content": text(n)}}]
async def work(first):
    for n in range(first, first + 600_000, 6):
        place = {{}} if n % 12 else {{"tenant_id": "acme"}}
        # LOOP
asyncio.run(work(int(sys.argv[2])))
"""
INGEST = OPEN.replace(
    "# LOOP", "await rag.ingest(batch(n), **place); print(n, flush=True); await rag.search(text(n), **place)"
)
SAVE = OPEN.replace("# LOOP", "await rag.ingest(batch(n), **place); print(n, flush=True); rag.save()")
UNSAFE = OPEN.replace("# LOOP", "print(n, flush=True); await rag.ingest(batch(n), **place)")

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


def killed(code, home, first, seconds):
    """Run a writer, kill it some time after its first word; return the batches it acknowledged."""
    with subprocess.Popen([sys.executable, "-c", code, str(home), str(first)], stdout=subprocess.PIPE) as child:
        lines = [child.stdout.readline()]
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [int(line) for line in lines if line.endswith(b"\n")]


def text(n):
    return " ".join(f"document {n} sentence {i} speaks of {n * 7 + i}." for i in range(n % 5 * 8 + 1))


def everything(rag, place):
    found, after = {}, None
    while page := rag.list_documents(limit=500, after=after, **place):
        assert not found.keys() & {item["id"] for item in page}
        found |= {item["id"]: item for item in page}
        after = page[-1]["id"]
    return found


def missing(batches, documents):
    """Return the documents of acknowledged batches that are not there."""
    return [f"d{m}" for n in batches for m in range(n, n + 6) if f"d{m}" not in documents]


def indexed(connection, scope):
    """Return how many chunks the word table of a scope has."""
    place = rows.place(connection, scope)
    if place is None:  # its file was made and nothing put in yet
        return 0
    return connection.execute(f"SELECT count(*) FROM {lexical.table(place.number)}_docsize").fetchone()[0]


def recall(collection, scope, documents):
    """Return how many of the nearest by exact scan, or as near ones, the graph finds for some stored vectors."""
    found = []
    for ident in sorted(documents)[:: max(len(documents) // 50, 1)]:
        row = collection.get(scope, ident, vectors=True)["vectors"][0]
        asked = [Query(k=10, vector=row, exact=exact, candidates=1, raw=True) for exact in (True, False)]
        exact, walked = (collection.search(scope, query)[0] for query in asked)
        found.append(sum(hit.score >= exact[-1].score - 1e-5 for hit in walked) / len(exact))
    return float(np.mean(found)) if found else 1.0


def check(home, acknowledged):
    """Open the store, compare it with what was acknowledged, and with itself; return what is lost."""
    started = time.perf_counter()
    rag = Rag(load(sets=SETS, environ={}, cwd=home, home=home).config.rag, home=home)
    last = max(acknowledged)
    place = PLACES[0] if last % 12 else PLACES[1]
    hits = asyncio.run(rag.search(text(last), mode="vector", k=1, **place)).results
    assert time.perf_counter() - started < 2
    lost = []
    for place, rest in zip(PLACES, (6, 0), strict=True):
        batches = [n for n in acknowledged if n % 12 == rest]
        documents = everything(rag, place)
        lost += missing(batches, documents)
        collection = rag._catalog.find("default", "tenant:acme" if place else "global")
        if collection is None:
            continue
        counts = rag.get_stats(**({"scope": "tenant", "scope_id": "acme"} if place else {}))
        assert counts["total_documents"] == len(documents)
        assert counts["total_chunks"] == counts["total_vectors"] == sum(item["chunks"] for item in documents.values())
        for n in batches[-2:]:
            assert all(rag.get(f"d{m}", **place)["content"] == text(m) for m in range(n, n + 6) if f"d{m}" not in lost)
        row = np.ones(384, np.float32)
        scope = "tenant:acme" if place else "global"
        found = collection.search(scope, Query(k=100_000, vector=row, exact=True))[0]
        assert len({hit.id for hit in found}) == len(found) == counts["total_vectors"]
        with collection.reading() as connection:
            assert indexed(connection, scope=scope) == counts["total_vectors"]
        assert recall(collection, scope, documents) > 0.9
    rag.close()
    assert hits or lost
    return lost


def run(code, home, kills, luck, seconds):
    acknowledged = []
    for _ in range(kills):
        first = max(acknowledged) + 6 if acknowledged else 6
        acknowledged += killed(code, home, first, luck.uniform(0, seconds))
        lost = check(home, acknowledged)
        if lost:
            return lost
    return []


def test_kills_during_ingestion_lose_no_acknowledged_document_and_double_none(tmp_path):
    assert run(INGEST, tmp_path, KILLS, random.Random(3), 0.15) == []


def test_kills_while_graphs_are_saved_lose_nothing_either(tmp_path):
    assert run(SAVE, tmp_path, max(KILLS // 2, 3), random.Random(4), 0.15) == []
    saved = list(tmp_path.rglob("*.lsvx"))
    assert graph_files.path_of(tmp_path / "vectors" / "default", "global") in saved


def test_the_check_sees_what_a_careless_writer_loses(tmp_path):
    assert run(UNSAFE, tmp_path, 20, random.Random(5), 0.02) != []
