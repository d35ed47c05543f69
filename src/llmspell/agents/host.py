"""The contract between an agent and the service that made it; apart from `_base`, which knows no services."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from llmspell.agents._base import AgentConfig
    from llmspell.agents.asking import Model
    from llmspell.agents.contexts import Contexts
    from llmspell.agents.toolbox import Toolbox
    from llmspell.base.context import Context


class Surroundings(Protocol):
    """What an agent needs from the service that made it."""

    contexts: Contexts
    warn: Callable[[str], None] | None
    present: Callable[[Any], Any]

    def base(self) -> Context:
        """Return what a run begins with that nobody else is part of."""
        ...

    def model_of(self, config: AgentConfig, script: Any) -> Model:
        """Return the model and its fallbacks. Raises ConfigurationError."""
        ...

    def toolbox_of(self, entries: list[Any]) -> Toolbox:
        """Resolve a list of tools."""
        ...

    async def invoke(self, name: str, params: dict[str, Any], context: Context) -> dict[str, Any]:
        """Call a tool, or an agent that is a tool, and return the envelope."""
        ...

    def running(self, execution_id: str, parent_id: str | None) -> None:
        """Note that a run has begun below another."""
        ...

    def finished(self, execution_id: str, *, ok: bool, seconds: float) -> None:
        """Note that a run has ended, and count it."""
        ...

    def recall(self, agent: Any) -> None:
        """Load the conversation an agent keeps under an id."""
        ...

    def remember(self, agent: Any) -> None:
        """Save the conversation an agent keeps under an id."""
        ...

    async def turned(self, context: Context, agent: str, asked: str, answered: str) -> None:
        """Hear what an agent of a session was asked and answered."""
        ...

    def is_above(self, execution_id: str | None, context: Context) -> bool:
        """Whether a run is the one of `context`, or one around it."""
        ...
