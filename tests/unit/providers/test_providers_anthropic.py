import json
from itertools import pairwise

import msgspec
import pytest

from llmspell.base.types import Media, Message, ToolCall
from llmspell.errors import NetworkError, RateLimitError
from llmspell.providers import ModelRequest, ToolSchema

ADD = ToolSchema(name="math.add", description="Adds", parameters={"type": "object", "properties": {}})
ANSWER = {
    "id": "msg_1",
    "model": "claude-x",
    "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1},
}


def strict(request):
    """Check a request as the service would."""
    assert request["headers"]["x-api-key"] == "sk-test-0123456789abcdef"
    assert request["headers"]["anthropic-version"] == "2023-06-01"
    assert "authorization" not in request["headers"]
    if request["method"] == "GET":
        return
    body = request["body"]
    assert request["path"] == "/v1/messages"
    assert isinstance(body["max_tokens"], int)
    roles = [message["role"] for message in body["messages"]]
    assert roles[0] == "user"
    assert all(a != b for a, b in pairwise(roles))
    assert set(body) <= {
        "model", "max_tokens", "messages", "system", "tools", "tool_choice", "temperature", "top_p", "top_k",
        "stop_sequences", "metadata", "thinking", "stream",
    }  # fmt: skip


def rendered(providers, request):
    providers.prepare("anthropic/claude-x")
    provider = next(iter(providers._built.values()))
    return provider.render(msgspec.structs.replace(request, model="claude-x"))


async def test_a_full_request_is_rendered_to_these_bytes(connect):
    request = ModelRequest(
        messages=[
            Message(role="system", content="Be brief."),
            Message(role="user", content="see", media=[Media(type="image", data=b"\x01", mime_type="image/png")]),
            Message(role="assistant", tool_calls=[ToolCall(id="c1", name="math.add", arguments={"a": 1})]),
            Message(role="tool", content="2", tool_call_id="c1"),
            Message(role="user", content="and?"),
        ],
        tools=[ADD],
        parallel_tool_calls=False,
        temperature=0.5,
        seed=1,
        cache="off",
    )
    out = rendered(connect("anthropic"), request)
    assert out.dropped == ["seed"]
    assert out.body == (
        b'{"model":"claude-x","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"image","source":'
        b'{"type":"base64","media_type":"image/png","data":"AQ=="}},{"type":"text","text":"see"}]},{"role":"assistant",'
        b'"content":[{"type":"tool_use","id":"c1","name":"math__add","input":{"a":1}}]},{"role":"user","content":'
        b'[{"type":"tool_result","tool_use_id":"c1","content":"2"},{"type":"text","text":"and?"}]}],"system":'
        b'[{"type":"text","text":"Be brief."}],"tools":[{"name":"math__add","description":"Adds","input_schema":'
        b'{"type":"object","properties":{}}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true},'
        b'"temperature":0.5}'
    )


async def test_the_stable_prefix_is_marked_for_the_cache(connect):
    turns = [Message(role="system", content="s")]
    turns += [Message(role=role, content=role) for role in ("user", "assistant", "user")]
    body = json.loads(rendered(connect("anthropic"), ModelRequest(messages=turns, tools=[ADD])).body)
    marked = [body["tools"][-1], body["system"][-1], body["messages"][1]["content"][-1]]
    assert all(block["cache_control"] == {"type": "ephemeral"} for block in marked)
    assert "cache_control" not in body["messages"][2]["content"][0]


async def test_an_answer_comes_back_with_reasoning_kept_for_the_next_turn(service, connect, ask):
    service.check = strict
    service.answer(ANSWER, headers={"request-id": "r1"})
    providers = connect("anthropic")
    answer = await providers.complete("anthropic/claude-x", ask("x", reasoning={"effort": "low"}))
    assert (answer.text, answer.reasoning, answer.request_id) == ("hi", "hm", "r1")
    assert (answer.usage.input_tokens, answer.usage.cached_tokens, answer.usage.cache_write_tokens) == (15, 4, 1)
    assert service.requests[0]["body"]["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    following = ModelRequest(messages=[Message(role="user", content="a"), answer.message])
    body = json.loads(rendered(providers, following).body)
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "s"}


