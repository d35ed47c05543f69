import asyncio

import pytest

from llmspell.base.effects import Direct
from llmspell.base.types import Message
from llmspell.config.model import Provider as Settings
from llmspell.config.model import Providers as Section
from llmspell.errors import ConfigurationError, NetworkError, ProviderError, RateLimitError, ValidationError
from llmspell.providers import ModelRequest, Providers, Turns
from llmspell.providers._words import chunks


async def events_of(stream):
    return [event async for event in stream]


async def test_echo_returns_the_last_user_text_and_counts_words(offline, ask):
    answer = await offline.complete("echo/x", ask("hello there"))
    assert (answer.text, answer.finish_reason) == ("hello there", "stop")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cost_usd) == (2, 2, 0.0)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("upper", "AB C"),
        ("reverse", "c ba"),
        ("json", '{"input":"ab c","messages":1}'),
        ("context", '[{"role":"user","content":"ab c"}]'),
        ("anything", "ab c"),
    ],
)
async def test_echo_variants_change_the_text(offline, ask, model, text):
    assert (await offline.complete(f"echo/{model}", ask("ab c"))).text == text


@pytest.mark.parametrize("text", ["a b c", "  lead", "a\n\nb ", "", "   ", "ü  é"])
async def test_echo_streams_one_chunk_per_word_and_loses_nothing(offline, ask, text):
    events = await events_of(offline.stream("echo/x", ask(text)))
    deltas = [event.text for event in events if event.type == "text_delta"]
    assert "".join(deltas) == text
    assert deltas == chunks(text)
    assert [events[0].type, events[-2].type, events[-1].type] == ["start", "usage", "finish"]
    assert events[-1].response.text == text


async def test_a_script_plays_its_turns_in_order_and_then_is_exhausted(offline, ask):
    offline.scripted("t", ["one", {"text": "two", "finish_reason": "length"}])
    assert (await offline.complete("scripted/t", ask("a"))).text == "one"
    assert (await offline.complete("scripted/t", ask("b"))).finish_reason == "length"
    with pytest.raises(ProviderError, match=r"^scripted model: no reply left$") as caught:
        await offline.complete("scripted/t", ask("c"))
    assert (caught.value.code, caught.value.retryable) == ("script_exhausted", False)


async def test_a_looping_script_starts_over(offline, ask):
    offline.scripted("t", ["a", "b"], loop=True)
    assert [(await offline.complete("scripted/t", ask("x"))).text for _ in range(3)] == ["a", "b", "a"]


async def test_turns_are_claimed_once_each_by_concurrent_calls(offline, ask):
    offline.scripted("t", [{"text": str(i), "delay_ms": 1} for i in range(20)])
    answers = await asyncio.gather(*(offline.complete("scripted/t", ask("x")) for _ in range(20)))
    assert sorted(int(answer.text) for answer in answers) == list(range(20))


async def test_an_agents_own_turns_are_played_instead_of_the_named_script(offline, ask):
    first, second = Turns(["f1"]), Turns(["s1"])
    assert (await offline.complete("scripted/t", ask("x", script=first))).text == "f1"
    assert (await offline.complete("scripted/t", ask("x", script=second))).text == "s1"
    assert len(offline.scripted_log("t")) == 2


async def test_a_function_sees_the_request_and_gives_the_turn(offline):
    async def turn(request):
        return {"text": f"{request['n']} {request['messages'][-1]['content']} {request['tools'][0]['name']}"}

    offline.scripted("t", [turn])
    tools = [{"name": "add", "parameters": {"type": "object"}}]
    import msgspec

    from llmspell.providers import ToolSchema

    request = ModelRequest(
        messages=[Message(role="tool", content="5", tool_call_id="c1")], tools=msgspec.convert(tools, list[ToolSchema])
    )
    assert (await offline.complete("scripted/t", request)).text == "1 5 add"
    logged = offline.scripted_log("t")[0]
    assert logged["messages"] == [{"role": "tool", "content": "5", "tool_call_id": "c1"}]
    assert logged["model"] == "scripted/t"


async def test_scripted_tool_calls_end_with_the_reason_tool_calls(offline, ask):
    offline.scripted("t", [{"tool_calls": [{"name": "add", "arguments": {"a": 1}}, {"name": "b", "id": "k"}]}] * 2)
    answer = await offline.complete("scripted/t", ask("x"))
    assert answer.finish_reason == "tool_calls"
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("", "add", {"a": 1}),
        ("k", "b", {}),
    ]
    events = await events_of(offline.stream("scripted/t", ask("x")))
    assert [event.type for event in events] == [
        "start", "tool_call_start", "tool_call_delta", "tool_call_start", "tool_call_delta",
        "tool_call_end", "tool_call_end", "usage", "finish",
    ]  # fmt: skip
    assert events[-1].response.tool_calls[0].arguments == {"a": 1}


async def test_arguments_that_are_no_json_are_kept_as_written(offline, ask):
    offline.scripted("t", [{"tool_calls": [{"name": "a", "arguments": '{"x": 1,}'}]}])
    call = (await offline.complete("scripted/t", ask("x"))).tool_calls[0]
    assert (call.arguments, call.malformed) == ({}, '{"x": 1,}')


