"""What of an agent lives in the state store: its own data, and a saved copy of conversation, settings and counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.agents import settings
from llmspell.base.clock import rfc3339
from llmspell.errors import ValidationError

if TYPE_CHECKING:
    from llmspell.agents.agent import Agent
    from llmspell.state import StateStore

KEY = "agent_state"
VERSION = 1
KEPT = frozenset(settings.OVERRIDES | {"description", "capabilities", "tags", "max_conversation_length"}) - {
    "tools",
    "extra",
}


def scope(agent: Agent) -> str:
    """Return the state scope of an agent."""
    return f"agent:{agent.name}"


def set_data(store: StateStore, agent: Agent, values: dict[str, Any]) -> None:
    """Merge values into the agent's own data; None removes a key. Raises ValidationError for a reserved key."""
    if KEY in values:
        raise ValidationError(f"the state key '{KEY}' is reserved", details={"field": KEY})
    for key, value in values.items():
        if value is None:
            store.delete(scope(agent), key)
        else:
            store.save(scope(agent), key, value)


def get_data(store: StateStore, agent: Agent, key: str | None) -> Any:
    """Return one value of the agent's own data (None if missing), or all."""
    if key is not None:
        return None if key == KEY else store.load(scope(agent), key)
    found = store.get_all(scope(agent))
    return {name: value for name, value in found.items() if name != KEY and not name.startswith("conversation:")}


def save(store: StateStore, agent: Agent) -> None:
    """Save a copy that `load` restores, in this process or another."""
    config = {key: value for key, value in settings.to_wire(agent.config).items() if key in KEPT}
    store.save(
        scope(agent),
        KEY,
        {
            "schema_version": VERSION,
            "agent_id": agent.id,
            "agent_type": agent.config.type,
            "last_modified": rfc3339(),
            "state": {
                "conversation_history": agent.conversation.history(),
                "custom_data": get_data(store, agent, None),
                "counters": agent.measures.to_wire(),
            },
            "config": config,
        },
    )


def load(store: StateStore, agent: Agent) -> bool:
    """Restore the saved copy; False when there is none. Raises ValidationError for one of a newer version."""
    saved = store.load(scope(agent), KEY)
    if not isinstance(saved, dict):
        return False
    if saved.get("schema_version") != VERSION:
        raise ValidationError(
            f"the saved state of agent '{agent.name}' has version {saved.get('schema_version')!r}, expected {VERSION}",
            details={"field": "schema_version"},
        )
    state = saved.get("state") or {}
    agent.configure(saved.get("config") or {})
    agent.conversation.replace(state.get("conversation_history") or [])
    agent.measures.restore(state.get("counters") or {})
    set_data(store, agent, state.get("custom_data") or {})
    return True


def delete(store: StateStore, agent: Agent) -> bool:
    """Remove the saved copy; whether there was one."""
    return bool(store.delete(scope(agent), KEY))


def reset(store: StateStore, agent: Agent) -> None:
    """Forget conversation and own data; the agent is Ready again."""
    agent.conversation.clear()
    for key in get_data(store, agent, None):
        store.delete(scope(agent), key)
    agent.lifecycle.reset()


def _place(agent: Agent) -> tuple[str, str]:
    session = agent.config.session
    return (f"session:{session}" if session else scope(agent)), f"conversation:{agent.config.conversation_id}"


def recall(store: StateStore, agent: Agent) -> None:
    """Load the conversation an agent keeps under its `conversation_id`, in its session's scope or its own."""
    saved = store.load(*_place(agent))
    if isinstance(saved, list):
        agent.conversation.replace(saved)


def remember(store: StateStore, agent: Agent) -> None:
    """Save the conversation an agent keeps under its `conversation_id`."""
    store.save(*_place(agent), agent.conversation.history())
