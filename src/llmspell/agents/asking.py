"""One question to a model: the request, what it may cost, fallbacks, and its answer in one piece or as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.agents.conversation import estimate
from llmspell.agents.run import attempt
from llmspell.agents.waiting import Ready, hand_over
from llmspell.base.budget import MIN_OUTPUT_TOKENS, exhausted
from llmspell.base.clock import monotonic
from llmspell.base.types import Message, Usage
from llmspell.errors import LLMSpellError, ResourceLimitError
from llmspell.providers._base import CallOptions, ModelRequest, ModelResponse, StreamEvent, ToolSchema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from llmspell.agents._base import AgentConfig
    from llmspell.agents.run import Run
    from llmspell.base.budget import Ledger, Reservation
    from llmspell.providers import Providers

FALLBACK_CODES = frozenset({"auth", "model_not_found", "quota", "unavailable", "context_length", "bad_response"})
FALLBACK_KINDS = frozenset({"network", "timeout", "rate_limit"})
MOST_AT_ONCE = 64
"""Chunks of text that are handed over together, at most."""
DEFAULT_OUTPUT_TOKENS = 4096
"""What a call is taken to answer under a budget when neither the script nor the model states a limit."""


_PLAIN = CallOptions()


class Target(msgspec.Struct, frozen=True):
    """One model that may answer."""

    provider: str
    model: str

    @property
    def label(self) -> str:
        """The model as people write it."""
        return f"{self.provider}/{self.model}"


def call_options(config: AgentConfig, *, untrusted: bool) -> CallOptions:
    """Return what the agent sets for its own model calls. untrusted: the settings come from a script in `safe`."""
    retry = config.retry
    if not (config.base_url or config.api_key or config.headers or config.timeout_ms or retry):
        return _PLAIN
    attempts, backoff = retry.get("max_attempts"), retry.get("backoff_ms")
    return CallOptions(
        base_url=config.base_url,
        api_key=config.api_key,
        headers=config.headers,
        timeout_s=None if config.timeout_ms is None else config.timeout_ms / 1000,
        max_attempts=None if attempts is None else max(1, int(attempts)),
        backoff_ms=None if backoff is None else float(backoff),
        untrusted=untrusted,
    )


class Model:
    """The model of an agent with its fallbacks, as `Providers` calls them.

    script: turns of the scripted model, kept between runs.
    """

    def __init__(
        self, providers: Providers, targets: list[Target], options: CallOptions = _PLAIN, *, script: Any = None
    ) -> None:
        self._providers = providers
        self.targets = targets
        self._options = options
        self._script = script

    @property
    def first(self) -> Target:
        """The model that is asked first."""
        return self.targets[0]

    @property
    def window(self) -> int | None:
        """The context window of the first model in tokens, None when unknown."""
        return self._providers.capabilities(self.first.label).max_context_tokens

    async def ask(self, run: Run, *, final: bool = False) -> ModelResponse:
        """Return the answer to the conversation so far. `final` offers no tools.

        Raises ResourceLimitError before any request when a budget has no room, else the last model's error with
        `details.result`.
        """
        last = len(self.targets) - 1
        for number, target in enumerate(self.targets):
            request = self._request(run, target, final=final)
            reservation, request = self._reserve(run.ledger, target, request)
            before = len(run.partial)
            try:
                response = await self._answer(run, target, request)
            except LLMSpellError as error:
                _settle(run, reservation, self._lost(run, request, before))
                run.attempts.append(attempt(None, target.label, error))
                if number == last or len(run.partial) > before or not _falls_back(error):
                    raise
                run.fallback_used = True
                continue
            except BaseException:
                _settle(run, reservation, self._lost(run, request, before))
                raise
            _settle(run, reservation, response.usage)
            self._note(run, target, response)
            return response
        raise AssertionError("an agent has at least one model")

    @staticmethod
    def _note(run: Run, target: Target, response: ModelResponse) -> None:
        run.attempts.extend(response.attempts)
        run.attempts.append(attempt(response, target.label))
        run.model = response.model or target.model
        run.provider = response.provider or target.provider
        if response.warnings:
            run.warnings.extend(response.warnings)
        if run.ttft_ms is None and response.ttft_ms is not None:
            run.ttft_ms = response.ttft_ms
        run.spent(response.usage)

    @staticmethod
    def _lost(run: Run, request: ModelRequest, before: int) -> Usage | None:
        """Return what a call that broke off is taken to have used: nothing when it brought no text."""
        made = len(run.partial) - before
        if made <= 0:
            return None
        usage = Usage(input_tokens=estimate(request.messages), output_tokens=made // 4 + 1, estimated=True)
        run.spent(usage)
        return usage

    def _request(self, run: Run, target: Target, *, final: bool) -> ModelRequest:
        config = run.config
        messages = run.messages
        if run.system:
            messages = [Message(role="system", content=run.system), *messages]
        tools: list[ToolSchema] = [] if final else run.toolbox.schemas()
        return ModelRequest(
            messages=messages,
            model=target.model,
            tools=tools,
            tool_choice="none" if final else _choice(run),
            parallel_tool_calls=config.parallel_tool_calls if tools else None,
            output_schema=config.output_schema,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            max_tokens=run.max_tokens,
            stop=config.stop,
            seed=config.seed,
            presence_penalty=config.presence_penalty,
            frequency_penalty=config.frequency_penalty,
            reasoning=config.reasoning,
            cache=config.cache,
            context_window=config.context_window,
            extra=config.extra,
            script=self._script,
        )

    def _reserve(
        self, ledger: Ledger | None, target: Target, request: ModelRequest
    ) -> tuple[Reservation | None, ModelRequest]:
        """Reserve the call in every enclosing budget; an unset max_tokens becomes what the budgets cover."""
        if ledger is None:
            return None, request
        price = self._providers.price(target.provider, target.model)
        if price is None and ledger.limits_cost:
            raise ResourceLimitError(
                f"the model {target.label} has no price, a money budget cannot hold: set its price or allow_unpriced",
                code="unpriced_model",
                details={"resource": "budget_cost_usd", "model": target.label},
            )
        input_price = price.input / price.per if price else 0.0
        output_price = price.output / price.per if price else 0.0
        tokens = estimate(request.messages) + sum(len(tool.description) + 80 for tool in request.tools) // 4
        output = request.max_tokens
        if output is None:
            limit = self._providers.capabilities(target.label).max_output_tokens
            output = limit or DEFAULT_OUTPUT_TOKENS
            room = ledger.room(tokens, input_price=input_price, output_price=output_price)
            if room is not None and room < output:
                output = max(room, MIN_OUTPUT_TOKENS)
                request = msgspec.structs.replace(request, max_tokens=output)
        cost = tokens * input_price + output * output_price
        return ledger.reserve(input_tokens=tokens, output_tokens=output, cost_usd=cost), request

    async def _answer(self, run: Run, target: Target, request: ModelRequest) -> ModelResponse:
        if run.emit is None:
            return await self._providers.complete(target.label, request, run.context, self._options)
        return await self._listen(run, target, request)

    async def _listen(self, run: Run, target: Target, request: ModelRequest) -> ModelResponse:
        """Forward the stream to the listener as it comes; a listener that has enough ends it."""
        stream = self._providers.stream(target.label, request, run.context, self._options)
        started = monotonic()
        response: ModelResponse | None = None
        calls: dict[int, dict[str, Any]] = {}
        before = len(run.partial)
        gathered = _gathered(run, stream, started) if run.emit is hand_over else None
        events = stream if gathered is None else gathered
        try:
            async for event in events:
                kind = event.type
                if kind in ("text_delta", "reasoning_delta") and run.ttft_ms is None:
                    run.ttft_ms = (monotonic() - started) * 1000
                if kind == "text_delta":
                    run.partial += event.text
                    await run.tell("text", text=event.text)
                elif kind == "finish":
                    response = event.response
                else:
                    await _forward(run, event, calls)
                if run.listener_gone:
                    break
        finally:
            if gathered is not None:
                await gathered.aclose()
            close = getattr(stream, "aclose", None)
            if close is not None and response is None:
                await close()
        return response or _cut_short(run, target, request, before)


async def _gathered(run: Run, stream: AsyncIterator[StreamEvent], started: float) -> AsyncGenerator[StreamEvent, None]:
    """Give all events but those of text: these are handed over, together with the others that came with them.

    A consumer that pulls is far behind a service that sends many small pieces in one packet. What follows in the run
    (the next tool, the end) still waits for the consumer.
    """
    ready = Ready(stream)
    texts: list[str] = []
    try:
        while True:
            event = ready.now()
            if event is None:
                await _hand_over(run, texts)
                event = await ready.later()
            if event.type != "text_delta":
                await _hand_over(run, texts)
                yield event
                continue
            if run.ttft_ms is None:
                run.ttft_ms = (monotonic() - started) * 1000
            texts.append(event.text)
            if len(texts) >= MOST_AT_ONCE:
                await _hand_over(run, texts)
    except StopAsyncIteration:
        await _hand_over(run, texts)
    except LLMSpellError:
        await _hand_over(run, texts)
        raise


async def _hand_over(run: Run, texts: list[str]) -> None:
    """Hand over what there is and forget it."""
    if texts:
        given = texts.copy()
        texts.clear()
        run.partial += "".join(given)
        await run.tell_texts(given)


async def _forward(run: Run, event: Any, calls: dict[int, dict[str, Any]]) -> None:
    kind = event.type
    if kind == "reasoning_delta":
        await run.tell("reasoning", text=event.text)
    elif kind == "tool_call_start":
        calls[event.index] = {"id": event.id, "name": event.name, "index": event.index}
    elif kind == "tool_call_delta":
        known = calls.get(event.index, {"index": event.index})
        await run.tell("tool_call_progress", tool_call={**known, "arguments_delta": event.text})
    elif kind == "tool_call_end":
        call = {"id": event.id, "name": event.name, "arguments": event.arguments or {}}
        await run.tell("tool_call_complete", tool_call=call)
    elif kind == "media":
        await run.tell("media", media=event.media)


def _cut_short(run: Run, target: Target, request: ModelRequest, before: int) -> ModelResponse:
    text = run.partial[before:]
    usage = Usage(input_tokens=estimate(request.messages), output_tokens=len(text) // 4 + 1, estimated=True)
    return ModelResponse(
        message=Message(role="assistant", content=text),
        usage=usage,
        finish_reason="cancelled",
        model=target.model,
        provider=target.provider,
    )


def _choice(run: Run) -> str:
    """Return the tool choice of the next turn: a forced call is forced once, else the run could never end."""
    choice = run.config.tool_choice
    return "auto" if run.calls and choice != "none" else choice


def _settle(run: Run, reservation: Reservation | None, usage: Usage | None) -> None:
    if reservation is not None and run.ledger is not None:
        run.ledger.settle(reservation, usage)


def _falls_back(error: LLMSpellError) -> bool:
    if error.code in ("script_exhausted", "bad_request", "content_filter"):
        return False
    return error.retryable or error.kind in FALLBACK_KINDS or error.code in FALLBACK_CODES


def limit_reached(run: Run) -> ResourceLimitError:
    """Return the error of a run that asked its model too often."""
    return exhausted("max_model_calls", run.config.max_model_calls, run.model_calls)
