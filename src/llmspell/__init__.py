"""llmspell: sandboxed Lua spells that orchestrate language models. Public names load at first use."""

from __future__ import annotations

from llmspell.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.library import (
        App,
        Context,
        Outcome,
        StateStore,
        VectorEntry,
        VectorIndex,
        VectorQuery,
        VectorStorage,
        open,
        run,
        run_sync,
    )

__all__ = [
    "App",
    "Context",
    "Outcome",
    "StateStore",
    "VectorEntry",
    "VectorIndex",
    "VectorQuery",
    "VectorStorage",
    "__version__",
    "open",
    "run",
    "run_sync",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'llmspell' has no attribute {name!r}")
    from llmspell import library

    return getattr(library, name)
