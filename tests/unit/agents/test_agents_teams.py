import pytest

from llmspell.errors import ComponentError, ResourceLimitError, ValidationError


@pytest.fixture
def named(agents, lua):
    def make(*names):
        for name in names:
            reply = lua(lambda q, name=name: f"{name}:{q['messages'][-1]['content']}")
            agents.create({"name": name, "model": "scripted/t", "loop": True, "replies": [reply]})

    make("u", "v")
    return make


def team(agents, strategy="sequential", members=("u", "v"), **fields):
    return agents.create_composite({"name": "team", "agents": list(members), "strategy": strategy, **fields})


async def test_a_sequence_hands_the_text_on_and_sums_the_usage(agents, named):
    result = await team(agents).execute("x")
    assert result["text"] == "v:u:x"
    assert [entry["agent"] for entry in result["outputs"]] == ["u", "v"]
    assert result["usage"]["input_tokens"] == sum(entry["usage"]["input_tokens"] for entry in result["outputs"])


async def test_parallel_joins_texts_in_list_order(agents, named):
    assert (await team(agents, "parallel", separator="|").execute("x"))["text"] == "u:x|v:x"


async def test_a_vote_takes_the_most_frequent_text_or_the_fallback(agents, named):
    agents.create({"name": "w", "model": "scripted/t", "replies": ["u:x "], "loop": True})
    assert (await team(agents, "vote", ("v", "u", "w")).execute("x"))["text"] == "u:x"
    agents.destroy("team")
    with pytest.raises(ComponentError, match="share"):
        await team(agents, "vote", ("v", "u"), threshold=0.9).execute("x")
    agents.destroy("team")
    assert (await team(agents, "vote", ("v", "u"), threshold=0.9, fallback_agent="w").execute("x"))["text"] == "u:x "


async def test_fallback_takes_the_first_that_succeeds_and_reports_the_others(agents, named):
    agents.create({"name": "bad", "model": "scripted/t", "replies": []})
    result = await team(agents, "fallback", ("bad", "u")).execute("x")
    assert result["text"] == "u:x"
    assert [entry["success"] for entry in result["outputs"]] == [False, True]


async def test_all_members_failing_is_an_error(agents):
    for name in ("a", "b"):
        agents.create({"name": name, "model": "scripted/t", "replies": []})
    with pytest.raises(Exception, match="all 2 members"):
        await team(agents, "parallel", ("a", "b")).execute("x")


async def test_round_robin_takes_turns(agents, named):
    made = team(agents, "round_robin")
    assert [(await made.execute("x"))["text"] for _ in range(3)] == ["u:x", "v:x", "u:x"]


async def test_a_router_chooses(agents, named, lua):
    made = team(agents, "router", router=lua(lambda text, names: names[1]))
    assert (await made.execute("x"))["text"] == "v:x"


async def test_without_a_router_the_first_member_decides_by_a_tool_call(agents, named, lua):
    def decide(q):
        tools = q["tools"]
        return {"tool_calls": [{"name": tools[0]["name"], "arguments": {"agent": "v"}}]} if tools else "done"

    agents.create({"name": "boss", "model": "scripted/t", "loop": True, "replies": [lua(decide)]})
    assert (await team(agents, "router", ("boss", "v")).execute("x"))["text"] == "v:x"


async def test_a_custom_handler_gives_the_text(agents, named, lua):
    made = team(agents, "custom", handler=lua(lambda text, names: f"{text}{len(names)}"))
    assert (await made.execute("x"))["text"] == "x2"


@pytest.mark.parametrize("fields", [{"strategy": "nope"}, {"strategy": "custom"}, {"pattern": "x"}, {"agents": []}])
def test_a_bad_team_is_refused(agents, named, fields):
    with pytest.raises(ValidationError):
        agents.create_composite({"name": "team", "agents": ["u"], **fields})


def test_an_unknown_member_is_refused(agents, named):
    with pytest.raises(ComponentError, match="'uu' not found, did you mean 'u'"):
        team(agents, members=("uu",))


async def test_an_agent_wrapped_as_a_tool_answers_tool_calls(agents, named, tools):
    assert agents.wrap_as_tool("u") == "u_tool"
    envelope = await tools.call("u_tool", {"input": "hi"})
    assert envelope["text"] == "u:hi"
    with pytest.raises(ComponentError):
        agents.wrap_as_tool("u")
    agents.destroy("u")
    assert tools.get("u_tool") is None


async def test_a_budget_of_a_team_binds_its_members(agents, named):
    made = team(agents, budget={"max_model_calls": 1})
    with pytest.raises(ResourceLimitError) as caught:
        await made.execute("x")
    assert caught.value.details["resource"] == "budget_model_calls"


async def test_a_budget_of_an_agent_lasts_over_its_runs(agents):
    agent = agents.create({"name": "e", "model": "echo/x", "budget": {"max_model_calls": 1, "per": "agent"}})
    await agent.execute("a")
    with pytest.raises(ResourceLimitError):
        await agent.execute("b")


async def test_a_budget_that_cannot_hold_the_answer_refuses_before_any_request(agents, providers):
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": ["x"], "budget": {"tokens": 20}})
    with pytest.raises(ResourceLimitError) as caught:
        await agent.execute("go")
    assert caught.value.details["resource"] == "budget_tokens"
    assert providers.scripted_log("t") == []


def test_templates_are_real_agents(agents):
    from llmspell.agents import templates

    for name in templates.names():
        params = {"tools": ["calculator"]} if name == "tool-orchestrator" else {}
        agent = agents.create_from_template(name, {"model": "echo/x", **params})
        assert agent.state == "Ready"
        assert agent.name.startswith(f"{name}_")
    with pytest.raises(ComponentError, match="not found"):
        agents.create_from_template("nope")
    with pytest.raises(ValidationError, match="temperature"):
        agents.create_from_template("llm", {"model": "echo/x", "temprature": 1})


def test_a_definition_is_checked_now_and_built_at_first_get(agents):
    assert agents.register({"name": "d", "model": {"provider": "echo", "model_id": "upper", "temperature": 0}}) == "d"
    assert agents.instances == []
    assert agents.get("d").model_name == "echo/upper"
    assert agents.unregister("d")
    assert agents.get("d") is None
    with pytest.raises(ValidationError):
        agents.register({"name": "d", "model": "echo/x", "temperature": "hot"})


def test_contexts_inherit_isolate_copy_and_share(agents):
    contexts = agents.contexts
    contexts.create("c", {"user": "ann"})
    inherit, isolate, copy, share = (
        contexts.create_child("c", {"type": "session", "id": "s"}, word)
        for word in ("inherit", "isolate", "copy", "share")
    )
    contexts.update("c", "late", 1)
    contexts.update(inherit, "own", 2)
    contexts.update(share, "both", 3)
    assert [contexts.data(c, "user") for c in (inherit, isolate, copy, share)] == ["ann", None, "ann", "ann"]
    assert [contexts.data(c, "late") for c in (inherit, isolate, copy, share)] == [1, None, None, 1]
    assert (contexts.data("c", "own"), contexts.data("c", "both")) == (None, 3)
    contexts.remove("c")
    assert contexts.list() == []
    with pytest.raises(ComponentError):
        contexts.data("c")


def test_shared_memory_belongs_to_its_scope(agents):
    agents.contexts.set_memory("global", "k", [1, 2])
    assert agents.contexts.get_memory(None, "k") == [1, 2]
    assert agents.contexts.get_memory({"type": "agent", "id": "z"}, "k") is None
    with pytest.raises(ValidationError):
        agents.contexts.get_memory({"type": "planet", "id": "z"}, "k")