async def test_an_output_schema_is_a_forced_tool_whose_input_is_the_text(service, connect, ask):
    service.check = strict
    block = {"type": "tool_use", "id": "t", "name": "structured_output", "input": {"a": 1}}
    service.answer({**ANSWER, "content": [block], "stop_reason": "tool_use"})
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    answer = await connect("anthropic").complete("anthropic/claude-x", ask("x", output_schema=schema))
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ('{"a":1}', [], "stop")
    assert service.requests[0]["body"]["tool_choice"] == {"type": "tool", "name": "structured_output"}
    wrapped = {**block, "input": {"value": [1]}}
    service.answers.clear()
    service.answer({**ANSWER, "content": [wrapped], "stop_reason": "tool_use"})
    answer = await connect("anthropic").complete("anthropic/claude-x", ask("x", output_schema={"type": "array"}))
    assert answer.text == "[1]"


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def block(index, start, *deltas):
    lines = [event("content_block_start", index=index, content_block=start)]
    lines += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return "".join([*lines, event("content_block_stop", index=index)])


STREAM = (
    event("message_start", message={"id": "m1", "model": "claude-x", "usage": {"input_tokens": 3, "output_tokens": 1}})
    + event("ping")
    + block(
        0,
        {"type": "thinking", "thinking": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "s"},
    )
    + block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Grüße"})
    + block(
        2,
        {"type": "tool_use", "id": "c1", "name": "math__add", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"a"'},
        {"type": "input_json_delta", "partial_json": ":1}"},
    )
    + event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9})
)


async def test_a_stream_sent_byte_by_byte_is_read_whole(service, connect, ask):
    service.check = strict
    wire = (STREAM + event("message_stop")).encode()
    service.answer([wire[i : i + 1] for i in range(len(wire))])
    events = [e async for e in connect("anthropic").stream("anthropic/claude-x", ask("x", tools=[ADD]))]
    response = events[-1].response
    assert [e.type for e in events] == [
        "start", "ping", "reasoning_delta", "text_delta", "tool_call_start", "tool_call_delta", "tool_call_delta",
        "tool_call_end", "usage", "finish",
    ]  # fmt: skip
    assert (response.text, response.finish_reason, response.usage.total_tokens) == ("Grüße", "tool_calls", 12)
    assert response.tool_calls[0].name == "math.add"
    assert response.message.opaque == [{"type": "thinking", "thinking": "hm", "signature": "s"}]


async def test_a_stream_without_message_stop_is_truncated(service, connect, ask):
    service.answer([STREAM.encode()])
    with pytest.raises(NetworkError) as caught:
        [e async for e in connect("anthropic").stream("anthropic/claude-x", ask("x", tools=[ADD]))]
    assert caught.value.code == "stream_truncated"


async def test_the_answer_of_a_forced_tool_streams_as_text(service, connect, ask):
    tool = {"type": "tool_use", "id": "t", "name": "structured_output", "input": {}}
    body = (
        event("message_start", message={"id": "m1", "model": "claude-x"})
        + block(0, {"type": "text", "text": "Sure: "})
        + block(1, tool, *({"type": "input_json_delta", "partial_json": piece} for piece in ('{"value":[1,', "2]}")))
        + event("message_delta", delta={"stop_reason": "tool_use"})
        + event("message_stop")
    )  # fmt: skip
    service.answer([body.encode()])
    request = ask("x", output_schema={"type": "array"})
    events = [e async for e in connect("anthropic").stream("anthropic/claude-x", request)]
    assert events[-1].response.text == "[1,2]"
    assert events[-1].response.tool_calls == []


async def test_overload_and_throttling_have_their_codes(service, connect, ask):
    service.answer({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, status=529)
    providers = connect("anthropic", max_retries=0)
    assert (await providers.check("anthropic"))["error"]["details"]["code"] == "unavailable"
    service.answers.clear()
    service.answer({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}, status=429)
    with pytest.raises(RateLimitError):
        await providers.complete("anthropic/claude-x", ask("x"))


async def test_models_are_listed(service, connect):
    service.check = strict
    service.answer({"data": [{"id": "claude-b"}, {"id": "claude-a"}]})
    assert await connect("anthropic").models("claude") == ["claude-a", "claude-b"]
