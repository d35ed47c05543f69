"""The loop of one run: ask the model, run the tools it wants, ask again, until it answers or a limit is met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell.agents.asking import Model, limit_reached
from llmspell.agents.calls import Invoke, name_ids, refuse_calls, run_calls
from llmspell.agents.conversation import message
from llmspell.agents.structured import Schema, dump, failed, repair_prompt
from llmspell.base.clock import rfc3339
from llmspell.errors import ProviderError

if TYPE_CHECKING:
    from llmspell.agents.lifecycle import Lifecycle
    from llmspell.agents.run import Run
    from llmspell.providers._base import ModelResponse


class Answer:
    """What a run came to: the last answer, and its value under an output schema."""

    __slots__ = ("data", "finish_reason", "media", "text")

    def __init__(self, response: ModelResponse, data: Any = None) -> None:
        self.text = response.message.content
        self.media = response.message.media
        self.finish_reason = response.finish_reason
        self.data = data


async def think(run: Run, model: Model, lifecycle: Lifecycle, invoke: Invoke, schema: Schema | None) -> Answer:
    """Run the loop on `run.messages` and return the final answer.

    Raises what the model raises, ResourceLimitError, TimeoutError and CancelledError of the run, and ValidationError
    `output_schema` when the repairs did not help.
    """
    repairs = 0
    while True:
        response = await _turns(run, model, lifecycle, invoke)
        if schema is None or response.finish_reason in ("cancelled", "refusal") or run.stop_reason == "max_model_calls":
            return Answer(response)
        text = response.message.content
        value, problems = schema.judge(text)
        if not problems:
            answer = Answer(response, value)
            answer.text = dump(value)
            return answer
        if repairs >= run.config.output_retries:
            raise failed(text, problems, repairs)
        repairs += 1
        run.messages.append(message("user", repair_prompt(problems)))


async def _turns(run: Run, model: Model, lifecycle: Lifecycle, invoke: Invoke) -> ModelResponse:
    """Ask until an answer needs no tools; its assistant message is the last of `run.messages`."""
    final = False
    while True:
        response = await _ask(run, model, lifecycle, final=final)
        calls = response.message.tool_calls
        run.messages.append(response.message)
        if response.message.timestamp is None:
            response.message.timestamp = rfc3339()
        if run.listener_gone:
            run.stop_reason = "cancelled"
            return response
        if not calls or final:
            response.message.tool_calls = []
            _judge_ending(run, response)
            return response
        name_ids(calls, run)
        if run.model_calls >= run.config.max_model_calls and run.config.on_limit == "finish":
            await refuse_calls(run, calls, f"the limit of {run.config.max_model_calls} model calls is reached")
            run.stop_reason = "max_model_calls"
            return response
        await _held(run, lifecycle)
        if await run_calls(run, calls, invoke):
            final = True
            run.stop_reason = "max_tool_calls"


def _judge_ending(run: Run, response: ModelResponse) -> None:
    if run.stop_reason == "final" and response.finish_reason == "refusal":
        run.stop_reason = "refusal"


async def _held(run: Run, lifecycle: Lifecycle) -> None:
    """Stop here while the agent is paused, and leave when the run was stopped."""
    hold = lifecycle.hold()
    if hold is not None:
        await hold
    run.stopper.check()


async def _ask(run: Run, model: Model, lifecycle: Lifecycle, *, final: bool) -> ModelResponse:
    """Ask once; an answer cut off inside a tool call is asked for again with twice the room."""
    doubled = False
    while True:
        await _held(run, lifecycle)
        if run.model_calls >= run.config.max_model_calls:
            raise limit_reached(run)
        run.model_calls += 1
        response = await model.ask(run, final=final)
        cut = response.finish_reason == "length" and any(call.malformed for call in response.message.tool_calls)
        if not cut:
            return response
        if doubled or run.max_tokens is None:
            raise ProviderError(
                "the model's answer was cut off inside a tool call: raise max_tokens",
                code="length",
                details={"max_tokens": run.max_tokens},
                retryable=False,
            )
        doubled = True
        run.max_tokens *= 2
