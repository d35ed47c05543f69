"""Configuration: the frozen tree, its layers, where each value comes from, and which values are secrets."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.config.found import Loaded
    from llmspell.config.loading import load
    from llmspell.config.model import Config, Provider
    from llmspell.config.overlay import Overlay

__all__ = ["Config", "Loaded", "Overlay", "Provider", "load"]

_HOMES = {
    "Config": "llmspell.config.model",
    "Provider": "llmspell.config.model",
    "Loaded": "llmspell.config.found",
    "load": "llmspell.config.loading",
    "Overlay": "llmspell.config.overlay",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmspell.config' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
