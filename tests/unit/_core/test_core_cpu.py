from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llmspell._core import cpu


def active(wish):
    program = "from llmspell._core import cpu; print(cpu()['active'], cpu()['detected'])"
    environment = {**os.environ, "LLMSPELL_SIMD": wish}
    out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return out.stdout.split()


def test_cpu_tells_features_as_bools_and_levels_as_words():
    found = cpu()
    levels = {found.pop("detected"), found.pop("active")}
    assert levels <= {"baseline", "neon", "avx2", "avx512"}
    assert all(type(value) is bool for value in found.values())


def test_the_environment_can_lower_the_level():
    assert active("baseline")[0] == "baseline"


@pytest.mark.parametrize("wish", ["avx512", "neon", "nonsense", ""])
def test_the_environment_cannot_raise_the_level_nor_leave_its_family(wish):
    level, detected = active(wish)
    assert level == detected
