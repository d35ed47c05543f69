import json

import msgspec
import pytest

from llmspell.base.types import Media, Message, ToolCall
from llmspell.errors import NetworkError, ProviderError
from llmspell.providers import ModelRequest, ToolSchema

ADD = ToolSchema(name="math.add", description="Adds", parameters={"type": "object", "properties": {}})
DONE = {"model": "llama", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
        "prompt_eval_count": 3, "eval_count": 4}  # fmt: skip


def line(**message):
    return json.dumps({"model": "llama", "message": {"role": "assistant", **message}, "done": False}) + "\n"


def rendered(providers, request):
    providers.prepare("ollama/llama")
    provider = next(iter(providers._built.values()))
    return provider.render(msgspec.structs.replace(request, model="llama"))


async def test_a_full_request_is_rendered_to_these_bytes(connect):
    request = ModelRequest(
        messages=[
            Message(role="user", content="see", media=[Media(type="image", data=b"\x01", mime_type="image/png")]),
            Message(role="assistant", tool_calls=[ToolCall(id="c1", name="math.add", arguments={"a": 1})]),
            Message(role="tool", content="2", tool_call_id="c1", name="math.add"),
        ],
        tools=[ADD],
        temperature=0.5,
        max_tokens=9,
        stop=["END"],
        output_schema={"type": "object"},
    )
    out = rendered(connect("ollama", options={"keep_alive": "5m"}), request)
    assert out.url.endswith("/api/chat")
    assert out.body == (
        b'{"model":"llama","messages":[{"role":"user","content":"see","images":["AQ=="]},{"role":"assistant",'
        b'"content":"","tool_calls":[{"function":{"name":"math__add","arguments":{"a":1}}}]},{"role":"tool",'
        b'"content":"2","tool_name":"math__add"}],"stream":false,"tools":[{"type":"function","function":'
        b'{"name":"math__add","description":"Adds","parameters":{"type":"object","properties":{}}}}],"options":'
        b'{"temperature":0.5,"num_predict":9,"stop":["END"],"num_ctx":4096},"format":{"type":"object"},'
        b'"keep_alive":"5m"}'
    )


@pytest.mark.parametrize(
    ("size", "window", "options", "expected"),
    [(10, None, {}, 4096), (40_000, None, {}, 16384), (10, 2048, {}, 2048), (10, None, {"num_ctx": 512}, 512)],
)
async def test_the_context_window_is_always_stated_and_large_enough(connect, ask, size, window, options, expected):
    out = rendered(connect("ollama", options=options), ask("x" * size, context_window=window))
    assert json.loads(out.body)["options"]["num_ctx"] == expected


async def test_an_answer_comes_back_free_of_charge(service, connect, ask):
    service.answer({**DONE, "message": {"role": "assistant", "content": "hi", "thinking": "hm"}})
    answer = await connect("ollama").complete("ollama/llama", ask("x"))
    assert (answer.text, answer.reasoning, answer.usage.total_tokens, answer.usage.cost_usd) == ("hi", "hm", 7, 0.0)


async def test_a_stream_cut_into_bytes_is_read_whole(service, connect, ask):
    call = {"function": {"name": "math__add", "arguments": {"a": 1}}}
    wire = (line(content="Grü") + line(content="ße") + line(content="", tool_calls=[call]) + json.dumps(DONE)).encode()
    service.answer([wire[i : i + 1] for i in range(len(wire))])
    events = [e async for e in connect("ollama").stream("ollama/llama", ask("x", tools=[ADD]))]
    response = events[-1].response
    assert (response.text, response.finish_reason) == ("Grüße", "tool_calls")
    assert (response.tool_calls[0].name, response.tool_calls[0].arguments) == ("math.add", {"a": 1})
    assert [e.type for e in events[-2:]] == ["usage", "finish"]


@pytest.mark.parametrize("tail", ["", '{"model": "llama", "mess'])
async def test_a_stream_without_its_last_line_is_truncated(service, connect, ask, tail):
    service.answer([(line(content="half") + tail).encode()])
    with pytest.raises(NetworkError) as caught:
        [e async for e in connect("ollama").stream("ollama/llama", ask("x"))]
    assert caught.value.code == "stream_truncated"


async def test_a_missing_model_is_told(service, connect, ask):
    service.answer({"error": "model 'llama' not found"}, status=404)
    with pytest.raises(ProviderError, match="model 'llama' not found") as caught:
        await connect("ollama").complete("ollama/llama", ask("x"))
    assert caught.value.code == "model_not_found"


async def test_tags_and_embeddings_use_the_native_paths(service, connect):
    service.answer({"models": [{"name": "b:latest"}, {"name": "a:8b"}]})
    providers = connect("ollama")
    assert await providers.models("local") == ["a:8b", "b:latest"]
    service.answers.clear()
    service.answer({"model": "e", "embeddings": [[1.0], [2.0]], "prompt_eval_count": 2})
    assert (await providers.embed("ollama/e", ["a", "b"])).vectors == [[1.0], [2.0]]
    assert [request["path"] for request in service.requests] == ["/api/tags", "/api/embed"]
    service.answers.clear()
    service.answer({"model": "e", "embeddings": [[1.0]]})
    with pytest.raises(ProviderError, match="2 texts gave 1 vectors"):
        await providers.embed("ollama/e", ["a", "b"])
