import json

import msgspec
import pytest

from llmspell.base.types import Media, Message, ToolCall
from llmspell.errors import NetworkError, ProviderError, ValidationError
from llmspell.providers import ModelRequest, ToolSchema

ANSWER = {
    "id": "cmpl-1",
    "model": "gpt-4o-2024",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
              "prompt_tokens_details": {"cached_tokens": 4}},
}  # fmt: skip
ADD = ToolSchema(
    name="math.add",
    description="Adds",
    parameters={"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}},
)


def strict(request):
    """Check a request as the service would: only known fields, in the documented form."""
    if request["method"] == "GET":
        return
    assert request["headers"]["authorization"] == "Bearer sk-test-0123456789abcdef"
    assert request["headers"]["content-type"] == "application/json"
    body = request["body"]
    known = {
        "model", "messages", "temperature", "top_p", "max_completion_tokens", "max_tokens", "seed", "stop", "stream",
        "stream_options", "tools", "tool_choice", "parallel_tool_calls", "response_format", "user", "reasoning_effort",
        "presence_penalty", "frequency_penalty", "extra_field", "input", "dimensions",
    }  # fmt: skip
    assert set(body) <= known, set(body) - known
    for message in body.get("messages", ()):
        assert message["role"] in ("system", "user", "assistant", "tool")
        assert (message["role"] == "tool") == ("tool_call_id" in message)
    for tool in body.get("tools", ()):
        assert tool["type"] == "function"
        assert "$ref" not in json.dumps(tool)


def sse(*chunks, done=True):
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*lines, *(["data: [DONE]\n\n"] if done else [])]).encode()


def delta(**fields):
    reason = fields.pop("finish_reason", None)
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def rendered(providers, spec, request):
    _, model = providers.resolve(spec)
    providers.prepare(spec)
    provider = next(iter(providers._built.values()))
    return provider.render(msgspec.structs.replace(request, model=model))


async def test_a_full_request_is_rendered_to_these_bytes(connect):
    request = ModelRequest(
        messages=[
            Message(role="system", content="Be brief."),
            Message(role="user", content="see", media=[Media(type="image", data=b"\x01\x02", mime_type="image/png")]),
            Message(role="assistant", tool_calls=[ToolCall(id="c1", name="math.add", arguments={"a": 1})]),
            Message(role="tool", content="2", tool_call_id="c1", name="math.add"),
        ],
        tools=[ADD],
        tool_choice="math.add",
        temperature=0.5,
        max_tokens=9,
        stop=["END"],
        top_k=3,
        extra={"extra_field": 1, "model": "other", "stream": True},
    )
    out = rendered(connect(path="/v1"), "openai/gpt-4o", request)
    assert out.url.endswith("/v1/chat/completions")
    assert out.dropped == ["top_k"]
    assert out.body == (
        b'{"model":"gpt-4o","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":'
        b'[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AQI="}}]},'
        b'{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":'
        b'{"name":"math__add","arguments":"{\\"a\\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"2"}],'
        b'"temperature":0.5,"max_completion_tokens":9,"stop":["END"],"tools":[{"type":"function","function":'
        b'{"name":"math__add","description":"Adds","parameters":{"type":"object","properties":{"a":'
        b'{"type":"integer"}}}}}],"tool_choice":{"type":"function","function":{"name":"math__add"}},"extra_field":1}'
    )
    assert "sk-test" not in repr(out)


async def test_rendering_is_pure(connect, ask):
    providers = connect()
    request = ask("x", tools=[ADD], output_schema={"type": "object", "properties": {}})
    assert rendered(providers, "openai/m", request).body == rendered(providers, "openai/m", request).body


@pytest.mark.parametrize(
    ("name", "expected"),
    [("openai", "json_schema"), ("deepseek", "json_object"), ("groq", "json_object"), ("together", "json_schema")],
)
async def test_an_output_schema_is_asked_for_in_the_way_of_the_profile(connect, ask, name, expected):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body = json.loads(rendered(connect(name), f"{name}/m", ask("x", output_schema=schema)).body)
    assert body["response_format"]["type"] == expected
    assert (body["messages"][0]["role"] == "system") == (expected == "json_object")


