import pytest

from llmspell.agents.conversation import message, trim
from llmspell.errors import SecurityError, ValidationError


def talk(*roles):
    return [message(role, f"{role}{n}") for n, role in enumerate(roles)]


def contents(messages):
    return [item.content for item in messages]


def test_trimming_drops_whole_turns_and_keeps_the_system():
    messages = talk("system", "user", "assistant", "tool", "assistant", "user", "assistant")
    kept = trim(messages, count=5)
    assert contents(kept) == ["system0", "user5", "assistant6"]


def test_trimming_keeps_what_fits_and_the_newest_turn_always():
    messages = talk("user", "assistant", "user")
    assert trim(messages, count=3) is messages
    assert contents(trim(messages, count=0)) == ["user2"]
    assert contents(trim(messages, count=0, keep_last=False)) == []


def test_trimming_by_tokens_drops_the_oldest_first():
    messages = [message("user", "x" * 400), message("user", "y" * 40)]
    assert contents(trim(messages, count=10, tokens=50)) == ["y" * 40]


async def test_a_conversation_stays_within_its_length(agents):
    agent = agents.create({"name": "e", "model": "echo/x", "max_conversation_length": 4})
    for n in range(5):
        await agent.execute(str(n))
    assert contents(agent.conversation.messages) == ["3", "3", "4", "4"]
    assert agent.conversation.size == 4


async def test_the_context_window_bounds_what_is_sent(agents, providers):
    agent = agents.create({"name": "s", "model": "scripted/t", "loop": True, "replies": ["ok"], "context_window": 200})
    for _ in range(5):
        await agent.execute("x" * 300)
    assert len(providers.scripted_log("t")[-1]["messages"]) < 9


async def test_saved_state_comes_back_in_another_set_of_agents(agents, providers, tools, store):
    from llmspell.agents import Agents

    agent = agents.create({"name": "e", "model": "echo/x", "temperature": 0.5, "api_key": "sk-secret"})
    await agent.execute("hi")
    agents.set_data(agent, {"k": [1]})
    agents.save(agent)
    assert "sk-secret" not in repr(store)
    agents.set_data(agent, {"k": None})
    other = Agents(providers, tools, state=lambda: store)
    again = other.create({"name": "e", "model": "echo/x"})
    assert other.load(again)
    assert contents(again.conversation.messages) == ["hi", "hi"]
    assert again.config.temperature == 0.5
    assert again.metrics()["requests_total"] == 1
    assert other.get_data(again) == {"k": [1]}
    assert other.delete_saved(again)
    assert not other.load(again)


async def test_a_conversation_id_keeps_the_conversation_in_the_store(agents, store):
    for name in ("a", "b"):
        agent = agents.create({"name": name, "model": "echo/x", "conversation_id": "c", "session": "s"})
        await agent.execute(name)
    assert [item["content"] for item in store["session:s", "conversation:c"]] == ["a", "a", "b", "b"]


def test_a_history_is_set_and_bad_entries_are_named(agents):
    agent = agents.create({"name": "e", "model": "echo/x"})
    agent.conversation.replace([{"role": "user", "content": "x"}])
    assert agent.conversation.history()[0]["content"] == "x"
    with pytest.raises(ValidationError, match=r"messages\[2\].role"):
        agent.conversation.replace([{"role": "user", "content": "x"}, {"role": "nobody"}])


def test_settings_can_change_and_a_bad_change_changes_nothing(agents):
    agent = agents.create({"name": "e", "model": "echo/x", "tools": ["calculator"]})
    agent.configure({"model": "echo/upper", "tools": []})
    assert (agent.model_name, agent.toolbox.names) == ("echo/upper", [])
    with pytest.raises(ValidationError):
        agent.configure({"temperature": "hot"})
    with pytest.raises(ValidationError):
        agent.configure({"name": "f"})
    assert agent.config.temperature is None


def test_custom_config_holds_settings_and_the_rest_goes_to_the_provider(agents):
    agent = agents.create({"name": "e", "model": "echo/x", "custom_config": {"max_conversation_length": 7, "foo": 1}})
    assert agent.config.max_conversation_length == 7
    assert agent.config.extra == {"foo": 1}


def test_an_agent_with_a_list_permits_only_that(agents):
    agent = agents.create({"name": "e", "model": "echo/x", "tools": ["calculator"]})
    agent.permit("calculator")
    with pytest.raises(SecurityError):
        agent.permit("base64-encoder")
    agents.create({"name": "f", "model": "echo/x"}).permit("base64-encoder")


@pytest.mark.parametrize(
    ("fields", "runs"),
    [
        ({"approval": "always"}, False),
        ({"approval": ["ad*"]}, False),
        ({"approval": ["x*"]}, True),
        ({"approval": "never"}, True),
        ({}, True),
    ],
)
async def test_calls_that_need_a_yes_are_denied_when_nobody_can_give_it(agents, tools, lua, fields, runs):
    tools.register("add", lua(lambda p, _: 5))
    replies = [{"tool_calls": [{"name": "add", "arguments": {}}]}, "end"]
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": replies, "tools": ["add"], **fields})
    (call,) = (await agent.execute("go"))["tool_calls"]
    assert call["success"] is runs
    assert runs or call["status"] == "denied"


async def test_on_approval_decides_and_may_edit(agents, tools, lua):
    tools.register("add", lua(lambda p, _: p["a"]), {"a": {"type": "integer"}})
    fields = {"approval": "always", "on_approval": lua(lambda asked: {"approve": True, "parameters": {"a": 9}})}
    replies = [{"tool_calls": [{"name": "add", "arguments": {"a": 1}}]}, "end"]
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": replies, "tools": ["add"], **fields})
    assert (await agent.execute("go"))["tool_calls"][0]["result"] == 9


async def test_a_forced_tool_is_forced_once(agents, tools, lua, providers):
    tools.register("add", lua(lambda p, _: 5))
    replies = [{"tool_calls": [{"name": "add", "arguments": {}}]}, "end"]
    fields = {"tools": ["add"], "tool_choice": "required"}
    await agents.create({"name": "s", "model": "scripted/t", "replies": replies, **fields}).execute("go")
    assert [asked["tool_choice"] for asked in providers.scripted_log("t")] == ["required", "auto"]
