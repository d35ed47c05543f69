"""`Agents`: all agents of one interpreter, their definitions, teams, contexts, and agents that are tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.agents import directory, persist, settings, templates
from llmspell.agents.agent import Agent
from llmspell.agents.as_tool import AgentTools
from llmspell.agents.asking import Model, Target, call_options
from llmspell.agents.compose import Team, TeamConfig, strategy_of
from llmspell.agents.contexts import Contexts
from llmspell.agents.directory import Roster
from llmspell.agents.measures import process_values
from llmspell.agents.run import chunk_wire
from llmspell.agents.toolbox import Toolbox
from llmspell.base.context import Context
from llmspell.base.ids import short
from llmspell.errors import ComponentError, ValidationError
from llmspell.providers._tally import Cell

if TYPE_CHECKING:
    from llmspell.agents._base import AgentConfig
    from llmspell.config.model import Agents as Defaults
    from llmspell.metrics import Metrics
    from llmspell.providers import Providers
    from llmspell.state import StateStore
    from llmspell.tools import Tools

TYPES = ("llm", "basic", "function", "tool-orchestrator")
TEAM_KEYS = frozenset(TeamConfig.__struct_fields__) | {"pattern", "combine", "members", "min_agreement"}


class Agents:
    """All agents of one interpreter; used from its thread only.

    state: gives the state store at first use. config: defaults of every agent. metrics: counts runs. `present` says how
    stream callbacks see a Chunk. `keep_turn` hears the turns of sessions: their id, ident, agent, asked, answered.
    """

    def __init__(
        self,
        providers: Providers,
        tools: Tools,
        *,
        state: Callable[[], StateStore],
        config: Defaults | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.providers = providers
        self.tools = tools
        self.state = state
        self.contexts = Contexts()
        self.warn: Callable[[str], None] | None = None
        self.chunk_wire = chunk_wire
        self.present: Callable[[Any], Any] = chunk_wire
        self.keep_turn: Callable[..., Awaitable[Any]] | None = None
        self._defaults = config
        self._metrics = metrics
        self._cells: tuple[Cell, Cell, Cell] | None = None
        self._context: Callable[[], Context] = Context
        self._untrusted = False
        self._roster = Roster(providers)
        self._as_tools = AgentTools(tools, self._roster)
        self._parents: dict[str, str | None] = {}

    def belong(
        self,
        context: Callable[[], Context],
        *,
        untrusted: bool = False,
        strict: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Run agents on behalf of a script.

        context: gives what a run begins with that nobody else is part of: level, session, tenant, budget. untrusted:
        addresses and keys come from a script of profile `safe`. strict: an unknown option is an error; else `warn`
        gets a sentence.
        """
        self._context = context
        self._untrusted = untrusted
        self.warn = _refuse if strict else _once(warn)

    def create(self, table: Mapping[str, Any] | None = None, **fields: Any) -> Agent:
        """Build an agent from settings. Raises ComponentError `already_exists`, and what building documents."""
        table = {**(table or {}), **fields}
        kind = table.get("type") or table.get("agent_type") or "llm"
        if kind == "composite":
            return self.create_composite(dict(table))
        if kind not in TYPES:
            if isinstance(kind, str) and templates.get(kind) is not None:
                return self.create_from_template(
                    kind, {k: v for k, v in table.items() if k not in ("type", "agent_type")}
                )
            raise ValidationError(
                f"agent field 'type' must be one of: {', '.join(TYPES)}, composite or a template, got {kind!r}",
                details={"field": "type"},
            )
        return self._add(self._parse(table), None)

    def _parse(self, table: Mapping[str, Any]) -> AgentConfig:
        return settings.parse(self._with_defaults(table), warn=self.warn)

    def _with_defaults(self, table: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings over the defaults of the configuration."""
        given = self._defaults
        if given is None:
            return table
        defaults: dict[str, Any] = {
            "max_tool_calls": given.max_tool_calls,
            "max_model_calls": given.max_model_calls,
            "max_recursion_depth": given.max_recursion_depth,
            "max_execution_time": given.max_execution_time_secs,
        }
        if given.max_cost_usd is not None or given.max_tokens is not None:
            money = {"max_cost_usd": given.max_cost_usd, "max_tokens": given.max_tokens}
            own = table.get("budget") or {}
            defaults["budget"] = {**{k: v for k, v in money.items() if v is not None}, **own}
            table = {key: value for key, value in table.items() if key != "budget"}
        limits = table.get("resource_limits")
        for key in limits if isinstance(limits, dict) else ():
            defaults.pop(settings.LIMIT_KEYS.get(str(key), str(key)), None)
        for key in table:
            defaults.pop(settings.ALIASES.get(str(key), str(key)), None)
        for inner in (table.get("settings"), table.get("custom_config")):
            for key in inner if isinstance(inner, dict) else ():
                defaults.pop(settings.ALIASES.get(str(key), str(key)), None)
        return {**defaults, **table}

    def _add(self, config: AgentConfig, team: Team | None) -> Agent:
        if config.name in self._roster.by_name:
            raise ComponentError(
                f"agent '{config.name}' already exists: destroy it or choose another name",
                code="already_exists",
                details={"name": config.name},
                component=f"agent:{config.name}",
            )
        if config.type == "tool-orchestrator" and not config.tools:
            config = settings.build({**{f: getattr(config, f) for f in settings.FIELDS}, "tools": ["*"]})
        agent = Agent(config, self, team)
        self._roster.add(agent)
        return agent

    def create_from_template(self, template: str, params: Mapping[str, Any] | None = None) -> Agent:
        """Build an instance of a template. Raises ComponentError `not_found`, ValidationError for a bad parameter."""
        found = templates.require(template)
        params = dict(params or {})
        fields = templates.fields(found, params, lambda name: self.tools.get(name) is not None)
        name = fields.pop("agent_name", None)
        fields.setdefault("name", name or f"{found.name}_{short(8)}")
        return self._add(self._parse(fields), None)

    def create_composite(self, table: dict[str, Any]) -> Agent:
        """Build an agent of agents. Raises ValidationError for a bad strategy, ComponentError for an unknown member."""
        members = table.get("agents") or table.get("members")
        if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
            raise ValidationError("a composite needs a list 'agents' of names or agents", details={"field": "agents"})
        if table.get("pattern") == "hierarchical":
            own = {key: value for key, value in table.items() if key not in TEAM_KEYS or key == "timeout_ms"}
            tools = [*(table.get("tools") or []), *(self._wrap(name) or name for name in map(self._known, members))]
            return self._add(self._parse({**own, "type": "llm", "tools": tools}), None)
        team_fields = {key: table[key] for key in TeamConfig.__struct_fields__ if table.get(key) is not None}
        if callable(table.get("combine")):
            team_fields["handler"] = table["combine"]
        if table.get("min_agreement") is not None:
            team_fields.setdefault("threshold", table["min_agreement"])
        members = [self._known(name) for name in members]
        for field in ("fallback_agent", "judge"):
            if isinstance(team_fields.get(field), str):
                team_fields[field] = self._known(team_fields[field])
        team_fields.update(agents=members, strategy=strategy_of(table))
        rest = {key: value for key, value in table.items() if key not in TEAM_KEYS}
        config = self._parse({"description": f"Team of {', '.join(members)}", **rest, "type": "composite"})
        return self._add(config, Team(config.name, _team_config(team_fields), self.require))

    def _known(self, name: str) -> str:
        return self.require(name).name

    def find(self, name: str) -> Agent | None:
        """Return the instance of a name or an id, or None."""
        return self._roster.find(name)

    def get(self, name: str) -> Agent | None:
        """Return an agent by name or id, building it from its definition at first use, or None."""
        agent = self.find(name)
        if agent is None and name in self._roster.definitions:
            return self.create({**self._roster.definitions[name], "name": name})
        return agent

    def require(self, name: str) -> Agent:
        """Return an agent by name or id. Raises ComponentError `not_found`."""
        agent = self.get(name)
        if agent is None:
            from llmspell.base.registry import nearest

            near = nearest(name, sorted({*self._roster.by_name, *self._roster.definitions}))
            hint = f", did you mean {' or '.join(repr(item) for item in near)}?" if near else ""
            raise ComponentError(
                f"agent '{name}' not found{hint}",
                code="not_found",
                details={"name": name, "suggestions": near},
                component=f"agent:{name}",
            )
        return agent

    def exists(self, name: str) -> bool:
        """Whether there is an agent or a definition of that name."""
        return self.find(name) is not None or name in self._roster.definitions

    @property
    def instances(self) -> list[Agent]:
        """All agents, sorted by name."""
        return self._roster.instances

    @property
    def definitions(self) -> dict[str, dict[str, Any]]:
        """Registered settings by name."""
        return self._roster.definitions

    def register(self, table: Mapping[str, Any]) -> str:
        """Keep settings for a later `get`; they are checked now. Raises ComponentError `already_exists`."""
        name = table.get("name")
        if not isinstance(name, str) or not name:
            raise ValidationError("a definition needs a name", details={"field": "name"})
        if self.exists(name):
            raise ComponentError(f"agent '{name}' already exists", code="already_exists", details={"name": name})
        kind = table.get("type") or table.get("agent_type")
        if isinstance(kind, str) and kind not in (*TYPES, "composite"):
            templates.require(kind)
        else:
            rest = {key: value for key, value in table.items() if key not in TEAM_KEYS or kind != "composite"}
            config = self._parse(rest)
            if kind not in ("basic", "function", "composite"):
                self.model_of(config, None)
        self._roster.definitions[name] = dict(table)
        return name

    def unregister(self, name: str) -> bool:
        """Forget a definition and destroy its instance; False when there is none."""
        known = self._roster.definitions.pop(name, None) is not None
        if self.find(name) is not None:
            self.destroy(name)
            return True
        return known

    def destroy(self, name: str) -> None:
        """Terminate an agent and free its name. Raises ComponentError `not_found`."""
        agent = self.require(name)
        self._roster.remove(agent)
        agent.close()
        self._as_tools.forget(agent)

    def close(self) -> None:
        """Terminate every agent."""
        for name in list(self._roster.by_name):
            self.destroy(name)

    def listing(self, wanted: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the instances that fit a filter, sorted by name."""
        return directory.listing(self._roster, wanted)

    def discover(self, wanted: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return templates, instances and definitions that fit a filter."""
        return directory.discover(self._roster, wanted)

    def info(self, name: str) -> dict[str, Any] | None:
        """Return what is known of a template, a definition or an instance, or None."""
        return directory.info(self._roster, name)

    def details(self, name: str) -> dict[str, Any]:
        """Return everything about an agent."""
        return directory.details(self._roster, self.require(name))

    def hierarchy(self, name: str | None = None) -> dict[str, Any]:
        """Return the tree of members, agents as tools, and tools."""
        return directory.hierarchy(self._roster, None if name is None else self.require(name))

    def abilities(self, name: str | None = None) -> dict[str, Any]:
        """Return for each agent what its model can do."""
        return directory.abilities(self._roster, None if name is None else self.require(name))

    def template_names(self) -> list[str]:
        """Return the ids of all templates."""
        return list(templates.names())

    def setters(self) -> list[str]:
        """Return every key of a table of settings."""
        return sorted(settings.KNOWN)

    def totals(self) -> dict[str, Any]:
        """Return values of the process."""
        return process_values(len(self._roster.by_name), len(self.tools.list()))

    async def execute(
        self, name: str, value: Any, options: Mapping[str, Any] | None = None, context: Context | None = None
    ) -> dict[str, Any]:
        """Run an agent by name."""
        return await self.require(name).execute(value, options, context)

    def set_data(self, agent: Agent, values: dict[str, Any]) -> None:
        """Merge values into an agent's own data."""
        persist.set_data(self.state(), agent, values)

    def get_data(self, agent: Agent, key: str | None = None) -> Any:
        """Return one value of an agent's own data, or all."""
        return persist.get_data(self.state(), agent, key)

    def save(self, agent: Agent) -> None:
        """Save conversation, settings, own data and counters of an agent."""
        persist.save(self.state(), agent)

    def load(self, agent: Agent) -> bool:
        """Restore what `save` saved; False when there is none."""
        return persist.load(self.state(), agent)

    def delete_saved(self, agent: Agent) -> bool:
        """Remove what `save` saved."""
        return persist.delete(self.state(), agent)

    def reset(self, agent: Agent) -> None:
        """Forget conversation and own data of an agent; it is Ready again."""
        persist.reset(self.state(), agent)

    def wrap_as_tool(self, name: str, config: Mapping[str, Any] | None = None) -> str:
        """Make an agent a tool and return the tool's name. Raises ComponentError when that name is taken."""
        return self._as_tools.wrap(self.require(name), config or {})

    def _wrap(self, name: str) -> str | None:
        agent = self.get(name)
        return None if agent is None else self._as_tools.of(agent)

    def base(self) -> Context:
        """Return what a run begins with that nobody else is part of."""
        return self._context()

    def model_of(self, config: AgentConfig, script: Any) -> Model:
        """Return the model of some settings and its fallbacks. Raises ConfigurationError."""
        options = call_options(config, untrusted=self._untrusted)
        targets = [Target(*self.providers.prepare(config.model, config.provider, options))]
        targets += [Target(*self.providers.prepare(spec)) for spec in config.fallbacks]
        return Model(self.providers, targets, options, script=script)

    def toolbox_of(self, entries: list[Any]) -> Toolbox:
        """Resolve a list of tools. Raises ToolError for an unknown one."""
        return Toolbox(entries, self.tools, wrap=self._wrap)

    async def invoke(self, name: str, params: dict[str, Any], context: Context) -> dict[str, Any]:
        """Call a tool for a run. An agent that is a tool shares the run's budget, deadline and depth."""
        if name in self._roster.wrapped:
            return await self._as_tools.call(name, params, context)
        return await self.tools.call(name, params, context)

    def running(self, execution_id: str, parent_id: str | None) -> None:
        """Note that a run has begun below another."""
        self._parents[execution_id] = parent_id

    def finished(self, execution_id: str, *, ok: bool, seconds: float) -> None:
        """Note that a run has ended, and count it."""
        self._parents.pop(execution_id, None)
        if self._metrics is None:
            return
        if self._cells is None:
            runs, times = self._metrics.counter("llmspell_agent_runs_total"), "llmspell_agent_seconds"
            good, bad = (Cell(runs, {"status": status}) for status in ("success", "failure"))
            self._cells = good, bad, Cell(self._metrics.histogram(times), {})
        succeeded, failed, times_of = self._cells
        (succeeded if ok else failed).get().inc()
        times_of.get().observe(seconds)

    def recall(self, agent: Agent) -> None:
        """Load the conversation an agent keeps under an id."""
        persist.recall(self.state(), agent)

    def remember(self, agent: Agent) -> None:
        """Save the conversation an agent keeps under an id."""
        persist.remember(self.state(), agent)

    async def turned(self, context: Context, agent: str, asked: str, answered: str) -> None:
        """Hand what an agent of a session was asked and answered to whoever keeps it."""
        if self.keep_turn is not None and context.session_id is not None:
            ident = context.execution_id
            await self.keep_turn(context.session_id, ident=ident, agent=agent, asked=asked, answered=answered)

    def is_above(self, execution_id: str | None, context: Context) -> bool:
        """Whether a run is the one of `context`, or one around it."""
        if execution_id is None:
            return False
        current: str | None = context.execution_id
        while current is not None:
            if current == execution_id:
                return True
            current = self._parents.get(current)
        return False


def _team_config(fields: dict[str, Any]) -> TeamConfig:
    try:
        return msgspec.convert(fields, TeamConfig)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        field = where.strip("`").removeprefix("$").lstrip(".") or "agents"
        raise ValidationError(f"composite field '{field}': {what.lower()}", details={"field": field}) from error


def _once(warn: Callable[[str], None] | None) -> Callable[[str], None] | None:
    """Return a `warn` that says each sentence once."""
    if warn is None:
        return None
    said: set[str] = set()

    def say(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            warn(sentence)

    return say


def _refuse(sentence: str) -> None:
    raise ValidationError(sentence, code="unknown_option")