async def test_profiles_rename_and_drop_parameters(connect, ask):
    request = ask("x", seed=3, user="u", max_tokens=5, tools=[ADD], tool_choice="required")
    out = rendered(connect("mistral"), "mistral/m", request)
    body = json.loads(out.body)
    assert (body["random_seed"], body["max_tokens"], body["tool_choice"]) == (3, 5, "any")
    assert out.dropped == ["user"]
    assert rendered(connect("perplexity"), "perplexity/m", request).dropped == ["seed", "user", "tools"]


async def test_a_medium_the_model_cannot_read_is_refused_before_any_call(connect, service):
    message = Message(role="user", content="x", media=[Media(type="video", data=b"v")])
    with pytest.raises(ValidationError) as caught:
        await connect().complete("openai/m", ModelRequest(messages=[message]))
    assert caught.value.code == "unsupported_media"
    assert service.requests == []


async def test_an_answer_comes_back_with_text_usage_price_and_ids(service, connect, ask):
    service.check = strict
    service.answer(ANSWER, headers={"x-request-id": "req-7"})
    providers = connect(prices={"m": {"input": 1.0, "output": 2.0, "cached": 0.5, "per": 10}}, max_tokens=77)
    answer = await providers.complete("openai/m", ask("hello", temperature=0))
    assert (answer.text, answer.model, answer.provider, answer.request_id) == ("hi", "gpt-4o-2024", "openai", "req-7")
    assert answer.usage.cached_tokens == 4
    assert answer.usage.cost_usd == pytest.approx((6 * 1.0 + 4 * 0.5 + 5 * 2.0) / 10)
    assert service.requests[0]["body"] == {
        "model": "m", "messages": [{"role": "user", "content": "hello"}], "temperature": 0.0,
        "max_completion_tokens": 77,
    }  # fmt: skip


async def test_usage_is_estimated_and_marked_when_the_service_does_not_count(service, connect, ask):
    service.answer({key: value for key, value in ANSWER.items() if key != "usage"})
    usage = (await connect().complete("openai/m", ask("12345678"))).usage
    assert (usage.input_tokens, usage.output_tokens, usage.estimated, usage.cost_usd) == (2, 1, True, None)


async def test_tool_calls_come_back_under_their_own_names(service, connect, ask):
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "math__add", "arguments": '{"a": 2}'}},
        {"id": "c2", "type": "function", "function": {"name": "math__add", "arguments": "{broken"}},
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    service.answer({**ANSWER, "choices": [{"message": message, "finish_reason": "tool_calls"}]})
    answer = await connect().complete("openai/m", ask("x", tools=[ADD]))
    assert [(call.name, call.arguments, call.malformed) for call in answer.tool_calls] == [
        ("math.add", {"a": 2}, None), ("math.add", {}, "{broken"),
    ]  # fmt: skip
    assert answer.finish_reason == "tool_calls"


