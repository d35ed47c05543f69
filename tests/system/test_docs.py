"""The pages: every code block of the guides runs and prints what stands behind it, links lead somewhere, the
generated pages are fresh.

A block marked `skip` is not run. A `text` block behind a block is its expected output. Blocks of a page share one
folder and one home. A block whose first line is a comment with a path below `llmspell/` is a file of the package: the
page that shows it is run with a copy of the package that holds it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llmspell

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = [*sorted((DOCS / "guide").glob("*.md")), DOCS / "extending.md"]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PACKAGE_FILE = re.compile(r"(?:#|--) (llmspell/\S+)\n")
RUNNABLE = ("lua", "sh", "python", "toml")
LONGEST_ARCHITECTURE = 300


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path):
    """Yield (line, language, code, expected) of the blocks to run."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        language, words, code, expected = match.groups()
        if language in RUNNABLE and "skip" not in words.split():
            yield text.count("\n", 0, match.start()) + 2, language, code, expected


class Desk:
    """A folder with a home, where the blocks of one page run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "package"
        work, programs = folder / "work", folder / "bin"
        work.mkdir(parents=True)
        programs.mkdir()
        for program, words in (("llmspell", " -m llmspell"), ("python", "")):
            shim = programs / program
            shim.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
            shim.chmod(0o755)
        self.environ = {
            "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "LLMSPELL_HOME": str(folder / "home"),
            "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip

    def add_file(self, path: str, text: str) -> None:
        """Put a file into a copy of the package, which all that runs here uses."""
        if not self.package.exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(Path(llmspell.__file__).parent, self.package / "llmspell", ignore=ignored)
            self.environ["PYTHONPATH"] = str(self.package)
        (self.package / path).write_text(text, encoding="utf-8")

    def run(self, language: str, code: str, number: int) -> str:
        """Run a block and return what it wrote; fails unless it succeeded in silence."""
        work = self.folder / "work"
        if language == "toml":
            (work / "llmspell-check.toml").write_text(code, encoding="utf-8")
            words = ["llmspell", "config", "validate", "llmspell-check.toml"]
        else:
            script = work / f"block{number}.{language}"
            script.write_text(code, encoding="utf-8")
            words = {"lua": ["llmspell", "run"], "sh": ["sh", "-e"], "python": [sys.executable]}[language]
            words = [*words, script.name]
        words[0] = shutil.which(words[0], path=self.environ["PATH"])
        done = subprocess.run(words, cwd=work, env=self.environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        if language in ("lua", "python"):
            assert done.stderr == ""
        return done.stdout


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_every_code_block_of_a_guide_runs(page, tmp_path):
    desk, problems, count = Desk(tmp_path), [], 0
    for line, language, code, expected in blocks(page):
        count += 1
        file = PACKAGE_FILE.match(code)
        if file:
            desk.add_file(file[1], code)
            continue
        try:
            written = desk.run(language, code, count)
        except AssertionError as error:
            problems.append(f"{name(page)}:{line}: {str(error).strip()}")
            continue
        if expected is not None and written != expected:
            problems.append(f"{name(page)}:{line} wrote:\n{written}")
    assert count > 0
    assert not problems, "\n".join(problems)


def test_the_python_of_the_readme_runs(tmp_path):
    found = [code for _, language, code, _ in blocks(ROOT / "README.md") if language == "python"]
    assert found
    for number, code in enumerate(found):
        Desk(tmp_path / str(number)).run("python", code, number)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    dead = []
    for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            dead.append(target)
    assert not dead


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            found = (page.parent / target.partition("#")[0]).resolve()
            if found.is_dir():
                waiting += found.glob("*.md")
            elif found.suffix == ".md" and found.exists():
                waiting.append(found)
    assert {name(page) for page in PAGES} <= {name(page) for page in seen}


def test_the_reference_pages_are_fresh():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = []
    for file, text in generate.render().items():
        if (DOCS / "reference" / file).read_text(encoding="utf-8") != text:
            stale.append(file)
    assert not stale, f"run `make docs`: {', '.join(stale)}"
    assert {path.name for path in (DOCS / "reference").iterdir()} == set(generate.PAGES)


def test_the_page_of_globals_says_what_each_function_does():
    text = (DOCS / "reference" / "globals.md").read_text(encoding="utf-8")
    assert not re.findall(r"^\| .+ \|  \|$", text, re.MULTILINE)


def test_the_architecture_fits_its_page():
    assert len((DOCS / "architecture.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_ARCHITECTURE
