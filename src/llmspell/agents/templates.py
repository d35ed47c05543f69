"""Ready-made kinds of agents: one TOML file each in `presets/`, read at first use."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from llmspell.agents._base import AgentConfig
from llmspell.base.registry import canonical, nearest
from llmspell.errors import ComponentError, ValidationError

FOLDER = Path(__file__).parent / "presets"
ORDER = ("llm", "basic", "tool-orchestrator")


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """One preset. tools: those of them that exist are allowed. required: parameters an instance must give."""

    name: str = ""
    description: str
    complexity: str
    capabilities: list[str]
    tools: list[str] = []
    required: list[str] = []
    defaults: dict[str, Any] = {}


@cache
def names() -> tuple[str, ...]:
    """Return the ids of all templates: the general ones first, then by name."""
    found = sorted(file.stem for file in FOLDER.glob("*.toml"))
    return (*ORDER, *(name for name in found if name not in ORDER))


@cache
def get(name: str) -> Template | None:
    """Return a template, or None."""
    key = canonical(name)
    if key not in names():
        return None
    import tomllib

    raw = tomllib.loads((FOLDER / f"{key}.toml").read_text("utf-8"))
    return msgspec.convert({**raw, "name": key}, Template)


def require(name: str) -> Template:
    """Return a template. Raises ComponentError (`not_found`) with the nearest names."""
    template = get(name)
    if template is None:
        near = nearest(name, list(names()))
        hint = f", did you mean {' or '.join(repr(item) for item in near)}?" if near else ""
        raise ComponentError(f"agent template '{name}' not found{hint}", code="not_found", details={"name": name})
    return template


def fields(template: Template, params: dict[str, Any], known: Any) -> dict[str, Any]:
    """Return the settings of an instance. known: tells whether a tool exists.

    Raises ValidationError for a required parameter that is missing and for an unknown one.
    """
    from llmspell.agents.settings import KNOWN

    for name in template.required:
        if not params.get(name) and not (name == "tools" and params.get("allowed_tools")):
            raise ValidationError(f"template '{template.name}' needs the parameter '{name}'", details={"field": name})
    for key in params:
        if key not in KNOWN and key != "agent_name":
            near = nearest(key, sorted(KNOWN), limit=1)
            hint = f", did you mean '{near[0]}'?" if near else ""
            raise ValidationError(f"template '{template.name}' has no parameter '{key}'{hint}", details={"field": key})
    tools = {"tools": [name for name in template.tools if known(name)]} if template.tools else {}
    return {"capabilities": template.capabilities, **tools, **template.defaults, **params}


def info(template: Template) -> dict[str, Any]:
    """Return what is known of a template; optional parameters are all fields of an agent."""
    return {
        "name": template.name,
        "description": template.description,
        "category": "agent",
        "type": str(template.defaults.get("type", "llm")),
        "complexity": template.complexity,
        "required_parameters": template.required,
        "optional_parameters": sorted(set(AgentConfig.__struct_fields__) - set(template.required)),
        "capabilities": template.capabilities,
    }
