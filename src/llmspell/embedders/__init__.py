"""Embedders: text to vectors, one module each. `find(name)` returns one by its name or an alias."""

from __future__ import annotations

from llmspell.embedders._find import ALIASES, available, canonical, find, module, names

__all__ = ["ALIASES", "available", "canonical", "find", "module", "names"]
