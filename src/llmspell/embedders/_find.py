"""Which embedder a name means: a file of this folder, an alias, or a provider whose dialect has an embedder."""

from __future__ import annotations

from llmspell.base.registry import Registry, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from llmspell.config.model import Embedding as Section
    from llmspell.embedders._base import Embedder, Options, Services

ALIASES = {"local": "builtin", "hash": "builtin", "hash-ngram": "builtin"}
_registry = Registry("llmspell.embedders")


def canonical(name: str) -> str:
    """Return the proper name for a name or an alias."""
    key = name.strip().lower().replace("_", "-")
    return ALIASES.get(key, key)


def names() -> list[str]:
    """Return the names of all embedders, sorted."""
    return _registry.names()


def module(name: str, services: Callable[[], Services] | None = None) -> ModuleType:
    """Return the module of an embedder, with its `DIMENSIONS` and `MODELS`.

    A provider whose dialect has an embedder is one too: `mistral`, or a table `[providers.NAME]`.
    Raises ComponentError.
    """
    found = _registry.get(canonical(name))
    if found is None and services is not None:
        found = _registry.get(services().dialect(name) or "")
    if found is None:
        from llmspell.errors import ComponentError

        near = nearest(name, [*names(), *ALIASES])
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ComponentError(
            f"there is no embedder {name!r}{hint}; there are: {', '.join(names())}",
            code="not_found",
            details={"name": name, "known": names()},
        )
    if services is not None and hasattr(found, "SERVICE"):
        services().describe(canonical(name), found.SERVICE)
    return found


def find(
    name: str,
    *,
    model: str | None = None,
    dimensions: int | None = None,
    section: Section | None = None,
    services: Callable[[], Services] | None = None,
) -> Embedder:
    """Return an embedder. section: `rag.embedding`. services: gives the model services, for those that ask one.

    Raises ComponentError, ConfigurationError, InvalidArgument.
    """
    options = _options(name, section, services, model=model, dimensions=dimensions)
    made: Embedder = module(name, services).Embedder(options)
    return made


def available(name: str, section: Section, services: Callable[[], Services] | None) -> bool:
    """Tell whether an embedder could be used now; no network."""
    check = getattr(module(name, services).Embedder, "available", None)
    return check is None or bool(check(_options(name, section, services)))


def _options(name: str, section: Section | None, services: Callable[[], Services] | None, **wishes: Any) -> Options:
    from llmspell.config.model import Embedding
    from llmspell.embedders._base import Options

    section = Embedding() if section is None else section
    proper = canonical(name)
    return Options(
        name=proper, section=section, own=proper == canonical(section.default_provider), services=services, **wishes
    )