TOOL_STREAM = sse(
    delta(role="assistant", content="Grüße "),
    delta(content="😀"),
    delta(reasoning_content="think"),
    delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "math__add", "arguments": ""}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
    delta(tool_calls=[{"index": 1, "id": "c2", "function": {"name": "b", "arguments": "{}"}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": " 1}"}}]),
    delta(finish_reason="tool_calls"),
    {"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}},
)


def check_tool_stream(events):
    assert events[0].type == "start"
    assert "".join(event.text for event in events if event.type == "text_delta") == "Grüße 😀"
    assert [event.arguments for event in events if event.type == "tool_call_end"] == [{"a": 1}, {}]
    assert [event.type for event in events[-2:]] == ["usage", "finish"]
    response = events[-1].response
    assert [(call.id, call.name) for call in response.tool_calls] == [("c1", "math.add"), ("c2", "b")]
    assert (response.usage.total_tokens, response.finish_reason, response.reasoning) == (7, "tool_calls", "think")


def test_a_stream_cut_at_every_byte_gives_the_same_events(connect, ask):
    """The decoder is fed directly: two pieces for each of the cuts."""
    from llmspell.net import SseParser
    from llmspell.providers._endpoint import Endpoint
    from llmspell.providers._profiles import find
    from llmspell.providers.openai import ChatStream, Provider

    channel = Provider(Endpoint("openai", find("openai"), base_url="http://x"), None)
    wire = b": keep-alive\r\n\r\n" + TOOL_STREAM.replace(b"\n", b"\r\n")
    for cut in range(len(wire)):
        parser, decoder = SseParser(), ChatStream(channel, ask("x", model="m", tools=[ADD]))
        events = []
        for piece in (wire[:cut], wire[cut:]):
            for event in parser.feed(piece):
                events += decoder.feed(event.data)
        check_tool_stream([*events, *decoder.end([])])


async def test_a_stream_sent_byte_by_byte_is_read_whole(service, connect, ask):
    service.check = strict
    service.answer([TOOL_STREAM[i : i + 1] for i in range(len(TOOL_STREAM))])
    events = [event async for event in connect().stream("openai/m", ask("x", tools=[ADD]))]
    check_tool_stream(events)
    assert service.requests[0]["body"]["stream_options"] == {"include_usage": True}
    assert events[-1].response.ttft_ms is not None


async def test_the_first_delta_arrives_before_the_stream_ends(service, connect, ask):
    import asyncio

    gate = asyncio.Event()
    service.answer([sse(delta(content="a"), done=False), gate, sse(delta(content="b", finish_reason="stop"))])
    got = []
    async for event in connect().stream("openai/m", ask("x")):
        got.append(event.text)
        if event.type == "text_delta":
            gate.set()
    assert got[:3] == ["", "a", "b"]


async def test_a_stream_without_a_final_marker_is_truncated(service, connect, ask):
    service.answer([sse(delta(content="half"), done=False)])
    got = []

    async def drain():
        nonlocal got
        async for event in connect().stream("openai/m", ask("x")):
            got += [event.type]

    with pytest.raises(NetworkError) as caught:
        await drain()
    assert caught.value.code == "stream_truncated"
    assert got == ["start", "text_delta"]
    assert len(service.requests) == 1


async def test_tool_arguments_cut_by_the_length_limit_end_with_reason_length_and_no_call(service, connect, ask):
    call = {"index": 0, "id": "c", "function": {"name": "b", "arguments": '{"a": "ha'}}
    service.answer([sse(delta(tool_calls=[call]), delta(finish_reason="tool_calls"))])
    events = [event async for event in connect().stream("openai/m", ask("x"))]
    assert events[-1].response.finish_reason == "length"
    assert "tool_call_end" not in [event.type for event in events]
    assert events[-1].response.tool_calls == []


async def test_an_error_inside_a_stream_is_raised(service, connect, ask):
    service.answer([sse({"error": {"message": "overloaded", "type": "overloaded_error"}})])
    with pytest.raises(ProviderError, match="overloaded") as caught:
        [event async for event in connect(max_retries=0).stream("openai/m", ask("x"))]
    assert caught.value.code == "unavailable"


async def test_closing_a_stream_closes_the_connection(service, connect, ask):
    import asyncio

    gate = asyncio.Event()
    service.answer([sse(delta(content="a"), done=False), gate])
    stream = connect().stream("openai/m", ask("x"))
    async for event in stream:
        if event.type == "text_delta":
            break
    await asyncio.wait_for(stream.aclose(), 1)
    gate.set()


async def test_embeddings_keep_their_order_over_batches(service, connect):
    service.check = strict
    rows = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    service.answer({"data": rows, "model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    done = await connect().embed("openai/e", ["a", "b"], dimensions=1)
    assert done.vectors == [[1.0], [2.0]]
    assert service.requests[0]["body"] == {"model": "e", "input": ["a", "b"], "dimensions": 1}


async def test_models_are_listed_and_a_check_says_ok(service, connect):
    service.answer({"data": [{"id": "b"}, {"id": "a"}]})
    providers = connect()
    assert await providers.models("openai") == ["a", "b"]
    assert (await providers.check("openai"))["ok"] is True
    assert service.requests[0]["path"] == "/models"
