"""Files that are not what was saved, opened in processes of their own: no crash, no hang, no absurd memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmspell._core import VectorIndex
from llmspell.errors import CorruptData

HERE = Path(__file__).parent
KINDS = ["f32", "i8", "i8+f32", "l1", "exact", "exact-i8", str(HERE.parents[1] / "golden" / "hnswlib-cosine.bin")]


def child(*arguments, timeout=300):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: Path(kind).name)
def test_a_damaged_file_is_refused_or_answers_in_shape(tmp_path, kind):
    done = child(HERE / "damaged_files.py", tmp_path, kind, "168", "5")
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(done.stdout)
    assert sum(outcomes.values()) > 150
    # What a cut leaves is never taken for the whole, and the checksums miss nothing they cover.
    assert outcomes["cut corrupt"] == sum(number for name, number in outcomes.items() if name.startswith("cut"))
    assert outcomes["flip corrupt"] > 0
    assert any("answered" in name for name in outcomes)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (VectorIndex.open, lambda path: VectorIndex.import_hnswlib(path, 3)):
        with pytest.raises(CorruptData):
            read(tmp_path / "pipe")


def test_bytes_that_are_no_encoded_value_are_refused_at_a_place():
    done = child(HERE.parents[1] / "core" / "fuzz" / "fuzz_codec.py", "--runs", "20000", "--seed", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "20000 executions" in done.stdout


CHOSEN_KEYS = """
import numpy as np
from llmspell._core import VectorIndex

# All of them fell on one place of the map of keys while its hash was known.
high = np.arange(1, 1_600_001, dtype=np.uint64)
keys = (high << np.uint64(32) | high) * np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))
keys = keys[keys < 2**63].astype(np.int64)
index = VectorIndex(1, "l2", exact_below=10**6)
assert index.add(keys, np.ones((len(keys), 1))) == len(keys) > 790_000
"""


def test_keys_chosen_to_collide_are_added_as_fast_as_others():
    assert child("-c", CHOSEN_KEYS, timeout=60).returncode == 0
