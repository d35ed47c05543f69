"""The hand-written stubs and the binaries must say the same: names, parameters, kinds and defaults."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import llmspell._core as core

FOLDER = Path(core.__file__).parent
BINARIES = ["_codec", "_native"]


def stub(binary):
    return ast.parse((FOLDER / f"{binary}.pyi").read_text())


def public(names):
    return {name for name in names if not name.startswith("_")}


def stub_names(tree):
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return public(names)


def stub_parameters(function):
    """Return (name, keyword only, has a default) of each parameter but self."""
    arguments = function.args
    positional = arguments.posonlyargs + arguments.args
    first_default = len(positional) - len(arguments.defaults)
    out = [(arg.arg, False, i >= first_default) for i, arg in enumerate(positional)]
    out += [
        (arg.arg, True, default is not None)
        for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return [parameter for parameter in out if parameter[0] != "self"]


def binary_parameters(function):
    """Return the same of a compiled function, from its signature or from the first line pybind11 wrote."""
    try:
        found = inspect.signature(function)
    except ValueError:
        return doc_parameters(function.__doc__)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        (p.name, p.kind is keyword, p.default is not p.empty) for p in found.parameters.values() if p.name != "self"
    ]


def doc_parameters(doc):
    line = doc.split("\n")[0]
    inner = line[line.index("(") + 1 : line.rindex(") ->")]
    out, keyword_only = [], False
    for part in re.split(r", (?=\*?\w*(?::|,|$))", inner):
        if part == "*":
            keyword_only = True
        elif part and not part.startswith("self"):
            out.append((part.split(":")[0], keyword_only, " = " in part))
    return out


def functions():
    for binary in BINARIES:
        for node in stub(binary).body:
            if isinstance(node, ast.FunctionDef):
                yield pytest.param(binary, None, node, id=node.name)
            elif isinstance(node, ast.ClassDef) and node.name not in ("Limits", "Hits"):
                for inner in node.body:
                    is_property = isinstance(inner, ast.FunctionDef) and inner.decorator_list
                    special = getattr(inner, "name", "").startswith("__") and inner.name != "__init__"
                    if isinstance(inner, ast.FunctionDef) and not is_property and not special:
                        yield pytest.param(binary, node.name, inner, id=f"{node.name}.{inner.name}")


@pytest.mark.parametrize("binary", BINARIES)
def test_the_stub_and_the_binary_have_the_same_names(binary):
    module = importlib.import_module(f"llmspell._core.{binary}")
    imported = {"sys", "namedtuple"}
    assert stub_names(stub(binary)) == public(vars(module)) - imported


@pytest.mark.parametrize("binary", BINARIES)
def test_the_stub_and_the_binary_have_the_same_members(binary):
    module = importlib.import_module(f"llmspell._core.{binary}")
    for node in stub(binary).body:
        if isinstance(node, ast.ClassDef) and node.name not in ("Limits", "Hits"):
            members = {
                getattr(inner, "name", None) or inner.target.id
                for inner in node.body
                if not isinstance(inner, ast.Expr)
            }
            assert public(members) == public(vars(getattr(module, node.name))), node.name


@pytest.mark.parametrize(("binary", "owner", "node"), list(functions()))
def test_the_stub_and_the_binary_have_the_same_parameters(binary, owner, node):
    module = importlib.import_module(f"llmspell._core.{binary}")
    place = getattr(module, owner) if owner else module
    if node.name == "__init__" and binary == "_codec":
        pytest.skip("Cython keeps no signature of a __cinit__")
    assert stub_parameters(node) == binary_parameters(getattr(place, node.name))


def test_named_tuples_have_the_fields_of_their_stubs():
    for binary, name in (("_codec", "Limits"), ("_native", "Hits")):
        node = next(node for node in stub(binary).body if isinstance(node, ast.ClassDef) and node.name == name)
        fields = tuple(inner.target.id for inner in node.body if isinstance(inner, ast.AnnAssign))
        assert getattr(core, name)._fields == fields


def test_the_codec_loads_nothing_heavy():
    program = (
        "import sys; from llmspell._core import pack, unpack; assert unpack(pack({'a': [1]})) == {'a': [1]}\n"
        "heavy = {'numpy', 'datetime', 'uuid', 'decimal', 'typing', 'msgspec', 'llmspell._core._native'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    source = str(FOLDER.parents[1])
    run = [sys.executable, "-S", "-c", program]
    out = subprocess.run(run, env={"PYTHONPATH": source}, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_counting_tokens_does_not_load_numpy():
    program = "import sys; from llmspell._core import count_tokens; count_tokens('a b'); print('numpy' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert out.stdout.strip() == "False"


def test_a_missing_binary_says_what_to_run(tmp_path):
    package = tmp_path / "llmspell" / "_core"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text((FOLDER / "__init__.py").read_text())
    program = "from llmspell._core import pack"
    run = [sys.executable, "-S", "-c", program]
    out = subprocess.run(run, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert "make dev" in out.stderr.strip().split("\n")[-1]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = core.nonsense
