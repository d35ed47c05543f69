"""What calls mean where they do not say: the section `rag` with some of its settings changed while it is in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from llmspell.config.model import Rag
from llmspell.errors import InvalidArgument
from llmspell.rag.chunking import SIZES, recipe

_NAMES = {
    "provider": ("embedding", "default_provider"),
    "embedding_provider": ("embedding", "default_provider"),
    "embedding_model": ("embedding", "model"),
    "vector_dimensions": ("embedding", "dimensions"),
    "cache": ("embedding", "cache_enabled"),
    "threshold": ("retrieval", "threshold"),
    "k": ("retrieval", "top_k"),
    "search_limit": ("retrieval", "top_k"),
    "mode": ("retrieval", "mode"),
}
_CHUNKING = (*SIZES, "chunk_overlap", "strategy")


def configured(config: Rag, options: Mapping[str, Any]) -> Rag:
    """Return the section with options of `Rag.configure` in force. Raises InvalidArgument."""
    known = [*_NAMES, "collection", "chunking", *_CHUNKING]
    unknown = sorted(str(name) for name in set(options) - set(known))
    if unknown:
        raise InvalidArgument(
            f"configure: there is no option {unknown[0]!r}; there are: {', '.join(known)}",
            details={"name": unknown[0], "allowed": known},
        )
    stated = {name: value for name, value in options.items() if value is not None}
    for name, (section, field) in _NAMES.items():
        if name in stated:
            config = replace(config, **{section: _changed(getattr(config, section), field, stated[name])})
    if "collection" in stated:
        config = _changed(config, "default_collection", stated["collection"])
    cutting = {**stated.get("chunking", {}), **{name: stated[name] for name in _CHUNKING if name in stated}}
    if cutting:
        made = recipe(config.chunking, cutting)
        sizes = {name: getattr(made.options, name) for name in SIZES}
        config = replace(config, chunking=replace(config.chunking, strategy=made.strategy, **sizes))
    return config


def _changed(section: Any, field: str, value: Any) -> Any:
    """Return a section with another value, which has to be of the field's type."""
    kind = next(item.type for item in msgspec.structs.fields(section) if item.name == field)
    try:
        return replace(section, **{field: msgspec.convert(value, kind)})
    except msgspec.ValidationError as error:
        raise InvalidArgument(
            f"configure: {field}: {error}", details={"name": field, "value": str(value)[:100]}
        ) from error


def in_force(config: Rag) -> dict[str, Any]:
    """Return the settings that calls fall back on."""
    return {
        "enabled": config.enabled,
        "provider": config.embedding.default_provider,
        "model": config.embedding.model,
        "dimensions": config.embedding.dimensions,
        "cache": config.embedding.cache_enabled,
        "collection": config.default_collection,
        "chunking": msgspec.to_builtins(config.chunking),
        "threshold": config.retrieval.threshold,
        "k": config.retrieval.top_k,
        "mode": config.retrieval.mode,
    }
