"""The page of the Lua globals: what a real interpreter has, described by docstrings, chunks and `lua.toml`."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FUNCTION = re.compile(r"^ *function (\w+)[.:](\w+)\(([^)]*)\)", re.MULTILINE)
KIND = re.compile(r'^local (\w+)(?:, (\w+))? = lib\.handle_methods\("(\w+)"\)', re.MULTILINE)
REMOVED = re.compile(r"\b(\w+)\.(\w+)(?=[\w., ]* = (?:nil, )*nil$)", re.MULTILINE)
NAMES = """
local found = {}
for _, name in ipairs(ARGS) do
  local names = JSON.array {}
  for key, value in pairs(_G[name]) do
    if type(value) == "function" then names[#names + 1] = key end
  end
  found[name] = names
end
return found
"""


class Entry:
    """One function. names: the first is shown, the others are aliases."""

    def __init__(self, name: str, signature: str, text: str, *, waits: bool = False) -> None:
        self.names = [name]
        self.signature = signature
        self.text = text
        self.waits = waits

    def cells(self, prefix: str) -> tuple[str, str]:
        """Return the cells of a table."""
        more = "".join(f", `{name}`" for name in sorted(self.names[1:]))
        text = f"{self.text} *Waits.*" if self.waits else self.text
        return f"`{prefix}{self.names[0]}{self.signature}`{more}", text


def globals_page(page: Callable[..., str], table: Callable[..., list[str]]) -> str:
    """Return the page; it asks an interpreter which functions there are."""
    from llmspell.base.registry import Registry
    from llmspell.lua.host import global_name

    registry = Registry("llmspell.lua.globals")
    stems = {global_name(stem): stem for stem in registry.names(outside=False)}
    written = tomllib.loads((Path(__file__).parent / "lua.toml").read_text(encoding="utf-8"))
    names = present(sorted(stems))
    lines = [
        "An argument with `?` may be left out. *Waits* marks a function that suspends the script, not the program.",
        "",
    ]
    for name in sorted(stems):
        module = registry.get(stems[name])
        assert module is not None
        chunk = Path(str(module.__file__)).with_suffix(".lua")
        text = chunk.read_text(encoding="utf-8") if chunk.exists() else ""
        own = entries(module.Global, text, "api", written.get(name, {}), set(names[name]))
        lines += [f"## {name}", "", *rows(table, own, f"{name}.")]
        for kind, found in kinds(module, text, written).items():
            lines += [f"### {name}: {kind}", "", *methods(table, own, found, kind)]
    return page("Lua globals", "the classes in `src/llmspell/lua/globals`", lines)


def present(names: list[str]) -> dict[str, list[str]]:
    """Return the names of the functions of each global."""
    import tempfile

    import llmspell

    async def ask() -> Any:
        with tempfile.TemporaryDirectory() as home:
            async with llmspell.open(home=home, cwd=home) as app:
                return (await llmspell.run(NAMES, app=app, args=names, sandbox="standard")).value

    found: dict[str, list[str]] = llmspell.run_sync(ask())
    return found


def rows(table: Callable[..., list[str]], found: list[Entry], prefix: str) -> list[str]:
    """Return a table of functions."""
    return table(("Function", "Meaning"), [entry.cells(prefix) for entry in found])


def methods(table: Callable[..., list[str]], own: list[Entry], found: list[Entry], kind: str) -> list[str]:
    """Return the table of a kind of handle, or one sentence when its methods are functions of the global, too."""
    known = {entry.names[0]: entry.text for entry in own}
    if all(known.get(entry.names[0]) == entry.text for entry in found if entry.names[0] != "lookup"):
        return ["The same functions: " + ", ".join(f"`{entry.names[0]}`" for entry in found) + ".", ""]
    return rows(table, found, f"{kind}:")


def kinds(module: Any, text: str, written: dict[str, Any]) -> dict[str, list[Entry]]:
    """Return the methods of each kind of handle, and of the objects that only a chunk makes."""
    owners = {first: kind for first, _, kind in KIND.findall(text)}
    classes = dict(getattr(module.Global, "handles", {}))
    for owner, _, _ in FUNCTION.findall(text):
        if f"function {owner}:" in text and owner not in owners:
            owners[owner] = owner.lower()
    found = {}
    for kind in [*classes, *dict.fromkeys(kind for kind in owners.values() if kind not in classes)]:
        variables = [owner for owner, of in owners.items() if of == kind]
        made = entries(classes.get(kind), text, variables[0] if variables else "", written.get(kind, {}), None)
        if made:
            found[kind] = made
    return found


def entries(cls: type | None, text: str, variable: str, written: dict[str, Any], names: set[str] | None) -> list[Entry]:
    """Return the functions of one table, aliases merged. names: what there is; None: all that is found."""
    found: dict[str, Entry] = {}
    for entry in [*of_class(cls, handle=names is None), *of_chunk(text, variable)]:
        found[entry.names[0]] = entry
    for name, value in written.items():
        if isinstance(value, list):
            found[name] = Entry(name, value[0], value[1])
        elif not value.startswith("=") and name in found:
            found[name].text = value
    for owner, name in REMOVED.findall(text) if names is None else ():
        if owner == variable and not re.search(rf"^ *function {owner}[.:]{name}\b", text, re.MULTILINE):
            found.pop(name, None)
    if names is not None:
        found = {name: entry for name, entry in found.items() if name in names}
        for name in sorted(names - set(found)):
            target = alias(name, found, getattr(cls, "aliases", {}), written)
            if target is None:
                found[name] = Entry(name, "(...)", "")
            else:
                target.names.append(name)
    else:
        for name, target_name in getattr(cls, "aliases", {}).items():
            if target_name.rstrip("_") in found and name not in found:
                found[target_name.rstrip("_")].names.append(name)
    return [found[name] for name in sorted(found)]


def alias(name: str, found: dict[str, Entry], aliases: dict[str, str], written: dict[str, Any]) -> Entry | None:
    """Return what `name` is another name of, None for a function of its own."""
    stated = aliases.get(name) or str(written.get(name, "")).removeprefix("=")
    if stated.rstrip("_") in found:
        return found[stated.rstrip("_")]
    plain = name.replace("_", "").lower()
    return next((entry for entry in found.values() if entry.names[0].replace("_", "").lower() == plain), None)


def of_class(cls: type | None, *, handle: bool) -> Iterator[Entry]:
    """Yield the public methods of a Python class."""
    for name in dir(cls) if cls is not None else ():
        method = getattr(cls, name)
        if name.startswith("_") or name == "lookup" or not inspect.isfunction(method):
            continue
        parameters = list(inspect.signature(method).parameters.values())[2 if handle else 1 :]
        doc = inspect.cleandoc(method.__doc__ or "").partition("\n\n")[0]
        waits = inspect.iscoroutinefunction(method)
        yield Entry(name.rstrip("_"), f"({', '.join(map(shown, parameters))})", " ".join(doc.split()), waits=waits)


def shown(parameter: inspect.Parameter) -> str:
    """Return a parameter as Lua programmers write it."""
    name = parameter.name.rstrip("_")
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return "..."
    return name if parameter.default is inspect.Parameter.empty else f"{name}?"


def of_chunk(text: str, variable: str) -> Iterator[Entry]:
    """Yield the functions that a chunk adds to `variable`; a comment line right above one describes it."""
    lines = text.splitlines()
    for match in FUNCTION.finditer(text):
        owner, name, arguments = match.groups()
        if owner != variable:
            continue
        above = lines[text.count("\n", 0, match.start()) - 1]
        comment = above[3:] if above.startswith("-- ") else ""
        yield Entry(name, f"({arguments.removeprefix('self, ').removeprefix('self')})", comment)
