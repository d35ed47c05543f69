"""What commands import: counted, because module counts are steadier than milliseconds."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {
    "asyncio",
    "aiohttp",
    "numpy",
    "uvloop",
    "logging",
    "pydantic",
    "jinja2",
    "regex",
    "dateutil",
    "prompt_toolkit",
    "zmq",
}
PROGRAM = """
import sys, io, json
sys.argv = ["llmspell"] + {argv!r}
from llmspell.cli.entry import main
out, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO())
code = 0
try:
    code = main()
except SystemExit as stop:
    code = stop.code
print(json.dumps([code or 0, sorted(m for m in sys.modules)]), file=out)
"""


def modules_of(argv, tmp_path):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("LLMSPELL") and not k.endswith("_KEY")} | {
        "LLMSPELL_HOME": str(tmp_path)
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(argv=argv)],
        capture_output=True,
        text=True,
        env=environ,
        cwd=tmp_path,
        check=False,
    )
    assert run.stdout, run.stderr
    code, modules = json.loads(run.stdout.strip().split("\n")[-1])
    assert code == 0, run.stderr
    return set(modules)


@pytest.mark.parametrize(
    "argv",
    [
        ["--version"],
        ["--help"],
        ["tool", "list"],
        ["tool", "info", "calculator"],
        ["completion", "bash"],
        ["config", "list-profiles"],
    ],
    ids=" ".join,
)
def test_a_listing_command_imports_nothing_heavy(argv, tmp_path):
    forbidden = HEAVY | {"msgspec", "argparse", "importlib.metadata", "lupa", "tomllib"}
    # the test's own program imports json; the command itself may not need it
    assert modules_of(argv, tmp_path) & forbidden == set()


def test_exec_of_an_expression_needs_no_event_loop(tmp_path):
    assert modules_of(["exec", "return 1+1"], tmp_path) & HEAVY == set()


def test_importing_the_package_loads_no_module_of_it():
    code = "import sys, llmspell; print(sorted(m for m in sys.modules if m.startswith('llmspell')))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['llmspell', 'llmspell.version']"


def test_public_names_are_importable():
    import llmspell

    for name in llmspell.__all__:
        assert getattr(llmspell, name) is not None
