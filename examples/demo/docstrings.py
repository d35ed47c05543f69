"""Write the docstrings of this Python's standard library as JSON lines: {"id", "text", "metadata"}.

Real input that every machine has: some ten thousand texts about modules, classes and functions. Modules are parsed,
never imported; private names, tests and idlelib are left out.

    python docstrings.py stdlib.jsonl
"""

from __future__ import annotations

import ast
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

SKIPPED = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "turtledemo",
    "ensurepip",
    "__pycache__",
    "pydoc_data",
}


def sources(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (module name, file) of the public modules below `root`."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if SKIPPED & set(parts) or any(part.startswith("_") and part != "__init__" for part in parts):
            continue
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            yield name, path


def aliases(tree: ast.Module) -> dict[str, str]:
    """Return `shuffle` for `shuffle = _inst.shuffle`: module functions that are methods of a hidden instance."""
    found = {}
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Attribute)
            and isinstance(node.targets[0], ast.Name)
        ):
            found[node.value.attr] = node.targets[0].id
    return found


def assigned(tree: ast.Module) -> str | None:
    """Return the text of `__doc__ = "..."`, as hashlib writes it."""
    for node in tree.body:
        named = (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__doc__"
        )
        if named and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return node.value.value
    return None


def documented(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (dotted name, docstring) of the module ("") and of its public classes, functions and methods."""
    module_level = aliases(tree)

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If | ast.Try):
                yield from walk(child, prefix)
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or child.name.startswith(
                "_"
            ):
                continue
            name = f"{prefix}{child.name}"
            text = ast.get_docstring(child)
            if text:
                yield (module_level.get(child.name, name) if prefix else name), text
            if isinstance(child, ast.ClassDef):
                yield from walk(child, f"{name}.")

    text = ast.get_docstring(tree) or assigned(tree)
    if text:
        yield "", text
    yield from walk(tree, "")


def main() -> int:
    """Write the file named on the command line; the number of texts goes to standard error."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: docstrings.py OUTPUT.jsonl\n")
        return 2
    root, target, count = Path(sysconfig.get_paths()["stdlib"]), Path(sys.argv[1]), 0
    temporary = target.with_suffix(".part")
    with temporary.open("w", encoding="utf-8") as out:
        for module, path in sources(root):
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError) as error:
                sys.stderr.write(f"skipped {path}: {error}\n")
                continue
            seen = set()
            for name, text in documented(tree):
                full = f"{module}.{name}" if name else module
                if full in seen:
                    continue
                seen.add(full)
                words = full.replace(".", " ").replace("_", " ")
                row = {
                    "id": full,
                    "text": f"{full}: {words}\n\n{text}",
                    "metadata": {"module": module, "name": name or module},
                }
                out.write(json.dumps(row) + "\n")
                count += 1
    temporary.replace(target)
    sys.stderr.write(f"{count} docstrings of Python {sys.version.split()[0]} in {target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
