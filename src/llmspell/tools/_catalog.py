"""Which tools there are: names, aliases, categories, and the road from a name to a compiled `Spec`.

Bundled tools are known from the generated manifest and imported at first use. Further sources are the folders of
`tools.paths`, entry points of other packages, and tools registered at run time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from llmspell.base.registry import Registry, canonical, nearest
from llmspell.errors import ConfigurationError, ResourceLimitError, SecurityError, ToolError
from llmspell.tools._manifest import MANIFEST
from llmspell.tools._spec import Spec, compile_module

MAX_ADDED = 1000
_CATEGORY_WORDS = {
    "api": ("web", "communication"),
    "analysis": ("data",),
    "utilities": ("utility",),
    "file-system": ("filesystem",),
    "filesystems": ("filesystem",),
    "data-processing": ("data",),
    "documents": ("document",),
    "systems": ("system",),
    "states": ("state",),
    "communications": ("communication",),
}


class Catalog:
    """All tools of one program. `find` is by name or alias, with `-` and `_` alike and a trailing `-tool` ignored."""

    def __init__(
        self, *, paths: Sequence[str] = (), enabled: Sequence[str] | None = None, disabled: Sequence[str] = ()
    ) -> None:
        self._enabled = enabled
        self._disabled = disabled
        self._paths = paths
        self._registry = Registry("llmspell.tools")
        self._entries: dict[str, dict[str, Any]] = {}
        self._aliases: dict[str, str] = {}
        self._specs: dict[str, Spec] = {}
        self._asked: dict[str, Spec] = {}
        self._outside_read = False
        for entry in MANIFEST:
            if not self._hidden(entry["name"]):
                self._index(entry)
        for folder in paths:
            self._read_folder(Path(folder).expanduser())

    def find(self, name: str) -> Spec | None:
        """Return the tool, importing it at first use, or None."""
        known = self._asked.get(name)
        if known is None and isinstance(name, str):
            known = self._load(name)
            if known is not None:
                self._asked[name] = known
        return known

    def require(self, name: str) -> Spec:
        """Return the tool. Raises ToolError code not_found with up to 3 suggestions."""
        spec = self._asked.get(name) if isinstance(name, str) else None
        spec = spec or self.find(name)
        if spec is None:
            near = nearest(str(name)[:100], [*self._entries, *self._aliases])
            hint = f": did you mean '{near[0]}'?" if near else ""
            raise ToolError(
                f"Tool '{str(name)[:100]}' not found{hint}",
                code="not_found",
                details={"tool": str(name)[:100], "suggestions": near},
                component=f"tool:{str(name)[:100]}",
            )
        return spec

    def entry(self, name: str) -> dict[str, Any] | None:
        """Return the manifest entry of a tool by name or alias, or None."""
        resolved = self.resolve(name)
        return None if resolved is None else self._entries[resolved]

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of all tools, sorted by name."""
        self._read_outside()
        return [self._entries[name] for name in sorted(self._entries)]

    def resolve(self, name: str) -> str | None:
        """Return the canonical name, or None for an unknown one."""
        if not isinstance(name, str):
            return None
        for key in (name, canonical(name), canonical(name).removesuffix("-tool")):
            if key in self._entries:
                return key
            if key in self._aliases:
                return self._aliases[key]
        if not self._outside_read:
            self._read_outside()
            return self.resolve(name)
        return None

    def add(self, spec: Spec) -> None:
        """Add a tool at run time. Raises ToolError code already_exists for a taken name, ResourceLimitError."""
        for name in (spec.name, *spec.aliases):
            if self.resolve(name) is not None:
                raise ToolError(
                    f"a tool named '{name}' exists already: unregister it or choose another name",
                    code="already_exists",
                    details={"tool": name},
                    component=f"tool:{name}",
                )
        if sum(entry["source"] == "script" for entry in self._entries.values()) >= MAX_ADDED:
            raise ResourceLimitError(
                f"there are {MAX_ADDED} tools made at run time already: unregister some",
                code="limit_exceeded",
                details={"resource": "tools", "limit": MAX_ADDED, "used": MAX_ADDED},
            )
        self._specs[spec.name] = spec
        self._index(spec.entry())

    def added(self) -> list[Spec]:
        """Return the tools registered at run time."""
        return [self._specs[name] for name, entry in self._entries.items() if entry["source"] == "script"]

    def remove(self, name: str) -> bool:
        """Remove a tool registered at run time; False for an unknown one. Raises SecurityError for any other."""
        resolved = self.resolve(name)
        if resolved is None:
            return False
        if self._entries[resolved]["source"] != "script":
            raise SecurityError(
                f"tool '{resolved}' is not a script's tool and cannot be removed",
                code="not_removable",
                details={"violation": "tool_access", "subject": resolved},
            )
        del self._entries[resolved]
        spec = self._specs.pop(resolved)
        self._aliases = {alias: target for alias, target in self._aliases.items() if target != resolved}
        self._asked = {asked: other for asked, other in self._asked.items() if other is not spec}
        return True

    def _load(self, name: str) -> Spec | None:
        resolved = self.resolve(name)
        if resolved is None:
            return None
        if resolved not in self._specs:
            module = self._registry.get(resolved)
            if module is None:
                return None
            for spec in compile_module(module, source=self._entries[resolved]["source"]):
                self._specs[spec.name] = spec
        return self._specs.get(resolved)

    def _index(self, entry: dict[str, Any]) -> None:
        self._entries[entry["name"]] = entry
        for alias in entry["aliases"]:
            self._aliases.setdefault(canonical(alias), entry["name"])

    def _hidden(self, name: str) -> bool:
        if self._enabled is None and not self._disabled:
            return False
        from fnmatch import fnmatchcase

        def listed(patterns: Iterable[str]) -> bool:
            return any(fnmatchcase(name, canonical(pattern)) for pattern in patterns)

        return listed(self._disabled) or (self._enabled is not None and not listed(self._enabled))

    def _take(self, module: ModuleType, *, source: str) -> None:
        for spec in compile_module(module, source=source):
            if not self._hidden(spec.name) and self.resolve(spec.name) is None:
                self._specs[spec.name] = spec
                self._index(spec.entry())

    def _read_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigurationError(
                f"tools.paths names {folder}, which is not a folder", details={"key": "tools.paths"}
            )
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith("_"):
                self._take(_import_file(file), source="file")

    def _read_outside(self) -> None:
        """Read the entry points of other packages, and bundled files the manifest does not know yet."""
        if self._outside_read:
            return
        self._outside_read = True
        for name in self._registry.names():
            if name not in self._entries and not self._hidden(name):
                module = self._registry.get(name)
                if module is not None:
                    bundled = module.__name__.startswith("llmspell.tools.")
                    self._take(module, source="builtin" if bundled else "entry_point")


