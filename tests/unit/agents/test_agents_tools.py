import asyncio
import time

import pytest

from llmspell.errors import CancelledError, ResourceLimitError, ToolError, ValidationError
from llmspell.errors import TimeoutError as OutOfTime

INTEGERS = {"a": {"type": "integer"}, "b": {"type": "integer"}}


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def turn(*calls):
    return {"tool_calls": list(calls)}


@pytest.fixture
def add(tools, lua):
    tools.register("add", lua(lambda p, _: {"result": p["a"] + p["b"]}), INTEGERS)


@pytest.fixture
def seen(agents, providers):
    def log(name="t"):
        return providers.scripted_log(name)

    return log


def scripted(agents, *replies, **fields):
    return agents.create({"name": "s", "model": "scripted/t", "replies": list(replies), **fields})


async def test_a_tool_result_reaches_the_model_as_text(agents, add, lua):
    agent = scripted(
        agents, turn(call("add", a=2, b=3)), lua(lambda q: "sum " + q["messages"][-1]["content"]), tools=["add"]
    )
    result = await agent.execute("go")
    assert result["text"] == "sum 5"
    (made,) = result["tool_calls"]
    assert (made["name"], made["result"], made["success"]) == ("add", 5, True)
    assert agent.metrics()["tool_invocations"] == 1


async def test_the_model_sees_exactly_the_allowed_schemas(agents, add, seen):
    await scripted(agents, "x", tools=["add"]).execute("go")
    assert [tool["name"] for tool in seen()[0]["tools"]] == ["add"]
    assert seen()[0]["tools"][0]["parameters"]["properties"]["a"]["type"] == "integer"


async def test_calls_without_ids_get_their_own_and_messages_keep_call_order(agents, add, seen):
    agent = scripted(agents, turn(call("add", a=1, b=1), call("add", a=2, b=2)), "end", tools=["add"])
    result = await agent.execute("go")
    ids = [made["id"] for made in result["tool_calls"]]
    assert len(set(ids)) == 2
    told = [m for m in seen()[1]["messages"] if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in told] == ids
    assert [m["content"] for m in told] == ["2", "4"]


async def test_calls_of_one_turn_run_side_by_side(agents, tools):
    async def slow(params, _):
        await asyncio.sleep(0.05)
        return params["n"]

    tools.register("slow", slow, {"n": {"type": "integer"}})
    agent = scripted(agents, turn(*(call("slow", n=n) for n in range(4))), "end", tools=["slow"])
    started = time.perf_counter()
    result = await agent.execute("go")
    assert time.perf_counter() - started < 0.15
    assert [made["result"] for made in result["tool_calls"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (call("nope"), "Error: tool 'nope' is not allowed, available: add, boom"),
        (call("boom"), "Error: bad"),
    ],
)
async def test_what_goes_wrong_in_a_call_becomes_text_for_the_model(agents, add, tools, seen, wanted, told):
    async def boom(_, __):
        raise ToolError("bad")

    tools.register("boom", boom)
    result = await scripted(agents, turn(wanted), "end", tools=["add", "boom"]).execute("go")
    assert result["text"] == "end"
    assert seen()[1]["messages"][-1]["content"] == told
    assert result["tool_calls"][0]["success"] is False


async def test_bad_arguments_become_text_that_names_them(agents, add, seen):
    await scripted(agents, turn(call("add", a="x", b=1)), "end", tools=["add"]).execute("go")
    text = seen()[1]["messages"][-1]["content"]
    assert text.startswith("Error: ")
    assert "a" in text


async def test_past_max_tool_calls_a_final_answer_without_tools_is_asked_for(agents, add, seen):
    again = [turn(call("add", a=n, b=n)) for n in range(3)]
    result = await scripted(agents, *again, "final", tools=["add"], max_tool_calls=2).execute("go")
    assert len(result["tool_calls"]) == 2
    assert result["text"] == "final"
    assert result["metadata"]["extra"]["stop_reason"] == "max_tool_calls"
    assert seen()[-1]["tools"] == []


