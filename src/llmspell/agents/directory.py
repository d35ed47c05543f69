"""What can be found out about agents: lists, discovery, details, the tree of who calls whom. All of it true values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell.agents import settings, templates

if TYPE_CHECKING:
    from llmspell.agents.agent import Agent
    from llmspell.providers import Providers

FILTERS = ("type", "model", "provider", "state")


class Roster:
    """Who is there: instances by name and id, definitions, and agents by the name of the tool they are."""

    def __init__(self, providers: Providers) -> None:
        self.providers = providers
        self.by_name: dict[str, Agent] = {}
        self._by_id: dict[str, Agent] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self.wrapped: dict[str, str] = {}

    @property
    def instances(self) -> list[Agent]:
        """All agents, sorted by name."""
        return [self.by_name[name] for name in sorted(self.by_name)]

    def find(self, name: str) -> Agent | None:
        """Return the instance of a name or an id, or None."""
        return self.by_name.get(name) or self._by_id.get(name)

    def add(self, agent: Agent) -> None:
        """Enter an instance."""
        self.by_name[agent.name] = self._by_id[agent.id] = agent

    def remove(self, agent: Agent) -> None:
        """Strike an instance out."""
        del self.by_name[agent.name], self._by_id[agent.id]


def row(agent: Agent) -> dict[str, Any]:
    """Return the list entry of an instance."""
    return {
        "name": agent.name,
        "id": agent.id,
        "type": agent.config.type,
        "state": agent.state,
        "model": agent.model_name,
        "provider": agent.provider,
        "description": agent.config.description,
    }


def capabilities(agent: Agent) -> list[str]:
    """Return what an agent can do: its own words, and those that follow from its model and settings."""
    words = [*agent.config.capabilities, *agent.config.tags]
    if agent.model is not None:
        words.append("text_generation")
    if agent.toolbox.names:
        words.append("tool_use")
    if agent.config.memory_enabled and agent.model is not None:
        words.append("conversation")
    if agent.config.output_schema is not None:
        words.append("structured_output")
    if agent.team is not None:
        words.append("composition")
    return list(dict.fromkeys(words))


def listing(roster: Roster, wanted: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the instances that fit the filter, sorted by name."""
    return [row(agent) for agent in roster.instances if _fits(roster, agent, wanted or {})]


def _fits(roster: Roster, agent: Agent, wanted: Mapping[str, Any]) -> bool:
    entry = row(agent)
    for field in FILTERS:
        asked = wanted.get(field)
        if asked is None:
            continue
        known = str(entry[field] or "")
        if known != asked and not (field == "model" and known.partition("/")[2] == asked):
            return False
    if wanted.get("min_context") is not None:
        window = None if agent.model is None else agent.model.window
        if window is None or window < wanted["min_context"]:
            return False
    return _mentions(wanted, capabilities(agent), f"{agent.name} {agent.config.description}")


def _mentions(wanted: Mapping[str, Any], words: list[str], text: str) -> bool:
    asked = [wanted["capability"]] if wanted.get("capability") else []
    many = wanted.get("capabilities")
    asked += many if isinstance(many, list) else [many] if isinstance(many, str) else []
    if any(word not in words for word in asked):
        return False
    query = str(wanted.get("query") or "").lower().split()
    haystack = f"{text} {' '.join(words)}".lower()
    return all(word in haystack for word in query)