async def test_a_scripted_error_is_retried_with_the_next_turn(offline, ask):
    offline.scripted("t", [{"error": {"kind": "rate_limit", "message": "slow", "retry_after_ms": 1}}, "ok"])
    answer = await offline.complete("scripted/t", ask("x"))
    assert answer.text == "ok"
    assert answer.attempts[0]["kind"] == "rate_limit"


async def test_the_last_error_of_a_script_is_raised_itself(offline, ask):
    offline.scripted("t", [{"error": {"kind": "rate_limit", "message": "slow", "retry_after_ms": 1}}])
    with pytest.raises(RateLimitError, match="slow"):
        await offline.complete("scripted/t", ask("x"))


async def test_a_scripted_status_gives_the_error_of_that_status(offline, ask):
    offline.scripted("t", [{"error": {"status": 401, "message": "bad key"}}])
    with pytest.raises(ProviderError) as caught:
        await offline.complete("scripted/t", ask("x"))
    assert caught.value.code == "auth"


async def test_an_error_after_chunks_comes_after_them_and_is_not_retried(offline, ask):
    offline.scripted("t", [{"text": "a b c", "error": {"kind": "network", "message": "cut", "after_chunks": 2}}, "no"])
    got = []

    async def drain():
        nonlocal got
        async for event in offline.stream("scripted/t", ask("x")):
            got += [event.text]

    with pytest.raises(NetworkError, match="cut"):
        await drain()
    assert got == ["", "a ", "b "]


async def test_a_turn_that_expects_another_message_raises_script_mismatch(offline, ask):
    offline.scripted("t", [{"text": "x", "match": "^hi"}, {"text": "y", "match": "^hi"}])
    assert (await offline.complete("scripted/t", ask("hi there"))).text == "x"
    with pytest.raises(ProviderError) as caught:
        await offline.complete("scripted/t", ask("bye"))
    assert caught.value.code == "script_mismatch"


@pytest.mark.parametrize(
    "turn",
    [None, True, {"txt": "x"}, {"tool_calls": "x"}, {"tool_calls": [{}]}, {"finish_reason": "odd"}, {"error": 5}],
)
async def test_a_wrong_turn_is_a_validation_error_that_names_its_number(offline, ask, turn):
    offline.scripted("t", [turn])
    with pytest.raises(ValidationError, match="reply 1 of the scripted model"):
        await offline.complete("scripted/t", ask("x"))


async def test_chunks_usage_data_and_reasoning_of_a_turn_are_used(offline, ask):
    offline.scripted("t", [{"chunks": ["a", "b"], "usage": {"input_tokens": 7, "output_tokens": 1}, "reasoning": "hm"}])
    events = await events_of(offline.stream("scripted/t", ask("x")))
    assert [event.text for event in events if event.type == "text_delta"] == ["a", "b"]
    assert (events[-1].response.usage.input_tokens, events[-1].response.usage.total_tokens) == (7, 8)
    assert events[-1].response.reasoning == "hm"
    offline.scripted("t", [{"data": {"x": [1]}}])
    assert (await offline.complete("scripted/t", ask("x"))).text == '{"x":[1]}'


async def test_usage_is_counted_per_provider(offline, ask):
    await offline.complete("echo/x", ask("a b"))
    with pytest.raises(ProviderError):
        await offline.complete("scripted/none", ask("a"))
    assert offline.usage("echo") == {
        "requests": 1, "failures": 0, "input_tokens": 2, "output_tokens": 2, "cost_usd": 0.0,
    }  # fmt: skip
    assert offline.usage("scripted")["failures"] == 1
    assert offline.usage()["requests"] == 2


async def test_the_builtin_models_answer_a_check_without_network(offline):
    assert (await offline.check("echo"))["ok"] is True
    assert "upper" in await offline.models("echo")
    assert (await offline.check("openai"))["error"]["kind"] == "configuration"


def configured(scripts):
    table = Settings(scripts=scripts)
    return Providers(Section(defined={"scripted": table}), effects=Direct())


async def test_scripts_come_from_the_configuration_and_from_files(tmp_path, ask):
    as_json, as_toml = tmp_path / "s.json", tmp_path / "s.toml"
    as_json.write_text('["from json"]')
    as_toml.write_text('turns = [{text = "from toml"}]\nloop = true')
    providers = configured(
        {
            "a": {"turns": ["inline"]},
            "b": {"script_file": str(as_json)},
            "c": {"script_file": str(as_toml)},
            "d": ["list"],
        }
    )
    texts = [(await providers.complete(f"scripted/{name}", ask("x"))).text for name in "abcdc"]
    assert texts == ["inline", "from json", "from toml", "list", "from toml"]
    assert await providers.models("scripted") == ["a", "b", "c", "d"]


@pytest.mark.parametrize("entry", [5, {"loop": True}, {"script_file": "/nowhere/x.json"}])
async def test_a_wrong_script_in_the_configuration_names_its_key(ask, entry):
    with pytest.raises(ConfigurationError, match=r"providers\.scripted\.scripts\.a"):
        await configured({"a": entry}).complete("scripted/a", ask("x"))
