"""What a command imports, which is steadier than milliseconds."""

import subprocess
import sys

import pytest

HEAVY = (
    "asyncio",
    "logging",
    "argparse",
    "importlib.metadata",
    "lupa",
    "msgspec",
    "numpy",
    "json",
    "tomllib",
    "typing",
)


def imported(tmp_path, *words):
    code = (
        "import sys; from llmspell.cli.entry import main; code = main(sys.argv[1:]); sys.stdout.flush();"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-X", "frozen_modules=on", "-c", code, *words], capture_output=True, text=True,
        cwd=tmp_path, timeout=30, check=True,
    )  # fmt: skip
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize(
    "words",
    [
        ["--version"], ["--help"], ["completion", "bash"], ["tool", "list"], ["tool", "info", "calculator"],
        ["tool", "search", "hash"], ["config", "list-profiles"],
    ],
)  # fmt: skip
def test_light_commands_import_nothing_heavy(tmp_path, words):
    assert not imported(tmp_path, *words) & set(HEAVY)


def test_exec_starts_no_loop_and_loads_no_arrays(tmp_path):
    found = imported(tmp_path, "exec", "return 1+1")
    assert not found & {"asyncio", "uvloop", "aiohttp", "numpy", "logging", "tomllib", "argparse", "importlib.metadata"}