def categories_of(word: str) -> tuple[str, ...]:
    """Return the categories a filter word stands for."""
    key = canonical(word.strip().lower().replace(" ", "-"))
    return _CATEGORY_WORDS.get(key, (key,))


def matching(entries: Iterable[dict[str, Any]], wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries that fit the filter: category, tag, capabilities, security_level (level), query."""
    found = list(entries)
    if wanted.get("category"):
        categories = categories_of(str(wanted["category"]))
        found = [entry for entry in found if entry["category"] in categories]
    level = wanted.get("security_level") or wanted.get("level")
    if level:
        found = [entry for entry in found if entry["level"] == level]
    words = [wanted.get("tag"), *_words(wanted.get("capabilities"))]
    for word in filter(None, words):
        found = [entry for entry in found if score(entry, [str(word).lower()])]
    if wanted.get("query"):
        found = ranked(found, str(wanted["query"]))
    return found


def ranked(entries: Iterable[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return the entries in which every word of `text` is found, best first: name, alias, tag, description."""
    words = text.lower().replace("_", "-").split()
    scored = [(score(entry, words), entry) for entry in entries]
    hits = [(points, entry) for points, entry in scored if points]
    return [entry for points, entry in sorted(hits, key=lambda hit: (-hit[0], hit[1]["name"]))]


def score(entry: Mapping[str, Any], words: Sequence[str]) -> int:
    """Return how well all `words` are found in an entry; 0 when one is missing."""
    total = 0
    operations = [operation["name"] for operation in entry["operations"]]
    for word in words:
        if word == entry["name"]:
            points = 16
        elif word in entry["name"]:
            points = 8
        elif any(word in canonical(alias) for alias in entry["aliases"]):
            points = 6
        elif word in entry["tags"] or word == entry["category"] or word in operations or word in entry["needs"]:
            points = 4
        elif word in entry["description"].lower():
            points = 2
        else:
            return 0
        total += points
    return total


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value] if isinstance(value, list) else []


def _import_file(file: Path) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    name = f"llmspell_tools_path.{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{file} is not a Python file", details={"key": "tools.paths"})
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
