"""The shape of the house: file and function sizes, names, counts of silenced critics, what may not stand in sources."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
PYTHON = sorted(SRC.rglob("*.py"))
NATIVE = sorted(p for p in (SRC / "_core").rglob("*") if p.suffix in {".c", ".h", ".cpp", ".hpp", ".pyx"})
LUA = sorted(SRC.rglob("*.lua"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
GENERATED = {"src/llmspell/tools/_manifest.py": "a literal written by tools/_build_manifest.py"}
LONG_FUNCTIONS: dict[str, str] = {}


def relative(path):
    return path.relative_to(ROOT).as_posix()


def lines(path):
    return path.read_text(encoding="utf-8").count("\n")


@pytest.mark.parametrize(
    ("paths", "wall"), [(PYTHON, 500), (LUA, 500), (NATIVE, 500), (TESTS, 700)], ids=["py", "lua", "native", "tests"]
)
def test_no_file_is_over_its_wall(paths, wall):
    over = {relative(p): lines(p) for p in paths if lines(p) > wall and relative(p) not in GENERATED}
    assert over == {}


def test_an_init_file_is_at_most_sixty_lines():
    assert {relative(p): lines(p) for p in PYTHON if p.name == "__init__.py" and lines(p) > 60} == {}


def test_no_function_is_over_sixty_lines():
    over = {}
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = node.end_lineno - node.lineno + 1
                name = f"{relative(path)}:{node.name}"
                if size > 60 and name not in LONG_FUNCTIONS:
                    over[name] = size
    assert over == {}


FORBIDDEN = re.compile(
    r"^\s*class (\w*(?:Manager|Bridge|Factory|Coordinator|Orchestrator|Helper|Impl)|(?:Enhanced|Advanced|Unified|Base)[A-Z]\w*)\b",
    re.M,
)


def test_class_names_say_what_the_class_holds_or_does():
    found = {relative(p): FORBIDDEN.findall(p.read_text()) for p in PYTHON}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_files_are_named_after_the_thing_itself():
    names = {"utils", "helpers", "common", "misc"}
    allowed = {"src/llmspell/lua/globals/utils.py", "src/llmspell/lua/globals/utils.lua"}  # the global is called Utils
    assert [relative(p) for p in PYTHON + LUA if p.stem in names and relative(p) not in allowed] == []


PLACEHOLDER = re.compile(
    r"NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b|not implemented|for now\b|in a real implementation", re.I
)


def test_no_placeholder_ships():
    found = [
        f"{relative(p)}:{i}"
        for p in PYTHON + LUA + NATIVE
        for i, line in enumerate(p.read_text().split("\n"), 1)
        if PLACEHOLDER.search(line)
    ]
    assert found == []


def test_every_silenced_critic_has_a_reason():
    bare = re.compile(r"(# type: ignore(\[[\w, -]+\])?|# noqa(: [\w, ]+)?)\s*$")
    found = [
        f"{relative(p)}:{i}" for p in PYTHON for i, line in enumerate(p.read_text().split("\n"), 1) if bare.search(line)
    ]
    assert found == []


def test_what_two_packages_export_has_two_names():
    exported = {}
    for path in sorted((SRC / "llmspell").glob("*/__init__.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                for name in ast.literal_eval(node.value):
                    exported.setdefault(name, []).append(path.parent.name)
    # a section of the configuration has the name of the service that it configures
    shared = {name: [p for p in places if p != "config"] for name, places in exported.items()}
    assert {name: places for name, places in shared.items() if len(places) > 1} == {}


def test_the_environment_is_read_only_in_config_and_by_the_allow_list():
    allowed = ("src/llmspell/config/", "src/llmspell/security/access.py", "src/llmspell/base/_jq_child.py")
    found = [relative(p) for p in PYTHON if "os.environ" in p.read_text() or "os.getenv" in p.read_text()]
    assert [name for name in found if not name.startswith(allowed)] == []


def test_the_configuration_has_at_most_twenty_five_classes():
    tree = ast.parse((SRC / "llmspell/config/model.py").read_text())
    assert sum(isinstance(node, ast.ClassDef) for node in tree.body) <= 25