def discover(roster: Roster, wanted: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return templates, then instances and definitions that fit; a filter on live values leaves templates out."""
    wanted = {key: value for key, value in (wanted or {}).items() if value is not None}
    found = []
    live = any(wanted.get(key) is not None for key in ("model", "provider", "state", "min_context"))
    for name in () if live else templates.names():
        template = templates.require(name)
        kind = str(template.defaults.get("type", "llm"))
        if wanted.get("type") in (None, kind, name) and _mentions(
            wanted, template.capabilities, f"{name} {template.description}"
        ):
            found.append(_entry(name, kind, template.description, template.capabilities, instance=False))
    for agent in roster.instances:
        if _fits(roster, agent, wanted):
            words = capabilities(agent)
            found.append(_entry(agent.name, agent.config.type, agent.config.description, words, instance=True))
    running = {agent.name for agent in roster.instances}
    for name, table in sorted(roster.definitions.items()):
        kind = str(table.get("type") or table.get("agent_type") or "llm")
        words = [str(word) for word in table.get("capabilities") or []]
        text = str(table.get("description") or "")
        fits = wanted.get("type") in (None, kind) and _mentions(wanted, words, f"{name} {text}")
        if name not in running and not live and fits:
            found.append(_entry(name, kind, text, words, instance=False))
    return found


def _entry(name: str, kind: str, description: str, words: list[str], *, instance: bool) -> dict[str, Any]:
    return {"name": name, "type": kind, "description": description, "capabilities": list(words), "instance": instance}


def info(roster: Roster, name: str) -> dict[str, Any] | None:
    """Return what is known of an instance, a definition or a template, or None."""
    agent = roster.find(name)
    if agent is not None:
        entry = row(agent)
        return {
            **templates.info(templates.require("llm")),
            **{key: entry[key] for key in ("name", "description", "type", "model", "provider", "state")},
            "capabilities": capabilities(agent),
        }
    table = roster.definitions.get(name)
    if table is not None:
        return {
            **templates.info(templates.require("llm")),
            "name": name,
            "description": str(table.get("description") or ""),
            "type": str(table.get("type") or table.get("agent_type") or "llm"),
            "capabilities": [str(word) for word in table.get("capabilities") or []],
        }
    template = templates.get(name)
    return None if template is None else templates.info(template)


def details(roster: Roster, agent: Agent) -> dict[str, Any]:
    """Return everything about one agent."""
    return {
        **row(agent),
        "tools": agent.toolbox.names,
        "metrics": agent.metrics(),
        "performance": agent.measures.performance(),
        "health": agent.health(),
        "config": settings.to_wire(agent.config),
        "composition": {
            "can_be_wrapped": True,
            "supports_delegation": agent.team is not None or bool(agent.toolbox.names),
            "supports_nesting": agent.config.max_recursion_depth > 0,
        },
    }


def hierarchy(roster: Roster, agent: Agent | None) -> dict[str, Any]:
    """Return the tree below one agent, or below all: members of composites, agents called as tools, tools."""
    if agent is not None:
        return {"root": _branch(roster, agent, ())}
    branches = [_branch(roster, found, ()) for found in roster.instances]
    return {"root": {"name": "agents", "type": "root", "id": "agents", "children": branches}}


def _branch(roster: Roster, agent: Agent, above: tuple[str, ...]) -> dict[str, Any]:
    children = []
    path = (*above, agent.name)
    members = list(agent.team.config.agents) if agent.team is not None else []
    wrapped = roster.wrapped
    for tool in agent.toolbox.names:
        if tool in wrapped:
            members.append(wrapped[tool])
        else:
            children.append({"name": tool, "type": "tool", "id": tool, "children": []})
    for member in members:
        child = roster.find(member)
        if child is not None and child.name not in path:
            children.append(_branch(roster, child, path))
    return {"name": agent.name, "type": agent.config.type, "id": agent.id, "children": children}


def abilities(roster: Roster, agent: Agent | None) -> dict[str, Any]:
    """Return for each agent, or one, what its model really can, with its settings."""
    return {found.name: _ability(roster, found) for found in (roster.instances if agent is None else [agent])}


def _ability(roster: Roster, agent: Agent) -> dict[str, Any]:
    config = agent.config
    can: Any = None
    if agent.model is not None:
        can = roster.providers.capabilities(agent.model.first.label)
    limits: dict[str, Any] = {
        "supports_streaming": can is None or can.streaming,
        "supports_tools": can is not None and can.tools,
        "supports_context": True,
        "supports_multimodal": can is not None and can.multimodal,
    }
    if can is not None and can.max_context_tokens is not None:
        limits["max_context_tokens"] = can.max_context_tokens
    shown = {key: getattr(config, key) for key in ("system_prompt", "temperature", "max_tokens")}
    return {
        "id": agent.id,
        "name": agent.name,
        "description": config.description,
        "config": {key: value for key, value in shown.items() if value is not None},
        "capabilities": limits,
        "words": capabilities(agent),
    }
