"""From what people write to a provider and its model: `[provider/] model [:tag] [@backend]`."""

from __future__ import annotations

from llmspell.errors import ConfigurationError
from llmspell.providers import _profiles
from llmspell.providers._catalog import BACKENDS, Catalog


def resolve(catalog: Catalog, spec: str | None, provider: str | None = None) -> tuple[str, str]:
    """Return the provider's proper name and the model. An explicit `provider` wins over the prefix of `spec`.

    Raises ConfigurationError: unknown provider, no provider to be found, or no model named anywhere.
    """
    text = (spec or "").strip().removeprefix("rig/")
    if provider:
        name = catalog.require(provider)
        return name, _model(catalog, name, _without_provider(catalog, name, text))
    if not text:
        return _default(catalog)
    head, slash, rest = text.partition("/")
    if slash:
        if head.lower() == "local":
            return _local(catalog, rest)
        name = catalog.find(head) or ""
        if name:
            return name, _model(catalog, name, rest)
    elif text in ("echo", "scripted"):
        return text, text
    name = _implied(catalog, text, head if slash else None)
    return name, text


def _without_provider(catalog: Catalog, name: str, text: str) -> str:
    head, slash, rest = text.partition("/")
    if not slash:
        return text
    named = catalog.find(head)
    if named == name or (named is not None and not catalog.profile(name).slashes):
        return rest
    return text


def _local(catalog: Catalog, rest: str) -> tuple[str, str]:
    model, at, backend = rest.rpartition("@")
    if not at:
        model, backend = rest, "ollama"
    name = catalog.find(backend)
    if name is None or name not in BACKENDS:
        raise ConfigurationError(
            f"unknown local backend '{backend}': expected one of {', '.join(BACKENDS)}", details={"key": "model"}
        )
    return name, _model(catalog, name, model)


def _model(catalog: Catalog, name: str, model: str) -> str:
    if model:
        return model
    found = catalog.settings(name).default_model or catalog.profile(name).default_model
    if not found:
        raise ConfigurationError(
            f"no model for the provider '{name}': name one or set providers.{name}.default_model",
            details={"key": f"providers.{name}.default_model"},
        )
    return found


def default_provider(catalog: Catalog) -> str | None:
    """Return the configured default provider, else the only one that is configured or has a key and is usable."""
    wanted = catalog.config.default_provider
    if wanted:
        return catalog.require(wanted)
    usable = [name for name in catalog.names() if catalog.is_listed(name) and catalog.is_available(name)]
    return usable[0] if len(usable) == 1 else None


def _default(catalog: Catalog) -> tuple[str, str]:
    if catalog.config.default_model:
        return resolve(catalog, catalog.config.default_model)
    name = default_provider(catalog)
    if name is None:
        raise ConfigurationError(
            "Model is required: name one, or set providers.default_model or providers.default_provider",
            details={"key": "model"},
        )
    return name, _model(catalog, name, "")


def _implied(catalog: Catalog, text: str, head: str | None) -> str:
    """Return the provider of a model named without one. `head` is an unknown first segment."""
    name = catalog.require(catalog.config.default_provider) if catalog.config.default_provider else None
    if name is None:
        name = _by_prefix(text)
    if name is None:
        name = default_provider(catalog)
    if name is not None and (head is None or catalog.profile(name).slashes or catalog.settings(name).base_url):
        return name
    if head is not None:
        catalog.require(head)
    usable = [name for name in catalog.names() if catalog.is_available(name)]
    raise ConfigurationError(
        f"no provider for the model '{text}': write provider/model or set providers.default_provider; "
        f"available: {', '.join(usable)}",
        details={"key": "model", "available": usable},
    )


def _by_prefix(model: str) -> str | None:
    for profile in _profiles.profiles().values():
        if any(model.startswith(prefix) for prefix in profile.prefixes):
            return profile.name
    return None