async def test_on_limit_raise_raises_with_what_there_was(agents, add):
    again = [turn(call("add", a=n, b=n)) for n in range(3)]
    agent = scripted(agents, *again, tools=["add"], max_tool_calls=2, on_limit="raise")
    with pytest.raises(ResourceLimitError) as caught:
        await agent.execute("go")
    assert caught.value.details["resource"] == "max_tool_calls"
    assert len(caught.value.details["result"]["tool_calls"]) == 2


async def test_max_model_calls_ends_the_run(agents, add):
    again = [turn(call("add", a=n, b=n)) for n in range(3)]
    result = await scripted(agents, *again, tools=["add"], max_model_calls=2).execute("go")
    assert result["metadata"]["extra"]["stop_reason"] == "max_model_calls"
    assert result["metadata"]["extra"]["model_calls"] == 2


async def test_the_same_call_again_and_again_gets_a_notice_and_then_an_end(agents, add, seen):
    agent = scripted(agents, *[turn(call("add", a=1, b=1))] * 6, tools=["add"])
    with pytest.raises(ResourceLimitError) as caught:
        await agent.execute("go")
    assert caught.value.details["resource"] == "repeated_tool_call"
    assert "Notice" not in seen()[2]["messages"][-1]["content"]
    assert "Notice" in seen()[3]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("verdict", "told"), [(False, "Error: the call of tool 'add' was denied"), ("no", "Error: no")]
)
async def test_on_tool_call_denies(agents, add, lua, seen, verdict, told):
    agent = scripted(agents, turn(call("add", a=1, b=1)), "end", tools=["add"], on_tool_call=lua(lambda c: verdict))
    await agent.execute("go")
    assert seen()[1]["messages"][-1]["content"] == told


async def test_on_tool_call_replaces_the_arguments(agents, add, lua):
    agent = scripted(
        agents, turn(call("add", a=1, b=1)), "end", tools=["add"], on_tool_call=lua(lambda c: {"a": 5, "b": 5})
    )
    assert (await agent.execute("go"))["tool_calls"][0]["result"] == 10


async def test_inline_tools_live_and_die_with_their_agent(agents, tools, lua):
    spec = {"name": "own", "description": "d", "execute": lua(lambda p, _: "done")}
    agent = scripted(agents, turn(call("own")), "end", tools=[spec])
    assert (await agent.execute("go"))["tool_calls"][0]["result"] == "done"
    agents.destroy("s")
    assert tools.get("own") is None


def test_an_unknown_tool_is_refused_at_build_with_a_suggestion(agents, add):
    with pytest.raises(ToolError, match="did you mean 'add'") as caught:
        agents.create({"name": "s", "model": "echo/x", "tools": ["ad"]})
    assert caught.value.code == "not_found"
    assert not agents.exists("s")


async def test_long_results_keep_head_and_tail(agents, tools, lua, seen):
    tools.register("long", lua(lambda p, _: "a" * 5000 + "b" * 5000))
    agent = scripted(agents, turn(call("long")), "end", tools=["long"], max_result_tokens=100)
    await agent.execute("go")
    text = seen()[1]["messages"][-1]["content"]
    assert len(text) < 500
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert "9600 characters left out" in text


async def test_the_execution_time_is_enforced(agents):
    agent = scripted(agents, {"text": "x", "delay_ms": 5000}, max_execution_time=0.05)
    started = time.perf_counter()
    with pytest.raises(OutOfTime):
        await agent.execute("go")
    assert time.perf_counter() - started < 1


async def test_terminate_cancels_a_run_that_waits(agents):
    agent = scripted(agents, {"text": "x", "delay_ms": 5000})
    run = asyncio.ensure_future(agent.execute("go"))
    await asyncio.sleep(0.01)
    agent.close()
    with pytest.raises(CancelledError):
        await run
    assert agent.state == "Terminated"


