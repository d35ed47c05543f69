"""From the tables of a layer to entries under canonical keys; unknown and absent keys become problems."""

from __future__ import annotations

from functools import cache
from typing import Any

from llmspell.config import aliases, schema
from llmspell.config.origin import ENVIRONMENT, Entry, Layer, Problem

EVERY_TOOL = ("timeout_ms", "max_concurrent", "rate_limit_per_minute")


def flatten(layers: list[Layer], problems: list[Problem], warnings: list[str]) -> list[Entry]:
    """Return all entries, lower layers first. Names chosen by users keep their first spelling."""
    walk = _Walk(problems, warnings)
    for layer in layers:
        walk.table(layer, layer.values, "", "")
    return walk.entries


class _Walk:
    def __init__(self, problems: list[Problem], warnings: list[str]) -> None:
        self.entries: list[Entry] = []
        self.problems = problems
        self.warnings = warnings
        self.spelling: dict[str, str] = {}

    def table(self, layer: Layer, table: dict[str, Any], prefix: str, given: str) -> None:
        for name, value in table.items():
            self.item(layer, value, self.path_of(prefix, name), f"{given}{name}")

    def path_of(self, prefix: str, name: str) -> str:
        plain = name.replace("-", "_")
        if prefix == "providers." and prefix + plain not in schema.keys():  # noqa: SIM118  # a function
            return prefix + self.spelling.setdefault(plain.lower(), name)
        return prefix + plain

    def item(self, layer: Layer, value: Any, path: str, given: str) -> None:
        canonical = aliases.canonical(path)
        if canonical != path:
            self.warnings.append(f"{_at(layer, given)}{given} is an old name of {canonical}: use that")
        ignored = aliases.covers(aliases.IGNORED, canonical)
        if ignored:
            self.warnings.append(f"{_at(layer, given)}[{ignored}] is ignored: {aliases.IGNORED[ignored]}")
        elif schema.find(canonical) is not None:
            self.entry(layer, value, canonical, given)
        elif aliases.covers(aliases.ABSENT, canonical):
            section = aliases.covers(aliases.ABSENT, canonical)
            self.problem(layer, canonical, given, f"{canonical}: this build has no {section}: remove it")
        elif canonical in schema.sections() and isinstance(value, dict):
            self.table(layer, value, f"{canonical}.", f"{given}.")
        elif canonical.startswith("tools.") and self.is_tool_option(canonical):
            self.tool(layer, value, canonical, given)
        elif schema.is_section(canonical) and isinstance(value, dict):
            self.table(layer, value, f"{canonical}.", f"{given}.")
        elif schema.is_section(canonical) and canonical in schema.sections():
            self.problem(layer, canonical, given, f"{canonical} is a section: expected a table, got {value!r}")
        else:
            self.unknown(layer, canonical, given)

    def entry(self, layer: Layer, value: Any, path: str, given: str) -> None:
        if str(value).lower() == "sled" and path.endswith(".backend_type"):
            self.warnings.append(f"{_at(layer, given)}{path} = 'sled' is read as sqlite")
        self.entries.append(Entry(path, value, layer, given))

    def is_tool_option(self, path: str) -> bool:
        parts = path.split(".")
        return len(parts) > 2 or parts[1] in tool_tables()

    def tool(self, layer: Layer, value: Any, path: str, given: str) -> None:
        name = path.split(".")[1]
        # a tool may share its name with a section; only what every tool has is then an option of the tool
        shared = f"tools.{name}" in schema.sections() and path.split(".")[2:] not in ([key] for key in EVERY_TOOL)
        if name not in tool_tables() or shared:
            self.unknown(layer, path, given)
        elif path.count(".") > 1:
            head, last = path.split(".", 2)[:2], path.split(".", 2)[2]
            *groups, leaf = last.split(".")
            for group in reversed(groups):
                value, leaf = {leaf: value}, group
            self.entries.append(Entry(".".join([*head, leaf]), value, layer, given))
        elif isinstance(value, dict):
            for key, item in value.items():
                self.entries.append(Entry(f"{path}.{key.replace('-', '_')}", item, layer, f"{given}.{key}"))
        else:
            self.problem(layer, path, given, f"{path} holds the options of a tool: expected a table, got {value!r}")

    def problem(self, layer: Layer, path: str, given: str, message: str, suggestion: str | None = None) -> None:
        self.problems.append(Problem(path, message, *layer.place(given), suggestion))

    def unknown(self, layer: Layer, path: str, given: str) -> None:
        near = suggestion(path)
        hint = f", did you mean {near!r}?" if near else ""
        self.problem(layer, path, given, f"unknown key {path!r}{hint}", near)


def suggestion(path: str) -> str | None:
    """Return the known key or section that `path` most likely means."""
    from llmspell.base.registry import nearest

    parent, _, name = path.rpartition(".")
    starred = f"{parent.split('.')[0]}.*" if parent.count(".") == 1 and parent.startswith("providers.") else parent
    known = [*schema.keys(), *schema.sections()]
    siblings = {
        key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == starred and "*" not in key[-1]
    }
    near = nearest(name, list(siblings), limit=1)
    if near:
        return f"{parent}.{near[0]}" if parent else near[0]
    anywhere = [key for key in known if key.rpartition(".")[2] == name and "*" not in key]
    return anywhere[0] if anywhere else next(iter(nearest(path, known, limit=1)), None)


@cache
def tool_tables() -> frozenset[str]:
    """Return the names a table `[tools.NAME]` may have: those of the tools, which are the files of their folder."""
    from llmspell.base.registry import Registry

    return frozenset(name.replace("-", "_") for name in Registry("llmspell.tools").names(outside=False))


def _at(layer: Layer, given: str) -> str:
    source, line = layer.place(given)
    if layer.word == ENVIRONMENT:
        return "environment: "
    return f"{source}:{line}: " if line else ""
