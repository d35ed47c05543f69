import pytest

from llmspell.base.types import Message, ToolCall
from llmspell.errors import ComponentError, ConfigurationError, LLMSpellError, ValidationError
from llmspell.providers import ModelResponse


async def test_the_echo_model_answers_with_its_input(agents):
    result = await agents.create({"name": "e", "model": "echo/x"}).execute("hello there")
    assert result["text"] == "hello there"
    assert (result["usage"]["input_tokens"], result["usage"]["output_tokens"]) == (2, 2)
    assert result["usage"]["cost_usd"] == 0
    assert result["finish_reason"] == "stop"
    assert result["tool_calls"] == []
    assert "data" not in result
    assert result["metadata"]["extra"]["stop_reason"] == "final"


async def test_data_is_the_value_of_a_json_text(agents):
    agent = agents.create({"name": "e", "model": "echo/x"})
    assert (await agent.execute({"prompt": "42"}))["data"] == 42
    assert agent.state == "Ready"


async def test_a_conversation_keeps_both_sides_and_the_next_run_sees_it(agents):
    agent = agents.create({"name": "e", "model": "echo/context"})
    await agent.execute("one")
    seen = (await agent.execute("two"))["data"]
    assert seen[0]["content"] == "one"
    assert seen[-1] == {"role": "user", "content": "two"}
    assert [item["role"] for item in agent.conversation.history()] == ["user", "assistant"] * 2


async def test_without_memory_every_run_starts_fresh(agents):
    agent = agents.create({"name": "e", "model": "echo/context", "memory_enabled": False})
    await agent.execute("one")
    assert [item["content"] for item in (await agent.execute("two"))["data"]] == ["two"]
    assert agent.conversation.history() == []


async def test_a_failed_run_leaves_no_trace_in_the_conversation(agents):
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": ["hi", {"error": {"kind": "validation"}}]})
    await agent.execute("one")
    with pytest.raises(LLMSpellError):
        await agent.execute("two")
    assert [item["content"] for item in agent.conversation.history()] == ["one", "hi"]
    assert agent.state == "Ready"
    assert agent.metrics()["requests_failed"] == 1


async def test_the_system_prompt_sees_context_values(agents):
    agent = agents.create({"name": "e", "model": "echo/context", "system_prompt": "For {{context.user}} {{x}}"})
    agents.contexts.create("c", {"user": "ann"})
    seen = (await agent.execute("hi", {"context_id": "c"}))["data"]
    assert seen[0] == {"role": "system", "content": "For ann {{x}}"}


async def test_the_input_sees_context_values_only_when_a_context_is_named(agents):
    agent = agents.create({"name": "e", "model": "echo/x"})
    agents.contexts.create("c", {"user": "ann"})
    assert (await agent.execute("hi {{context.user}}", {"context_id": "c"}))["text"] == "hi ann"
    assert (await agent.execute("hi {{context.user}}"))["text"] == "hi {{context.user}}"
    with pytest.raises(ComponentError):
        await agent.execute("hi", {"context_id": "nope"})


def test_a_run_that_never_waits_needs_no_event_loop(agents, providers, now, monkeypatch):
    turns = [
        Message(role="assistant", tool_calls=[ToolCall(id="", name="calculator", arguments={"input": "1+1"})]),
        Message(
            role="assistant",
            tool_calls=[ToolCall(id=str(n), name="calculator", arguments={"input": f"1+{n}"}) for n in range(3)],
        ),
        Message(role="assistant", content="end"),
    ]

    async def complete(*_):
        return ModelResponse(message=turns.pop(0), model="m", provider="p")

    monkeypatch.setattr(providers, "complete", complete)
    agent = agents.create({"name": "e", "model": "echo/x", "tools": ["calculator"]})
    result = now(agent.execute("hi"))
    assert result["text"] == "end"
    assert [call["result"]["result"] for call in result["tool_calls"]] == [2, 1, 2, 3]


async def test_parameters_join_the_user_message_as_json(agents):
    agent = agents.create({"name": "e", "model": "echo/x"})
    result = await agent.execute({"text": "do", "parameters": {"n": 1}})
    assert result["text"] == 'do\n\n```json\n{"parameters":{"n":1}}\n```'


