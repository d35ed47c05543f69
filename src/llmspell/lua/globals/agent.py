"""`Agent`: agents, their handles, teams, contexts and shared memory. Builder and streams are `agent.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.errors import ComponentError, InvalidArgument
from llmspell.lua.globals._base import Handle, Tagged

if TYPE_CHECKING:
    from typing import ClassVar

    from llmspell.app import App, Lane
    from llmspell.lua.globals._base import Function

READS = {
    "get_state_history": lambda agent: agent.lifecycle.history(),
    "get_last_error": lambda agent: agent.lifecycle.last_error,
    "get_recovery_attempts": lambda agent: agent.lifecycle.recoveries,
    "get_state_metrics": lambda agent: agent.lifecycle.statistics(),
}


class AgentMethods:
    """What an agent handle can do; its ident is the agent's id."""

    aliases: ClassVar[dict[str, str]] = {
        "invoke": "execute",
        "run": "execute",
        "complete": "execute",
        "invoke_stream": "invokeStream",
        "get_conversation": "get_history",
        "clear_conversation": "clear_history",
        "get_agent_state": "get_state",
        "state": "get_state",
        "get_runtime_metrics": "get_bridge_metrics",
    }

    def __init__(self, app: App, lane: Lane) -> None:
        self._app = app
        self._lane = lane

    def _agent(self, ident: str) -> Any:
        agent = self._lane.agents.find(ident)
        if agent is None:
            raise ComponentError("the agent was destroyed", code="not_found", details={"id": ident})
        return agent

    async def execute(self, ident: str, value: Any = None, options: dict | None = None) -> Tagged:  # type: ignore[type-arg]  # contract: bare words
        """Run the agent and return its result."""
        return result(await self._agent(ident).execute(_input(value), options))

    async def invokeStream(self, ident: str, value: Any, callback: Function) -> Tagged:  # noqa: N802 - the documented name
        """Run the agent, giving each chunk to the callback."""
        return result(await self._agent(ident).execute_streaming(_input(value), None, callback))

    async def execute_streaming(self, ident: str, value: Any, options: Any = None, callback: Any = None) -> Tagged:
        """Run the agent, giving each chunk to the callback, the last argument."""
        if callback is None:
            options, callback = None, options
        if not callable(callback):
            raise InvalidArgument("bad argument #3 to 'agent:execute_streaming' (function expected)")
        return result(await self._agent(ident).execute_streaming(_input(value), options, callback))

    async def execute_with_context(self, ident: str, value: Any, context_id: str) -> Tagged:
        """Run the agent with the data of a context."""
        return result(await self._agent(ident).execute(_input(value), {"context_id": context_id}))

    def permit_tool(self, ident: str, name: str) -> None:
        """Raise unless the agent may call the tool."""
        self._agent(ident).permit(name)

    def discover_tools(self, ident: str) -> list[str]:
        """Return the names of the tools the agent may call."""
        agent = self._agent(ident)
        if agent.config.tools:
            return list(agent.toolbox.names)
        return [row["name"] for row in self._lane.tools.list(None, self._lane.context)]

    def has_tool(self, ident: str, name: str) -> bool:
        """Tell whether the agent may call the tool."""
        agent = self._agent(ident)
        if agent.config.tools:
            return agent.toolbox.allowed(name) is not None
        return self._lane.tools.get(name) is not None

    def get_tool_metadata(self, ident: str, name: str) -> Any:
        """Return what is known of a tool the agent may call, or nil."""
        return self._agent(ident).toolbox.metadata(name)

    def get_all_tool_metadata(self, ident: str) -> dict[str, Any]:
        """Return what is known of every tool in the agent's list."""
        box = self._agent(ident).toolbox
        return {name: box.metadata(name) for name in box.names}

    def get_history(self, ident: str) -> list[dict[str, Any]]:
        """Return the messages of the conversation."""
        history: list[dict[str, Any]] = self._agent(ident).conversation.history()
        return history

    def set_history(self, ident: str, messages: list) -> None:  # type: ignore[type-arg]  # contract: bare words
        """Replace the conversation."""
        self._agent(ident).conversation.replace(messages)

    def add_message(self, ident: str, role: str, content: str) -> None:
        """Append a message to the conversation."""
        self._agent(ident).conversation.add(role, content)

    def clear_history(self, ident: str) -> None:
        """Forget the conversation."""
        self._agent(ident).conversation.clear()

    def conversation_length(self, ident: str) -> int:
        """Return the number of messages."""
        return len(self._agent(ident).conversation.messages)

    def trim_conversation(self, ident: str, count: int) -> None:
        """Drop the oldest turns until at most `count` messages are left."""
        self._agent(ident).conversation.trim(count)

    def reset(self, ident: str) -> None:
        """Forget conversation, own data and last error; the state is Ready."""
        self._lane.agents.reset(self._agent(ident))

    def get_config(self, ident: str) -> dict[str, Any]:
        """Return the settings in force, keys masked."""
        settings: dict[str, Any] = self._agent(ident).effective()
        return settings

    def set_config(self, ident: str, changes: dict) -> None:  # type: ignore[type-arg]  # contract: bare words
        """Change settings other than name and type."""
        self._agent(ident).configure(changes)

    def get_state(self, ident: str) -> str:
        """Return the state word."""
        state: str = self._agent(ident).state
        return state

    def set_state(self, ident: str, values: dict) -> None:  # type: ignore[type-arg]  # contract: bare words
        """Merge values into the agent's own data."""
        self._lane.agents.set_data(self._agent(ident), values)

    def get_state_data(self, ident: str, key: str | None = None) -> Any:
        """Return one value of the agent's own data, or all."""
        return self._lane.agents.get_data(self._agent(ident), key)

    def save_state(self, ident: str) -> bool:
        """Save conversation, settings, own data and counters."""
        self._lane.agents.save(self._agent(ident))
        return True

    def load_state(self, ident: str) -> bool:
        """Restore what `save_state` saved; false when there is none."""
        return bool(self._lane.agents.load(self._agent(ident)))

    def delete_state(self, ident: str) -> bool:
        """Remove what `save_state` saved."""
        return bool(self._lane.agents.delete_saved(self._agent(ident)))

    def get_metrics(self, ident: str) -> dict[str, Any]:
        """Return the counters."""
        metrics: dict[str, Any] = self._agent(ident).metrics()
        return metrics

    def get_performance(self, ident: str) -> dict[str, Any]:
        """Return times and rates."""
        performance: dict[str, Any] = self._agent(ident).measures.performance()
        return performance

    def get_health(self, ident: str) -> dict[str, Any]:
        """Return status, message and checks."""
        health: dict[str, Any] = self._agent(ident).health()
        return health

    def is_healthy(self, ident: str) -> bool:
        """Tell whether the agent can work and mostly does."""
        return bool(self._agent(ident).is_healthy())

    def configure_alerts(self, ident: str, rules: Any) -> None:
        """Add or replace alerts."""
        self._agent(ident).alerts.configure(rules)

    def get_alerts(self, ident: str) -> list[dict[str, Any]]:
        """Return what fired, oldest first."""
        alerts = self._agent(ident).alerts
        alerts.check()
        return list(alerts.fired)

    def clear_alerts(self, ident: str) -> None:
        """Forget what fired."""
        self._agent(ident).alerts.fired.clear()

    def get_bridge_metrics(self, ident: str) -> dict[str, Any]:
        """Return values of the process."""
        self._agent(ident)
        totals: dict[str, Any] = self._lane.agents.totals()
        return totals

    def initialize(self, ident: str) -> None:
        """Go to Ready."""
        self._agent(ident).lifecycle.initialize()

    def start(self, ident: str) -> None:
        """Go to Running until `stop`."""
        self._agent(ident).lifecycle.start()

    def pause(self, ident: str) -> None:
        """Hold before the next model or tool call."""
        self._agent(ident).lifecycle.pause()

    def resume(self, ident: str) -> None:
        """Go on after `pause`."""
        self._agent(ident).lifecycle.resume()

    def stop(self, ident: str) -> None:
        """Go to Ready."""
        self._agent(ident).lifecycle.stop()

    def terminate(self, ident: str) -> None:
        """End the agent; runs in flight are cancelled."""
        self._agent(ident).terminate()

    def set_error(self, ident: str, message: str = "set by the script") -> None:
        """Go to Error."""
        self._agent(ident).lifecycle.set_error(message)

    def recover(self, ident: str) -> None:
        """Go from Error to Ready."""
        self._agent(ident).lifecycle.recover()

    def get_state_history(self, ident: str) -> Any:
        """Return the transitions, oldest first."""
        return READS["get_state_history"](self._agent(ident))

    def get_last_error(self, ident: str) -> Any:
        """Return the message of the last failure, or nil."""
        return READS["get_last_error"](self._agent(ident))

    def get_recovery_attempts(self, ident: str) -> Any:
        """Return how often the agent was recovered since its last good run."""
        return READS["get_recovery_attempts"](self._agent(ident))

    def get_state_metrics(self, ident: str) -> Any:
        """Return counters of the state machine."""
        return READS["get_state_metrics"](self._agent(ident))

    def destroy(self, ident: str) -> None:
        """End the agent and free its name."""
        self._agent(ident)
        self._lane.agents.destroy(ident)


