"""One agent: its settings, what it remembers and measures, and the road of one execution.

    execute -> parse the input -> begin (state) -> the run, stoppable -> result, or error with what there was

It gets everything else from its `Surroundings`: models, tools, contexts, state, and the budget and level of who calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from llmspell.agents import input as asked
from llmspell.agents import settings
from llmspell.agents.alerts import Alerts
from llmspell.agents.conversation import BYTES_PER_TOKEN, MESSAGE_TOKENS, Conversation, message, size_bytes, trim
from llmspell.agents.lifecycle import Lifecycle
from llmspell.agents.loop import Answer, think
from llmspell.agents.measures import Measures
from llmspell.agents.results import answer_result, plain_result, team_result
from llmspell.agents.run import CURRENT, Run
from llmspell.agents.structured import Schema
from llmspell.agents.waiting import AgentStream, Stopper, hand_over, stoppable
from llmspell.base.budget import Budget, Ledger
from llmspell.base.clock import monotonic
from llmspell.base.ids import uuid4
from llmspell.errors import ComponentError, LLMSpellError, SecurityError, ValidationError

if TYPE_CHECKING:
    from llmspell.agents._base import AgentConfig, Ask, Emit
    from llmspell.agents.compose import Team
    from llmspell.agents.host import Surroundings
    from llmspell.base.context import Context

WINDOW_SHARE = 0.9
MODEL_FREE = ("basic", "function", "composite")


class Agent:
    """A configured agent in state Ready.

    Raises at once what `build()` documents: ConfigurationError for the model, ToolError for an unknown tool,
    ValidationError for a bad schema or budget.
    """

    def __init__(self, config: AgentConfig, host: Surroundings, team: Team | None = None) -> None:
        self.id = uuid4()
        self.name = config.name
        self.config = config
        self.team = team
        self._host = host
        self.lifecycle = Lifecycle(config.name, breaker=config.circuit_breaker, auto_recovery=config.auto_recovery)
        self.measures = Measures()
        self.conversation = Conversation()
        self.alerts = Alerts(config.name, read=self._numbers, status=lambda: str(self.health()["status"]))
        self._runs: set[Run] = set()
        self._script: Any = None
        self._configure(config)
        lasting = self._budget is not None and self._budget.per == "agent"
        self._ledger = Ledger(self._budget) if lasting else None
        self.lifecycle.initialize()

    def _configure(self, config: AgentConfig) -> None:
        self._budget = _limits(config)
        self._schema = Schema(config.output_schema) if config.output_schema is not None else None
        if config.type == "function" and not callable(config.handler):
            raise ValidationError("an agent of type 'function' needs a handler", details={"field": "handler"})
        if config.replies is not None and self._script is None:
            from llmspell.providers import Turns

            self._script = Turns(config.replies, loop=config.loop)
        self.model = None if config.type in MODEL_FREE else self._host.model_of(config, self._script)
        self.toolbox = self._host.toolbox_of(config.tools)
        self._window = self._room()

    def _room(self) -> int | None:
        """Return how many tokens of conversation are kept, None without a limit."""
        window = self.config.context_window
        if window is None and self.model is not None:
            window = self.model.window
        return None if window is None or self.config.compaction == "off" else int(window * WINDOW_SHARE)

    @property
    def state(self) -> str:
        """The state word."""
        return self.lifecycle.state

    @property
    def provider(self) -> str | None:
        """Name of the provider of the first model."""
        return None if self.model is None else self.model.first.provider

    @property
    def model_name(self) -> str | None:
        """The first model as `provider/model`."""
        return None if self.model is None else self.model.first.label

    async def execute(
        self,
        value: Any,
        options: Mapping[str, Any] | None = None,
        context: Context | None = None,
        *,
        emit: Emit = None,
    ) -> dict[str, Any]:
        """Run once and return the result as plain data.

        value: text or an input table. emit: gets each Chunk; answering False ends the run. Completes without an event
        loop when nothing waits. Raises ComponentError (`invalid_transition`, destroyed), ValidationError,
        ResourceLimitError, TimeoutError, CancelledError, and what the model raises; `details.result` holds the rest.
        """
        ask = asked.parse(self.config, value, options, warn=self._host.warn)
        if ask.stream is not None and emit is None:
            emit = self._callback(ask.stream)
        self.lifecycle.begin()
        started = self.measures.begin()
        failure: BaseException | None = None
        run: Run | None = None
        try:
            run = self._open(ask, options, context, emit)
            result: dict[str, Any] = await stoppable(self._perform(run, started), run.stopper)
            return result
        except BaseException as error:
            failure = error
            if isinstance(error, LLMSpellError):
                await self._explain(error, run)
            raise
        finally:
            self._close(run, started, failure)

    def stream(
        self, value: Any, options: Mapping[str, Any] | None = None, context: Context | None = None
    ) -> AgentStream:
        """Return the chunks of one run, made as they are asked for."""
        return AgentStream(lambda: self.execute(value, options, context, emit=hand_over))

    async def execute_streaming(
        self, value: Any, options: Mapping[str, Any] | None, callback: Any, context: Context | None = None
    ) -> dict[str, Any]:
        """Run once, giving `callback` each chunk; False from it ends the run. Adds success and chunks_received."""
        received = 0
        forward = self._callback(callback)

        async def count(chunk: Any) -> Any:
            nonlocal received
            received += 1
            return await forward(chunk)

        result = await self.execute(value, options, context, emit=count)
        return {**result, "success": True, "chunks_received": received}

    def _callback(self, callback: Any) -> Callable[[Any], Any]:
        present = self._host.present

        async def forward(chunk: Any) -> Any:
            return await callback(present(chunk))

        return forward

    def _open(self, ask: Ask, options: Mapping[str, Any] | None, context: Context | None, emit: Emit) -> Run:
        config = ask.config
        limit_s = config.max_execution_time
        if ask.config is not self.config and config.timeout_ms != self.config.timeout_ms and config.timeout_ms:
            limit_s = min(limit_s, config.timeout_ms / 1000)
        deadline = monotonic() + limit_s
        fields: dict[str, Any] = {"agent": self.name, "deadline": deadline, "model_issued": True}
        if config.conversation_id is not None:
            fields["conversation_id"] = config.conversation_id
        if config.session is not None:
            fields["session_id"] = config.session
        if ask.context_id is not None:
            fields.update(self._host.contexts.identity(ask.context_id))
            fields.pop("security", None)
            fields["data"] = self._host.contexts.data(ask.context_id)
        context = CURRENT.get() if context is None else context
        base = self._host.base() if context is None else context
        ledger = self._node(config, base)
        if ledger is not None:
            fields["ledger"] = ledger
        if context is None:
            if base.deadline is not None:
                fields["deadline"] = min(deadline, base.deadline)
            inner = replace(base, execution_id=uuid4(), max_depth=config.max_recursion_depth, **fields)
        else:
            depth = min(base.max_depth, base.depth + config.max_recursion_depth)
            inner = base.child(max_depth=depth, **fields)
        if inner.deadline is not None and inner.deadline < deadline:
            limit_s = None  # type: ignore[assignment] # the caller's deadline binds, not the agent's own
        stopper = Stopper(self.name, deadline=inner.deadline, limit_s=limit_s)
        same = config.tools is self.config.tools
        toolbox = self.toolbox if same else self._host.toolbox_of(config.tools)
        run = Run(ask, inner, stopper, toolbox, emit)
        self._runs.add(run)
        self._host.running(inner.execution_id, inner.parent_id)
        return run

    def _node(self, config: AgentConfig, context: Context) -> Ledger | None:
        """Return the budget node of a run, None when no budget is in force."""
        above = context.ledger
        own = self._budget if config.budget is self.config.budget else _limits(config)
        if own is not None and own.per == "agent":
            own = None
        if own is None and above is None and self._ledger is None:
            return None
        return Ledger(own, parent=above, beside=self._ledger)

    async def _perform(self, run: Run, started: float) -> dict[str, Any]:
        config = run.config
        await run.control("stream_start")
        if config.type == "basic":
            text = f"BasicAgent '{self.name}' received: {run.asked.text}"
            result = plain_result(run, self.name, started, text=text)
        elif config.type == "function":
            value = await run.within(config.handler(run.asked.text, self._handler_context(run)))
            result = plain_result(run, self.name, started, value=value)
        elif self.team is not None:
            result = team_result(run, self.name, started, await self.team.work(run))
        else:
            await self._guard(config.guardrails.get("input"), run.asked.text, "input")
            answer = await self._converse(run)
            result = answer_result(run, self.name, started, answer)
        if run.context.session_id is not None:
            await self._host.turned(run.context, self.name, run.asked.text, result["text"])
        await self._say_end(run, result)
        return result

    @staticmethod
    async def _say_end(run: Run, result: dict[str, Any]) -> None:
        if run.emit is None:
            return
        if not run.chunks or (run.partial == "" and result["text"]):
            await run.tell("text", text=result["text"])
        await run.tell("usage", usage=run.usage)
        if run.stop_reason == "cancelled":
            await run.control("stream_cancelled", final=True, reason="the listener has enough")
        else:
            await run.control("stream_end", final=True, finish_reason=result["finish_reason"])

    def _handler_context(self, run: Run) -> dict[str, Any]:
        context = run.context
        fields = {
            "agent": self.name,
            "execution_id": context.execution_id,
            "session_id": context.session_id,
            "conversation_id": context.conversation_id,
            "parameters": run.asked.parameters,
            "context": {**context.data, **run.asked.context},
        }
        return {key: value for key, value in fields.items() if value is not None}

    async def _converse(self, run: Run) -> Answer:
        """Run the loop on the conversation, or on a fresh one when nothing is remembered.

        Runs queue for the conversation, except streams that a consumer pulls: a script may leave one half read. Such
        a run adds its own messages to whatever the conversation is by then.
        """
        conversation = self.conversation if run.config.memory_enabled else None
        exclusive = conversation is not None and run.emit is not hand_over
        if conversation is not None and exclusive:
            if self._host.is_above(conversation.owner, run.context):
                raise ComponentError(
                    f"agent '{self.name}' cannot execute within its own run on the same conversation: "
                    "use memory_enabled=false",
                    code="busy",
                )
            await conversation.acquire(run.execution_id)
        try:
            if conversation is not None and self.config.conversation_id is not None:
                self._host.recall(self)
            answer = await self._answer(run, conversation)
            await self._guard(run.config.guardrails.get("output"), answer.text, "output")
            if conversation is not None:
                own = run.messages[run.own :]
                size = conversation.size + size_bytes(own)
                conversation.put(*self._kept([*conversation.messages, *own], size, keep_last=False))
                if self.config.conversation_id is not None:
                    self._host.remember(self)
            return answer
        finally:
            if conversation is not None and conversation.owner == run.execution_id:
                conversation.release()

    async def _answer(self, run: Run, conversation: Conversation | None) -> Answer:
        ask, config = run.asked, run.config
        messages = [*(() if conversation is None else conversation.messages), *ask.messages]
        old = len(messages) - len(ask.messages)
        if ask.text or ask.media:
            shared = run.context.data if config.context_in_prompt else None
            text = asked.user_text(ask, shared)
            if ask.context_id is not None:
                text = asked.render(text, {f"context.{key}": value for key, value in run.context.data.items()})
            messages.append(message("user", text, media=ask.media))
        size = (0 if conversation is None else conversation.size) + size_bytes(messages[old:])
        run.messages, _ = self._kept(messages, size, keep_last=True)
        run.own = max(0, len(run.messages) - (len(messages) - old))
        run.system = self._prompt(run)
        schema = self._schema
        if config.output_schema is not self.config.output_schema:
            schema = None if config.output_schema is None else Schema(config.output_schema)
        model = self.model
        overridden = (config.model, config.provider, config.fallbacks)
        if overridden != (self.config.model, self.config.provider, self.config.fallbacks):
            model = self._host.model_of(config, self._script)
        if model is None:
            raise ComponentError(f"agent '{self.name}' of type '{config.type}' has no model", code="no_model")
        run.model, run.provider = model.first.model, model.first.provider
        return await think(run, model, self.lifecycle, self._host.invoke, schema)

    def _kept(self, messages: list[Any], size: int, *, keep_last: bool) -> tuple[list[Any], int]:
        """Return what stays of a conversation of `size` bytes within the limits, and its size."""
        config = self.config
        held = int(config.max_memory_mb * (1 << 20))
        tokens = self._window
        heavy = tokens is not None and size // BYTES_PER_TOKEN + MESSAGE_TOKENS * len(messages) > tokens
        if not heavy and size <= held and len(messages) <= config.max_conversation_length:
            return messages, size
        if size > held:
            tokens = min(tokens or held, held // BYTES_PER_TOKEN)
        kept = trim(
            messages,
            count=config.max_conversation_length,
            tokens=tokens if heavy or size > held else None,
            keep_last=keep_last,
        )
        if kept is messages:
            return messages, size
        if kept and kept[0].role == "system":
            return kept, size_bytes(kept)
        return kept, size - size_bytes(messages[: len(messages) - len(kept)])

    def _prompt(self, run: Run) -> str | None:
        prompt = run.config.system_prompt
        if not prompt or "{{" not in prompt:
            return prompt
        values = {f"context.{key}": value for key, value in {**run.context.data, **run.asked.context}.items()}
        if run.config.prompt_variables:
            values.update(run.asked.parameters)
        return asked.render(prompt, values)

    @staticmethod
    async def _guard(checks: Any, text: str, side: str) -> None:
        for check in checks if isinstance(checks, list) else [checks] if callable(checks) else []:
            verdict = await check(text)
            if verdict is False or isinstance(verdict, str):
                raise ValidationError(
                    verdict if isinstance(verdict, str) else f"the {side} guardrail refused the text",
                    code="guardrail",
                    details={"field": side},
                )

    async def _explain(self, error: LLMSpellError, run: Run | None) -> None:
        if error.component is None:
            error.component = f"agent:{self.name}"
        if run is not None:
            error.details.setdefault("result", run.partial_result())
            if run.chunks:
                await run.tell("usage", usage=run.usage)

    def _close(self, run: Run | None, started: float, failure: BaseException | None) -> None:
        # A run that its caller gave up (cancelled, or a stream that was closed) is no failure of the agent.
        failed = failure if isinstance(failure, Exception) else None
        if run is not None:
            self._runs.discard(run)
            self._host.finished(run.execution_id, ok=failed is None, seconds=monotonic() - started)
            if run.toolbox is not self.toolbox:
                run.toolbox.close()
        self.lifecycle.end(failed)
        self.measures.end(
            started,
            ok=failed is None,
            usage=None if run is None else run.usage,
            tools=0 if run is None else len(run.calls),
            ttft_ms=None if run is None else run.ttft_ms,
        )
        if self.alerts.rules:
            self.alerts.check()
            self.alerts.watch()

    def cancel_runs(self, reason: str) -> None:
        """Stop every run in flight."""
        for run in list(self._runs):
            run.stopper.stop(reason)

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change settings other than name and type. Raises as building does, and then changes nothing."""
        fields = settings.flatten(changes, warn=self._host.warn)
        for field in ("name", "type"):
            if field in fields:
                raise ValidationError(f"the {field} of an agent cannot be changed", details={"field": field})
        old = self.config
        values = {field: getattr(old, field) for field in settings.FIELDS}
        self.config = settings.build({**values, **fields})
        if "replies" in fields:
            self._script = None
        box = self.toolbox
        try:
            if "tools" in fields:
                box.close()
            self._configure(self.config)
        except LLMSpellError:
            self.config = old
            self._configure(old)
            raise

    def permit(self, tool: str) -> None:
        """Raise SecurityError when the agent has a list of tools and `tool` is not on it."""
        if self.toolbox.names and self.toolbox.allowed(tool) is None:
            raise SecurityError(
                f"tool '{tool}' is not allowed for agent '{self.name}', available: {', '.join(self.toolbox.names)}",
                code="tool_not_allowed",
                details={"violation": "tool_access", "subject": tool},
                component=f"agent:{self.name}",
            )

    def _numbers(self) -> dict[str, Any]:
        numbers = {**self.metrics(), **self.measures.performance()}
        return {name: value for name, value in numbers.items() if isinstance(value, int | float)}

    def metrics(self) -> dict[str, Any]:
        """Return the counters."""
        return self.measures.metrics(self.id, self.conversation.size)

    def health(self) -> dict[str, Any]:
        """Return status, message and checks."""
        return self.measures.health(self.lifecycle.state)

    def is_healthy(self) -> bool:
        """Whether the agent can work and mostly does."""
        return self.state in ("Ready", "Running", "Paused") and self.health()["status"] != "unhealthy"

    def effective(self) -> dict[str, Any]:
        """Return the settings in force as plain data, the key masked."""
        wire = settings.to_wire(self.config)
        if self.model is not None:
            wire["model"], wire["provider"] = self.model.first.label, self.model.first.provider
        return wire

    def terminate(self) -> None:
        """Go to Terminated for good; runs in flight are cancelled."""
        self.lifecycle.terminate()
        self.cancel_runs("the agent was terminated")

    def close(self) -> None:
        """Terminate, and give back inline tools and timers."""
        self.terminate()
        self.alerts.close()
        self.toolbox.close()


def _limits(config: AgentConfig) -> Budget | None:
    """Return the budget some settings state, None when it limits nothing."""
    budget = Budget.parse(config.budget) if config.budget else None
    return None if budget is None or budget.empty else budget