async def test_a_cancelled_task_is_cancelled_and_not_translated(agents):
    agent = scripted(agents, {"text": "x", "delay_ms": 5000})
    run = asyncio.ensure_future(agent.execute("go"))
    await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert agent.state == "Ready"


async def test_an_agent_is_a_tool_for_another_and_shares_its_depth(agents):
    agents.create({"name": "u", "model": "echo/upper"})
    boss = scripted(agents, turn(call("u_tool", input="hi")), "end", tools=["u"])
    result = await boss.execute("go")
    assert result["tool_calls"][0]["result"] == "HI"
    deep = boss.config
    assert deep.max_recursion_depth == 10


async def test_an_agent_that_calls_itself_ends_in_text_and_not_in_a_lock(agents):
    boss = scripted(agents, turn(call("s_tool", input="again")), "end")
    agents.wrap_as_tool("s")
    boss.configure({"tools": ["s_tool"]})
    result = await boss.execute("go")
    assert "own run" in result["tool_calls"][0]["error"]["message"]


async def test_runs_on_one_conversation_queue(agents):
    agent = agents.create({"name": "s", "model": "scripted/t", "loop": True, "replies": [{"text": "x", "delay_ms": 5}]})
    await asyncio.gather(*(agent.execute(str(n)) for n in range(3)))
    assert [item["role"] for item in agent.conversation.history()] == ["user", "assistant"] * 3


async def test_recursion_past_the_depth_is_refused(agents):
    agents.create({"name": "leaf", "model": "echo/x"})
    below = "leaf"
    for n in range(3):
        name = f"n{n}"
        replies = [turn(call(f"{below}_tool", input="x")), "end"]
        limits = {"tools": [below], "max_recursion_depth": 2}
        agents.create({"name": name, "model": f"scripted/{name}", "replies": replies, **limits})
        below = name
    result = await agents.execute("n2", "go")
    assert result["tool_calls"][0]["success"] is True
    log = agents.providers.scripted_log("n0")
    assert "recursion_depth" in log[1]["messages"][-1]["content"]


async def test_a_model_gets_its_missing_parameter_told(agents):
    agents.create({"name": "u", "model": "echo/upper"})
    result = await scripted(agents, turn(call("u_tool")), "end", tools=["u"]).execute("go")
    assert result["tool_calls"][0]["error"]["kind"] == "validation"


def test_an_inline_tool_without_a_function_is_refused(agents):
    with pytest.raises(ValidationError):
        agents.create({"name": "s", "model": "echo/x", "tools": [{"name": "x"}]})


async def test_an_agent_called_from_a_tool_of_a_run_belongs_to_that_run(agents, tools):
    inner = agents.create({"name": "inner", "model": "echo/x"})

    async def ask(_, __):
        return (await inner.execute("hi"))["text"]

    tools.register("ask", ask)
    boss = scripted(agents, turn(call("ask")), "end", tools=["ask"], budget={"max_model_calls": 1})
    with pytest.raises(ResourceLimitError) as caught:
        await boss.execute("go")
    told = caught.value.details["result"]["tool_calls"][0]["error"]["details"]["resource"]
    assert told == "budget_model_calls"
    assert (await inner.execute("later"))["text"] == "later"


async def test_a_tool_that_calls_its_own_agent_ends_at_the_recursion_depth(agents, tools):
    holder = {}

    async def again(_, __):
        return (await holder["s"].execute("again"))["text"]

    tools.register("again", again)
    holder["s"] = scripted(
        agents,
        turn(call("again")),
        tools=["again"],
        loop=True,
        memory_enabled=False,
        max_recursion_depth=3,
        max_tool_calls=1,
    )
    result = await holder["s"].execute("go")
    assert result["tool_calls"][0]["success"] is True
