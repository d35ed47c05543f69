"""The one registry of the house: the file name is the registration.

A plugin folder is a package; every module in it without a leading underscore is one plugin. Names are listed by
reading the folder, a plugin is imported at its first `get`. `_` and `-` are the same character in a name. Packages
from outside add plugins under the entry-point group `llmspell.<folder>`; those are looked up only when a name is not
bundled, because reading package metadata costs 40 ms.
"""

from __future__ import annotations

import os

from llmspell.errors import ComponentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def canonical(name: str) -> str:
    """Return `name` with `_` written as `-`."""
    return name.replace("_", "-")


class Registry:
    """Names and modules of one plugin folder.

    package: dotted name of the folder, `llmspell.tools`; its last parts after `llmspell.` name the entry-point group.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.group = package
        self._modules: dict[str, ModuleType] = {}
        self._bundled: dict[str, str] | None = None
        self._outside: dict[str, str] | None = None

    def _files(self) -> dict[str, str]:
        if self._bundled is None:
            from importlib import import_module

            folder = os.path.dirname(str(import_module(self.package).__file__))
            stems = (entry[:-3] for entry in os.listdir(folder) if entry.endswith(".py"))
            self._bundled = {canonical(stem): stem for stem in sorted(stems) if not stem.startswith("_")}
        return self._bundled

    def _entry_points(self) -> dict[str, str]:
        if self._outside is None:
            from importlib.metadata import entry_points

            found: dict[str, str] = {}
            for point in entry_points(group=self.group):
                name = canonical(point.name)
                if name in self._files() or name in found:
                    raise ComponentError(
                        f"the name {name!r} of group {self.group} is claimed twice, second by {point.value}",
                        code="already_exists",
                    )
                found[name] = point.value
            self._outside = found
        return self._outside

    def names(self, *, outside: bool = True) -> list[str]:
        """Return all names, sorted; `outside=False` skips other packages' plugins."""
        names = set(self._files())
        if outside:
            names |= set(self._entry_points())
        return sorted(names)

    def get(self, name: str) -> ModuleType | None:
        """Return the module of `name`, importing it at first use, or None."""
        from importlib import import_module

        key = canonical(name)
        if key not in self._modules:
            if key in self._files():
                self._modules[key] = import_module(f"{self.package}.{self._files()[key]}")
            elif key in self._entry_points():
                self._modules[key] = import_module(self._entry_points()[key].partition(":")[0])
            else:
                return None
        return self._modules[key]


def nearest(name: str, known: list[str], *, limit: int = 3) -> list[str]:
    """Return up to `limit` known names that look like `name`, best first."""
    from difflib import get_close_matches

    lowered = {item.lower(): item for item in known}
    return [lowered[hit] for hit in get_close_matches(name.lower(), list(lowered), n=limit, cutoff=0.55)]
