"""Several processes write, search, delete and save in one folder at once; each sees its own writes and none is lost."""

import subprocess
import sys

from llmspell.vectors import HnswVectors

PROCESSES, ROUNDS, BATCH = 3, 25, 5
WORK = """
import sys
import numpy as np
from llmspell.vectors import HnswVectors, VectorEntry, VectorQuery
from llmspell.vectors.records import IndexSettings

folder, who, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
storage = HnswVectors(folder, durability="none", index=IndexSettings(exact_below=60, num_threads=1))
rng = np.random.default_rng(int(who))
for turn in range(rounds):
    rows = rng.normal(size=(5, 16)).astype(np.float32)
    for scope in ("global", "tenant:x"):
        storage.store_many(
            [VectorEntry(id=f"{who}-{turn}-{at}", embedding=row, scope=scope) for at, row in enumerate(rows)]
        )
        found = [hit.id for hit in storage.search(VectorQuery(vector=rows[0], k=3, scope=scope))]
        assert f"{who}-{turn}-0" in found, (who, turn, scope, found)
        assert storage.delete(f"{who}-{turn}-4", scope=scope)
    if turn % 8 == 7:
        storage.persist()
storage.close()
"""


def test_processes_share_a_folder_and_lose_nothing(tmp_path):
    command = [sys.executable, "-c", WORK, str(tmp_path)]
    running = [
        subprocess.Popen([*command, str(number), str(ROUNDS)], stderr=subprocess.PIPE) for number in range(PROCESSES)
    ]
    assert [(child.communicate()[1], child.returncode) for child in running] == [(b"", 0)] * PROCESSES
    storage = HnswVectors(tmp_path)
    for scope in ("global", "tenant:x"):
        assert storage.get_stats(scope).total_vectors == PROCESSES * ROUNDS * (BATCH - 1)
    storage.close()
