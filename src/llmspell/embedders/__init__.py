"""Embedders: text to vectors, one module each. `find(name)` returns one by its name or an alias."""

from __future__ import annotations

from llmspell.base.registry import Registry, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from llmspell.embedders._base import Embedder

ALIASES = {"local": "builtin", "hash": "builtin", "hash-ngram": "builtin"}
_registry = Registry("llmspell.embedders")


def names() -> list[str]:
    """Return the names of all embedders, sorted."""
    return _registry.names()


def module(name: str) -> ModuleType:
    """Return the module of an embedder, with its `DIMENSIONS` and `MODELS`. Raises ComponentError."""
    found = _registry.get(ALIASES.get(name.lower().replace("_", "-"), name))
    if found is None:
        from llmspell.errors import ComponentError

        near = nearest(name, [*names(), *ALIASES])
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ComponentError(
            f"there is no embedder {name!r}{hint}; there are: {', '.join(names())}",
            code="not_found",
            details={"name": name, "known": names()},
        )
    return found


def find(name: str, *, dimensions: int | None = None) -> Embedder:
    """Return an embedder with vectors of `dimensions`. Raises ComponentError, InvalidArgument."""
    made: Embedder = module(name).Embedder(dimensions)
    return made
