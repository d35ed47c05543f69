"""The global `Provider`, seen from a spell."""

import io

import pytest

from llmspell.app import App
from llmspell.config.model import Config
from llmspell.lua.engine import Interpreter


@pytest.fixture
async def run(tmp_path):
    async def go(source):
        out = io.BytesIO()
        app = App(Config(), home=tmp_path)
        interpreter = Interpreter(app, profile="safe", stdout=out)
        outcome = interpreter.begin(source, "=spell") or await interpreter.finish()
        await interpreter.close()
        await app.close()
        assert outcome.error is None, outcome.error
        return out.getvalue().decode()

    return go


async def test_listing_shows_names_that_behave_like_text(run):
    source = """
    print(table.concat(Provider.list{builtin = true}, ","), #Provider.list(), Provider.get("nope"))
    print(Provider.get("claude") == Provider.get("anthropic"), tostring(Provider.get("grok")), Provider.default())
    print(Provider.isAvailable("echo"), Provider.is_available("openai"), Provider.getCapabilities("nope"))
    print(Provider.get("openai").capabilities.supports_tools, Provider.get("openai").default_model)
    """
    assert await run(source) == ("echo,scripted\t0\tnil\ntrue\txai\tnil\ntrue\tfalse\tnil\ntrue\tgpt-4o-mini\n")


async def test_complete_takes_a_text_or_a_table_and_gives_a_result(run):
    source = """
    local r = Provider.complete("echo/upper", "hi there")
    print(r.text, r .. "!", r.usage.input_tokens, r.finish_reason)
    print(Provider.complete("echo/json", {system = "s", prompt = "42"}).data.messages)
    print(select(2, pcall(Provider.complete, "echo/x", {promt = "x"})).message)
    print(select(2, pcall(Provider.complete, "echo/x", {prompt = "x", temperature = "warm"})).kind)
    print(select(2, pcall(Provider.complete, "openai/x", "x")).details.code)
    print(select(2, pcall(Provider.embed, "echo/x", "x")).details.code)
    """
    assert await run(source) == (
        "HI THERE\tHI THERE!\t2\tstop\n2\nProvider.complete: unknown option 'promt', did you mean 'prompt'?\n"
        "validation\nmissing_key\nunsupported\n"
    )


async def test_scripted_models_play_functions_and_log_their_requests(run):
    source = """
    Provider.scripted("t", {"one", function(q) return "two " .. q.n .. " " .. q.messages[#q.messages].content end})
    local p = Provider.complete; print(p("scripted/t", "a").text, p("scripted/t", "zz").text)
    print(pcall(Provider.complete, "scripted/t", "x"))
    local log = Provider.scripted_log("t"); print(#log, log[2].messages[1].content, Provider.usage("scripted").failures)
    Provider.scripted("l", {"a", "b"}, {loop = true})
    local s = ""; for i = 1, 3 do s = s .. Provider.complete("scripted/l", "x").text end; print(s)
    """
    assert await run(source) == ("one\ttwo 2 zz\nfalse\tprovider error: scripted model: no reply left\n2\tzz\t1\naba\n")


async def test_an_error_value_of_a_scripted_function_crosses_unchanged(run):
    source = """
    Provider.scripted("e", {function() error({x = 1}) end})
    print(select(2, pcall(Provider.complete, "scripted/e", "x")).x)
    """
    assert await run(source) == "1\n"


async def test_a_check_answers_in_a_table_and_never_raises(run):
    source = """
    local ok, bad = Provider.check("echo"), Provider.check("openai")
    print(ok.ok, math.type(ok.latency_ms), bad.ok, bad.error.kind, table.concat(Provider.models("echo"), ","))
    """
    assert await run(source) == "true\tinteger\tfalse\tconfiguration\tcontext,echo,json,reverse,upper\n"