class Global:
    """See the module."""

    aliases: ClassVar[dict[str, str]] = {
        "new": "create",
        "createAsync": "create",
        "create_async": "create",
        "run": "execute",
        "invoke": "execute",
        "remove": "unregister",
    }
    handles: ClassVar[dict[str, Any]] = {"agent": AgentMethods}

    def __init__(self, app: App, lane: Lane) -> None:
        self._lane = lane
        self._streams: dict[int, Any] = {}
        self._opened = 0

    @property
    def _agents(self) -> Any:
        agents = self._lane.agents
        agents.present = self._chunk
        return agents

    def _chunk(self, item: Any) -> Tagged:
        return Tagged("agent_chunk", self._lane.agents.chunk_wire(item))

    def setters(self) -> list[str]:
        """Return the names of the builder's setters."""
        names: list[str] = self._agents.setters()
        return names

    def create(self, config: dict) -> Handle:  # type: ignore[type-arg]  # contract: bare words
        """Build an agent."""
        return handle(self._agents.create(config))

    def list(self, filter: dict | None = None) -> Any:  # type: ignore[type-arg]  # noqa: A002 - contract: bare words, the documented name
        """Return the instances that fit the filter, sorted by name."""
        return self._agents.listing(filter)

    def list_instances(self) -> Any:
        """Return the names of all instances, sorted."""
        return [agent.name for agent in self._agents.instances]

    def get(self, name: str) -> Handle | None:
        """Return an agent, building it from its definition, or nil."""
        agent = self._agents.get(name)
        return None if agent is None else handle(agent)

    def exists(self, name: str) -> bool:
        """Tell whether there is an agent or a definition of that name."""
        return bool(self._agents.exists(name))

    async def execute(self, name: str, value: Any = None, options: dict | None = None) -> Tagged:  # type: ignore[type-arg]  # contract: bare words
        """Run an agent by name or handle."""
        return result(await self._agents.execute(name, _input(value), options))

    def discover(self, filter: dict | None = None) -> Any:  # type: ignore[type-arg]  # noqa: A002 - contract: bare words, the documented name
        """Return templates, instances and definitions that fit the filter."""
        return self._agents.discover(filter)

    def discover_by_capability(self, capability: str) -> Any:
        """Return the names of what has exactly this capability."""
        return [entry["name"] for entry in self._agents.discover({"capability": capability})]

    def list_templates(self) -> Any:
        """Return the ids of all templates."""
        return self._agents.template_names()

    def create_from_template(self, first: str, second: Any = None, third: dict | None = None) -> Handle:  # type: ignore[type-arg]  # contract: bare words
        """Build an instance: `(template, overrides?)` or `(instance_name, template, params?)`."""
        if isinstance(second, str):
            return handle(self._agents.create_from_template(second, {**(third or {}), "name": first}))
        if second is not None and not isinstance(second, dict):
            raise InvalidArgument("bad argument #2 to 'Agent.create_from_template' (table or string expected)")
        return handle(self._agents.create_from_template(first, second))

    def register(self, first: Any, second: dict | None = None) -> str:  # type: ignore[type-arg]  # contract: bare words
        """Keep a definition: `(config)` or `(name, config)`."""
        config = first if isinstance(first, dict) else {**(second or {}), "name": first}
        name: str = self._agents.register(config)
        return name

    def unregister(self, name: str) -> bool:
        """Remove a definition and destroy its instance."""
        return bool(self._agents.unregister(name))

    def get_info(self, name: str) -> Any:
        """Return what is known of a template, a definition or an instance, or nil."""
        return self._agents.info(name)

    def get_details(self, name: str) -> Any:
        """Return everything about an agent."""
        return self._agents.details(name)

    def get_hierarchy(self, name: str | None = None) -> Any:
        """Return the tree of members, agents as tools, and tools."""
        return self._agents.hierarchy(name)

    def capability_entries(self, name: str | None = None) -> Any:
        """Return for each agent what its model can do; `agent.lua` shapes it."""
        return self._agents.abilities(name)

    def create_composite(self, first: Any, agents: Any = None, third: Any = None) -> Handle:
        """Build an agent of agents: `(config)` or `(name, agents, config_or_strategy?)`."""
        if isinstance(first, dict):
            config = first
        else:
            rest = {"strategy": third} if isinstance(third, str) else third or {}
            config = {**rest, "name": first, "agents": agents}
        return handle(self._agents.create_composite(config))

    def wrap_as_tool(self, name: str, config: dict | None = None) -> str:  # type: ignore[type-arg]  # contract: bare words
        """Make an agent a tool; returns the tool's name."""
        tool: str = self._agents.wrap_as_tool(name, config)
        return tool

    def create_context(self, config: Any = None, data: dict | None = None) -> str:  # type: ignore[type-arg]  # contract: bare words
        """Make a context from a table, or from a name and its data; returns its id."""
        ident: str = self._agents.contexts.create(config, data)
        return ident

    def create_child_context(self, parent: str, scope: Any = None, inheritance: Any = None) -> str:
        """Make a context below another; returns its id."""
        ident: str = self._agents.contexts.create_child(parent, scope, inheritance)
        return ident

    def update_context(self, ident: str, key: Any, value: Any = None) -> None:
        """Set one key of a context, or several from a table; nil removes."""
        self._agents.contexts.update(ident, key, value)

    def get_context_data(self, ident: str, key: str | None = None) -> Any:
        """Return a value of a context, or all that are visible."""
        return self._agents.contexts.data(ident, key)

    def get_context(self, ident: str) -> Any:
        """Return what is known of a context, or nil."""
        found = self._agents.contexts.get(ident)
        return None if found is None else {key: value for key, value in found.items() if value is not None}

    def list_contexts(self) -> Any:
        """Return all contexts."""
        entries = self._agents.contexts.list()
        return [{key: value for key, value in entry.items() if value is not None} for entry in entries]

    def remove_context(self, ident: str) -> None:
        """Remove a context and its children."""
        self._agents.contexts.remove(ident)

    def set_shared_memory(self, *args: Any) -> None:
        """Set a value: `(scope, key, value)` or `(key, value)`."""
        scope, key, value = (args[0], args[1], args[2]) if len(args) > 2 else (None, *args, None, None)[:3]
        self._agents.contexts.set_memory(scope, _key(key, "set_shared_memory"), value)

    def get_shared_memory(self, *args: Any) -> Any:
        """Return a value: `(scope, key)` or `(key)`."""
        scope, key = (args[0], args[1]) if len(args) > 1 else (None, args[0] if args else None)
        return self._agents.contexts.get_memory(scope, _key(key, "get_shared_memory"))

    def stream_open(self, ident: str, value: Any, options: dict | None = None) -> int:  # type: ignore[type-arg]  # contract: bare words
        """Begin a stream of one agent; `agent.lua` reads it by number."""
        self._opened += 1
        self._streams[self._opened] = self._agents.require(ident).stream(_input(value), options)
        return self._opened

    async def stream_next(self, number: int) -> Any:
        """Return the next chunk and the texts of further ones that came with it, or nil and the result at the end."""
        stream = self._streams[number]
        try:
            item = await stream.several()
            texts = getattr(item, "texts", None)  # of the class Texts, which only a real stream imports
            if texts is None:
                return self._chunk(item)
            first = {
                "type": "text",
                "text": texts[0],
                "index": item.index,
                "is_final": False,
                "stream_id": item.stream_id,
            }
            if item.model is not None:
                first["model"] = item.model
            return Tagged("agent_chunk", first), texts[1:]
        except StopAsyncIteration:
            del self._streams[number]
            return None, result(stream.result) if stream.result is not None else None
        except BaseException:
            self._streams.pop(number, None)
            raise

    async def stream_close(self, number: int) -> None:
        """Cancel the run of a stream."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            await stream.aclose()


def handle(agent: Any) -> Handle:
    """Return the handle of an agent."""
    fields = {
        "id": agent.id,
        "name": agent.name,
        "type": agent.config.type,
        "model": agent.model_name,
        "provider": agent.provider,
        "description": agent.config.description,
    }
    return Handle("agent", agent.id, text=agent.name, fields=fields)


def result(value: dict[str, Any]) -> Tagged:
    """Return a result that reads as its text."""
    return Tagged("result", value)


def _input(value: Any) -> Any:
    return "" if value is None else value


def _key(key: Any, name: str) -> str:
    if not isinstance(key, str) or not key:
        raise InvalidArgument(f"bad key for 'Agent.{name}' (string expected)")
    return key
