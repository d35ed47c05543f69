"""No acknowledged write is lost when the writer is killed; real processes, real SIGKILL, random moments.

The same check, given a writer that keeps values in memory and replaces its file now and then, must fail: that shows
that the check can see a loss.
"""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time

import pytest

from llmspell.state import StateStore

KILLS = 20

SAFE = """
import sys
from llmspell.state import StateStore
store = StateStore("sqlite", sys.argv[1])
first = int(sys.argv[2])
for n in range(first, first + 1_000_000):
    store.set(f"k{n}", n)
    store.transaction(lambda tx: (tx.set("left", n), tx.save("user:1", "right", n)))
    store.increment("global", "count")
    print(n, flush=True)
"""

UNSAFE = """
import json, os, sys
path = sys.argv[1] + ".json"
kept = json.load(open(path)) if os.path.exists(path) else {}
first = int(sys.argv[2])
for n in range(first, first + 1_000_000):
    kept[f"k{n}"] = n
    if n % 1000 == 999:
        with open(path + ".new", "w") as file:
            json.dump(kept, file)
        os.replace(path + ".new", path)
    print(n, flush=True)
"""


def write_until_killed(code, path, first, seconds):
    """Run a writer, kill it after some time; return the numbers it acknowledged."""
    with subprocess.Popen([sys.executable, "-c", code, str(path), str(first)], stdout=subprocess.PIPE) as child:
        acknowledged = [child.stdout.readline()]
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    whole = [line for line in acknowledged if line.endswith(b"\n")]
    return [int(line) for line in whole]


def lost(acknowledged, present):
    """Return the acknowledged numbers that are not there."""
    return [n for n in acknowledged if present.get(f"k{n}") != n]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_twenty_kills_lose_no_acknowledged_write_and_tear_no_transaction(tmp_path):
    path = tmp_path / "state" / "state.db"
    luck = random.Random(7)
    acknowledged = []
    for _ in range(KILLS):
        first = acknowledged[-1] + 2 if acknowledged else 0
        acknowledged += write_until_killed(SAFE, path, first, luck.uniform(0, 0.04))
        store = StateStore("sqlite", str(path))
        started = time.perf_counter()
        present = store.get_all("global")
        recovery = time.perf_counter() - started
        assert lost(acknowledged, present) == []
        assert present["left"] == store.load("user:1", "right")
        assert present["count"] >= len(acknowledged)
        assert recovery < 2
        assert store.verify().errors == []
        store.close()
    assert len(acknowledged) > KILLS


def test_the_same_check_sees_the_loss_of_an_unsafe_writer(tmp_path):
    losses = 0
    for attempt in range(4):
        path = tmp_path / f"state-{attempt}"
        acknowledged = write_until_killed(UNSAFE, path, 1, 0.01)
        kept = path.with_suffix(".json")
        present = json.loads(kept.read_text()) if kept.exists() else {}
        losses += bool(lost(acknowledged, present))
    assert losses


COUNT = """
import sys
from llmspell.state import StateStore
store = StateStore("sqlite", sys.argv[1])
for _ in range(150):
    store.increment("global", "n")
    store.append("global", "list", 1, max_items=10)
"""


def test_increments_of_several_processes_are_exact(tmp_path):
    path = str(tmp_path / "state" / "state.db")
    children = [subprocess.Popen([sys.executable, "-c", COUNT, path]) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    store = StateStore("sqlite", path)
    assert store.get("n") == 450
    store.close()


RESTORE = """
import asyncio, sys
from pathlib import Path
from llmspell.state import StateStore
store = StateStore("sqlite", sys.argv[1], backups=Path(sys.argv[2]))
ids = sys.argv[3:]
print("ready", flush=True)
while True:
    for one in ids:
        asyncio.run(store.backups.restore(one, backup_current=False))
"""


def test_a_killed_restore_leaves_the_old_content_or_the_new_one(tmp_path):
    path, folder = tmp_path / "state" / "state.db", tmp_path / "backups"
    store = StateStore("sqlite", str(path), backups=folder)
    ids = []
    for name in ("old", "new"):
        store.clear_scope("global")
        store.transaction(lambda tx, name=name: [tx.set(f"{name}-{n}", name) for n in range(300)])
        ids.append(asyncio.run(store.backups.create()).id)
    store.close()
    luck = random.Random(3)
    seen = set()
    for _ in range(6):
        command = [sys.executable, "-c", RESTORE, str(path), str(folder), *ids]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(luck.uniform(0, 0.05))
            child.kill()
        store = StateStore("sqlite", str(path))
        values = store.get_all("global")
        seen.add(tuple(sorted(set(values.values()))))
        assert len(values) == 300
        store.close()
    assert seen <= {("new",), ("old",)}
