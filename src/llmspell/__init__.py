"""llmspell: sandboxed Lua spells that orchestrate language models. Public names load lazily; importing costs nothing."""

from __future__ import annotations

from llmspell.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell._core import VectorIndex
    from llmspell.library import App, Context, Outcome, open, run, run_sync  # noqa: A004 - a public name
    from llmspell.state import StateStore

__all__ = ["App", "Context", "Outcome", "StateStore", "VectorIndex", "__version__", "open", "run", "run_sync"]

_HOMES = {
    "App": "llmspell.library",
    "Context": "llmspell.library",
    "Outcome": "llmspell.library",
    "open": "llmspell.library",
    "run": "llmspell.library",
    "run_sync": "llmspell.library",
    "StateStore": "llmspell.state",
    "VectorIndex": "llmspell._core",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmspell' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
