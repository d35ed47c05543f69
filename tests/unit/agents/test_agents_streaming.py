import asyncio

import pytest

from llmspell.errors import ProviderError


async def chunks_of(agent, value):
    stream = agent.stream(value)
    return [chunk async for chunk in stream], stream.result


async def test_a_stream_starts_ends_and_counts_without_gaps(agents):
    chunks, result = await chunks_of(agents.create({"name": "e", "model": "echo/x"}), "a b c")
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.type for chunk in chunks] == ["control", "text", "text", "text", "usage", "control"]
    assert chunks[0].control == {"type": "stream_start"}
    assert chunks[-1].control == {"type": "stream_end", "finish_reason": "stop"}
    assert chunks[-1].is_final
    assert "".join(chunk.text for chunk in chunks) == result["text"] == "a b c"


async def test_a_stream_crosses_tool_rounds(agents, tools, lua):
    tools.register("one", lua(lambda p, _: 1))
    replies = [{"text": "wait", "tool_calls": [{"name": "one", "arguments": {}}]}, "end"]
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": replies, "tools": ["one"]})
    chunks, result = await chunks_of(agent, "go")
    kinds = [chunk.type for chunk in chunks]
    assert kinds.index("tool_call_complete") < kinds.index("tool_result")
    assert next(chunk for chunk in chunks if chunk.type == "tool_result").tool_result["success"] is True
    assert kinds.count("usage") == 1
    assert result["text"] == "end"


async def test_an_error_comes_after_the_delivered_chunks(agents):
    replies = [{"chunks": ["a", "b"], "error": {"kind": "provider", "code": "unavailable", "after_chunks": 1}}]
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": replies, "fallbacks": ["echo/x"]})
    seen = []
    stream = agent.stream("go")

    async def drain():
        async for chunk in stream:
            seen.append(chunk.type)  # noqa: PERF401 - a comprehension would lose what came before the error

    with pytest.raises(ProviderError) as caught:
        await drain()
    assert seen == ["control", "text", "usage"]
    assert caught.value.details["result"]["text"] == "a"


async def test_a_callback_that_says_false_ends_the_run(agents, lua):
    agent = agents.create({"name": "e", "model": "echo/x"})
    seen = []

    def callback(chunk):
        seen.append(chunk["type"])
        return chunk["type"] != "text"

    result = await agent.execute_streaming("a b c", None, lua(callback))
    assert seen == ["control", "text", "usage", "control"]
    assert result["text"].strip() == "a"
    assert result["finish_reason"] == "cancelled"
    assert result["chunks_received"] == 4
    assert agent.state == "Ready"


async def test_streaming_with_a_callback_gives_the_result_too(agents, lua):
    agent = agents.create({"name": "e", "model": "echo/x"})
    seen = []
    result = await agent.execute_streaming("a b", None, lua(seen.append))
    assert (result["text"], result["success"], result["chunks_received"]) == ("a b", True, len(seen))


async def test_closing_a_stream_ends_the_run(agents):
    agent = agents.create({"name": "e", "model": "echo/x"})
    stream = agent.stream("a b c")
    await stream.__anext__()
    assert agent.state == "Running"
    await stream.aclose()
    assert agent.state == "Ready"
    assert [chunk async for chunk in stream] == []


async def test_agents_without_a_model_stream_one_text_chunk(agents):
    chunks, _ = await chunks_of(agents.create({"name": "b", "type": "basic"}), "x")
    assert [chunk.type for chunk in chunks] == ["control", "text", "usage", "control"]


async def test_a_stream_left_half_read_blocks_nobody(agents):
    agent = agents.create({"name": "e", "model": "echo/x"})
    half = agent.stream("a b c")
    await half.__anext__()
    assert (await agent.execute("other"))["text"] == "other"
    await half.collect()
    assert [item.content for item in agent.conversation.messages] == ["other", "other", "a b c", "a b c"]


async def test_closing_a_stream_that_waits_for_its_model_cleans_up_and_is_no_failure(agents):
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": [{"text": "a b", "delay_ms": 5000}]})
    stream = agent.stream("x")
    await stream.__anext__()
    reading = asyncio.ensure_future(stream.__anext__())
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await stream.aclose()
    assert (agent.state, agent.metrics()["requests_failed"], agent.metrics()["requests_active"]) == ("Ready", 0, 0)


async def test_texts_that_came_at_once_are_handed_over_together_and_read_one_by_one(agents):
    agent = agents.create({"name": "e", "model": "echo/x"})
    stream = agent.stream("a b c")
    assert (await stream.several()).type == "control"
    together = await stream.several()
    assert (together.texts, together.index) == (["a ", "b ", "c"], 1)
    assert [(chunk.text, chunk.index) for chunk in together.chunks()] == [("a ", 1), ("b ", 2), ("c", 3)]
    assert (await stream.several()).type == "usage"
    await stream.aclose()


async def test_at_most_64_texts_are_handed_over_together(agents):
    stream = agents.create({"name": "e", "model": "echo/x"}).stream(" ".join("w" * 150))
    await stream.several()
    sizes = [len((await stream.several()).texts) for _ in range(3)]
    assert sizes == [64, 64, 22]
    await stream.aclose()


async def test_a_tool_does_not_run_before_the_consumer_asks_for_what_follows_the_text(agents, tools, lua):
    ran = []
    tools.register("one", lua(lambda p, _: ran.append(1)))
    replies = [{"text": "wait for it", "tool_calls": [{"name": "one", "arguments": {}}]}, "end"]
    agent = agents.create({"name": "s", "model": "scripted/t", "replies": replies, "tools": ["one"]})
    stream = agent.stream("go")
    types = [(await stream.__anext__()).type for _ in range(4)]
    assert (types, ran, agent.state) == (["control", "text", "text", "text"], [], "Running")
    await stream.collect()
    assert ran == [1]


async def test_a_closed_stream_gives_no_more_of_the_texts_it_holds(agents):
    stream = agents.create({"name": "e", "model": "echo/x"}).stream("a b c")
    await stream.__anext__()
    assert (await stream.__anext__()).text == "a "
    await stream.aclose()
    assert [chunk async for chunk in stream] == []
