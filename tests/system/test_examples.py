"""Every example, run as its `Run:` line says in a copy of its folder, writes exactly what stands beside it.

`python tests/system/test_examples.py` writes the expected output of examples that have none.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path for path in EXAMPLES.glob("*/*") if path.suffix in {".lua", ".py"} and path.parent.name != "demo")
ENOUGH = 14
RUN = re.compile(r"^(?:-- )?Run: (llmspell|python) (.+)$", re.MULTILINE)


def ids(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def command(path: Path) -> list[str]:
    """Return the words that run an example, by its `Run:` line."""
    found = RUN.search(path.read_text(encoding="utf-8"))
    assert found, f"{ids(path)} has no line 'Run: llmspell run {path.name}'"
    program = [sys.executable, "-m", "llmspell"] if found[1] == "llmspell" else [sys.executable]
    return [*program, *shlex.split(found[2])]


def run(path: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run an example in a copy of its folder, with a home of its own and no keys."""
    folder = scratch / path.parent.name
    shutil.copytree(path.parent, folder)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    environ = {**kept, "HOME": str(scratch), "LLMSPELL_HOME": str(scratch / "home"), "PYTHONWARNINGS": "error"}
    return subprocess.run(
        command(path), cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_an_example_writes_what_stands_beside_it(path, tmp_path):
    done = run(path, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == path.with_suffix(".out").read_text(encoding="utf-8")


def test_there_are_enough_examples_and_no_output_without_one():
    assert len([path for path in FILES if path.suffix == ".lua"]) >= ENOUGH
    assert {path.stem for path in FILES if path.parent.name == "embed"} >= {"async_app", "blocking"}
    outputs = {path for path in EXAMPLES.glob("*/*.out") if path.parent.name != "demo"}
    assert outputs == {path.with_suffix(".out") for path in FILES}


def test_an_example_begins_with_a_sentence_about_its_job():
    for path in FILES:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert re.match(r'(?:-- |""")[A-Z].{20,}', first), ids(path)


def write_missing() -> None:
    import tempfile

    for path in FILES:
        output = path.with_suffix(".out")
        if output.exists():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            done = run(path, Path(scratch))
        sys.stdout.write(f"{ids(path)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        if done.returncode == 0 and not done.stderr:
            output.write_text(done.stdout, encoding="utf-8")


if __name__ == "__main__":
    write_missing()
