"""Rules that join several keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.config.origin import Origin, Problem
from llmspell.config.schema import keys

if TYPE_CHECKING:
    from llmspell.config.model import Config


def cross_check(merged: dict[str, Any], origins: dict[str, Origin], problems: list[Problem]) -> None:
    """Append a problem for each broken rule, and tie the two dimensions when only one is stated."""

    def value(path: str) -> Any:
        return merged.get(path, keys()[path].default)

    def broken(path: str, message: str) -> None:
        _, source, line = origins.get(path, ("", None, None))
        problems.append(Problem(path, message, source, line))

    overlap, size = value("rag.chunking.overlap"), value("rag.chunking.chunk_size")
    if overlap >= size:
        broken("rag.chunking.overlap", f"rag.chunking.overlap = {overlap}: must be less than chunk_size = {size}")
    embedding, stored = "rag.embedding.dimensions", "rag.vector_storage.dimensions"
    if embedding in merged and stored in merged:
        if merged[embedding] != merged[stored]:
            broken(embedding, f"{embedding} = {merged[embedding]} but {stored} = {merged[stored]}: state only one")
    elif embedding in merged or stored in merged:
        merged[embedding] = merged[stored] = merged.get(embedding, merged.get(stored))
    elif value("rag.embedding.default_provider") != "builtin":
        merged[embedding] = 0


def advice(config: Config) -> list[str]:
    """Return sentences about a valid configuration that may not do what was meant."""
    import os
    from pathlib import Path

    found = []
    if not any(entry.enabled for entry in config.providers.defined.values()):
        found.append("no provider is configured: agents can only use the built-in models echo and scripted")
    for path in config.runtime.security.allowed_paths:
        if path in ("*", "/"):
            found.append(f"runtime.security.allowed_paths holds {path!r}: scripts may use every file")
        elif not Path(path).expanduser().exists():
            found.append(f"runtime.security.allowed_paths: {path!r} does not exist")
    if config.runtime.security.allow_process_spawn:
        found.append("runtime.security.allow_process_spawn is on: tools may start programs")
    if config.runtime.script_timeout_seconds > 3600:
        found.append("runtime.script_timeout_seconds is longer than an hour")
    memory = config.engines.lua.limits.memory_bytes or 0
    if memory > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        found.append("engines.lua.limits.memory_bytes is more than this machine has")
    return found