@pytest.mark.parametrize("value", ["", "  ", {"text": ""}, {}])
async def test_an_empty_input_is_refused_and_not_counted(agents, value):
    agent = agents.create({"name": "e", "model": "echo/x"})
    with pytest.raises(ValidationError, match="Input text cannot be empty"):
        await agent.execute(value)
    assert agent.metrics()["requests_total"] == 0


async def test_options_override_one_run_only(agents):
    agent = agents.create({"name": "e", "model": "echo/x"})
    assert (await agent.execute("hi", {"model": "echo/upper"}))["text"] == "HI"
    assert (await agent.execute("hi"))["text"] == "hi"


async def test_a_basic_agent_needs_no_model(agents):
    agent = agents.create({"name": "b", "type": "basic"})
    assert (await agent.execute("x"))["text"] == "BasicAgent 'b' received: x"
    assert agent.model_name is None


async def test_a_function_agent_runs_its_handler(agents, lua):
    agent = agents.create({"name": "f", "type": "function", "handler": lua(lambda text, ctx: {"n": len(text)})})
    assert (await agent.execute("abc"))["data"] == {"n": 3}


def test_a_taken_name_is_refused_until_it_is_destroyed(agents):
    agents.create({"name": "e", "model": "echo/x"})
    with pytest.raises(ComponentError) as caught:
        agents.create({"name": "e", "model": "echo/x"})
    assert caught.value.code == "already_exists"
    agents.destroy("e")
    assert agents.create({"name": "e", "model": "echo/x"}).state == "Ready"


def test_an_agent_without_any_model_is_refused(agents):
    with pytest.raises(ConfigurationError, match="Model is required"):
        agents.create({"name": "e"})


def test_an_unknown_provider_is_refused_at_build(agents):
    with pytest.raises(ConfigurationError):
        agents.create({"name": "e", "model": "x", "provider": "nope"})


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": "hot"},
        {"max_tool_calls": -1},
        {"stop": 1},
        {"on_limit": "x"},
        {"guardrails": {"input": [{"rule": 1}]}},
        {"on_tool_call": "x"},
        {"retry": {"max_attempts": "x"}},
    ],
)
def test_a_setting_of_the_wrong_kind_is_named(agents, field):
    with pytest.raises(ValidationError) as caught:
        agents.create({"name": "e", "model": "echo/x", **field})
    assert next(iter(field)) in caught.value.details["field"]


async def test_an_output_schema_is_repaired_and_then_held(agents):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    replies = ["nothing", '```json\n{"n": 1}\n```']
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": replies, "output_schema": schema})
    result = await agent.execute("go")
    assert (result["data"], result["text"]) == ({"n": 1}, '{"n":1}')
    assert result["metadata"]["extra"]["model_calls"] == 2


async def test_an_answer_that_never_fits_the_schema_is_an_error(agents):
    agent = agents.create(
        {"name": "s", "model": "scripted/t", "replies": ["x"] * 3, "output_schema": {"type": "object"}}
    )
    with pytest.raises(ValidationError) as caught:
        await agent.execute("go")
    assert caught.value.code == "output_schema"
    assert caught.value.details["text"] == "x"


async def test_a_fallback_answers_when_the_first_model_fails(agents):
    replies = [{"error": {"kind": "rate_limit", "retry_after_ms": 3600000}}]
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": replies, "fallbacks": ["echo/x"]})
    result = await agent.execute("hi")
    assert result["text"] == "hi"
    extra = result["metadata"]["extra"]
    assert extra["fallback_used"]
    assert [item["model"] for item in extra["attempts"]] == ["scripted/t", "echo/x"]


async def test_guardrails_judge_input_and_output(agents, lua):
    guard = {"output": lua(lambda text: "no numbers" if any(c.isdigit() for c in text) else True)}
    agent = agents.create({"name": "e", "model": "echo/x", "guardrails": guard})
    assert (await agent.execute("abc"))["text"] == "abc"
    with pytest.raises(ValidationError, match="no numbers") as caught:
        await agent.execute("a1")
    assert caught.value.code == "guardrail"


@pytest.mark.parametrize("schema", [{"type": "nope"}, {"$ref": "http://127.0.0.1:1/x"}, {"$ref": "file:///etc/passwd"}])
def test_a_schema_that_is_none_or_reaches_outside_is_refused(agents, schema):
    with pytest.raises(ValidationError) as caught:
        agents.create({"name": "s", "model": "echo/x", "output_schema": schema})
    assert caught.value.details["field"] == "output_schema"
