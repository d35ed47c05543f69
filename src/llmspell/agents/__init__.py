"""Agents: models with a prompt, tools, a memory and limits. `Agents` holds those of one interpreter."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.agents.agent import Agent
    from llmspell.agents.service import Agents

__all__ = ["Agent", "Agents"]

_HOMES = {"Agent": "agent", "Agents": "service"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
