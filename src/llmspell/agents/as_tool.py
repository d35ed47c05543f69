"""Agents that are tools: registered like any tool, and called with the run's own context when an agent calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell.errors import ComponentError, InternalError, LLMSpellError, ValidationError

if TYPE_CHECKING:
    from llmspell.agents.agent import Agent
    from llmspell.agents.directory import Roster
    from llmspell.base.context import Context
    from llmspell.tools import Tools

SCHEMA = {
    "type": "object",
    "properties": {
        "input": {"type": "string", "description": "What the agent is asked"},
        "parameters": {"type": "object", "description": "Further values for the agent"},
    },
    "required": ["input"],
    "additionalProperties": False,
}


class AgentTools:
    """The agents of one roster that are tools."""

    def __init__(self, tools: Tools, roster: Roster) -> None:
        self._tools = tools
        self._roster = roster
        self._bundled: set[str] = set()

    def wrap(self, agent: Agent, config: Mapping[str, Any]) -> str:
        """Register an agent as a tool and return the tool's name. Raises ComponentError when that name is taken.

        bundle_parameters: all parameters besides `input` reach the agent as one; else only the object `parameters`.
        """
        tool = str(config.get("tool_name") or f"{agent.name}_tool")
        if self._tools.get(tool) is not None:
            raise ComponentError(f"a tool named '{tool}' exists already", code="already_exists", details={"tool": tool})

        async def handler(params: dict[str, Any], _: Any) -> Any:
            return await self._run(tool, params, None)

        self._tools.register(
            tool,
            handler,
            config.get("input_schema") or SCHEMA,
            description=str(config.get("description") or agent.config.description),
            category=str(config.get("category") or "utility"),
            level=config.get("security_level") or "safe",
            timeout_ms=int(config.get("timeout_ms") or agent.config.max_execution_time * 1000),
        )
        self._roster.wrapped[tool] = agent.name
        if config.get("bundle_parameters"):
            self._bundled.add(tool)
        return tool

    def of(self, agent: Agent) -> str:
        """Return the tool an agent is, made when there is none."""
        known = (tool for tool, owner in self._roster.wrapped.items() if owner == agent.name)
        return next(known, None) or self.wrap(agent, {})

    def forget(self, agent: Agent) -> None:
        """Remove the tools an agent is."""
        for tool, owner in list(self._roster.wrapped.items()):
            if owner == agent.name:
                del self._roster.wrapped[tool]
                self._bundled.discard(tool)
                self._tools.unregister(tool)

    async def call(self, tool: str, params: dict[str, Any], context: Context) -> dict[str, Any]:
        """Run an agent for another's run and return the envelope. Raises what ends that run too."""
        schema = (self._tools.schema(tool) or {}).get("input_schema", SCHEMA)
        missing = [key for key in schema.get("required", []) if key not in params]
        if missing:
            raise ValidationError(
                f"Missing required parameter '{missing[0]}'", code="schema_violation", details={"field": missing[0]}
            )
        try:
            return await self._run(tool, params, context)
        except InternalError:
            raise
        except LLMSpellError as error:
            if error.kind in ("cancelled", "security"):
                raise
            return {"operation": tool, "success": False, "message": error.message, "error": error.to_wire()}

    async def _run(self, tool: str, params: dict[str, Any], context: Context | None) -> dict[str, Any]:
        agent = self._roster.by_name[self._roster.wrapped[tool]]
        rest = {key: value for key, value in params.items() if key != "input"}
        bundled = rest.pop("parameters", {}) if tool not in self._bundled else {}
        given = {**(bundled if isinstance(bundled, dict) else {"parameters": bundled}), **rest}
        value: dict[str, Any] = {"text": params.get("input", "")}
        if given:
            value["parameters"] = given
        result = await agent.execute(value, None, context)
        return {"operation": tool, "success": True, "result": result["text"], "text": result["text"]}
