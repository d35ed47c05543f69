"""Tools: typed functions behind one door, for scripts, agents, the command line and programs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.tools._registry import Tools

__all__ = ["Tools"]


def __getattr__(name: str) -> Any:
    if name == "Tools":
        from llmspell.tools._registry import Tools

        return Tools
    raise AttributeError(f"module 'llmspell.tools' has no attribute {name!r}")
