"""The library as a program outside uses it, wrongly and under pressure."""

import asyncio
import threading
import time
import types
from pathlib import Path

import pytest

import llmspell
from llmspell.errors import ComponentError, ConfigurationError, LLMSpellError


@pytest.fixture
async def app(tmp_path):
    async with llmspell.open(home=tmp_path / "home", cwd=tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (3, {}, "expected Lua text or a pathlib.Path, got int"),
        (None, {}, "got NoneType"),
        (Path("/absent.lua"), {}, "no script /absent.lua"),
        (Path("/"), {}, "cannot read the script /"),
        ("return 1", {"sandbox": "frob"}, "unknown sandbox profile 'frob'"),
        ("return 1", {"limits": {"frob": 1}}, "limits: frob"),
        ("return 1", {"limits": {"wall_time_ms": "x"}}, "wall_time_ms = 'x'"),
        ("return 1", {"limits": {"wall_time_ms": -1}}, "wall_time_ms = -1"),
        ("return 1", {"budget": {"frob": 1}}, "unknown budget key 'frob'"),
        ("return 1", {"budget": {"max_tokens": "x"}}, "max_tokens"),
        ("return 1", {"args": 5}, "args: expected a mapping or a list"),
        ("return 1", {"args": "abc"}, "args: expected a mapping or a list"),
    ],
)
async def test_a_wrong_argument_is_told_and_nothing_runs(app, source, options, said):
    with pytest.raises(LLMSpellError) as caught:
        await llmspell.run(source, app=app, **options)
    assert said in caught.value.message


async def test_sources_and_arguments_of_every_kind_run(app, tmp_path):
    (tmp_path / "s.lua").write_text("return ARGS[1]")
    assert (await llmspell.run(tmp_path / "s.lua", app=app, args=["a"])).value == "a"
    assert (await llmspell.run(b"return '\xff'", app=app)).value == b"\xff"
    table = types.MappingProxyType({"a": 1})
    assert (await llmspell.run("return ARGS.a", app=app, args=table)).value == 1


@pytest.mark.parametrize(
    "options", [{"agents__max_tol": 3}, {"agents__max_tool_calls": "x"}, {"config": "/absent.toml"}]
)
async def test_a_wrong_configuration_is_told(tmp_path, options):
    with pytest.raises(ConfigurationError):
        async with llmspell.open(home=tmp_path, **options):
            pass


async def test_a_closed_app_runs_nothing(tmp_path):
    async with llmspell.open(home=tmp_path) as app:
        pass
    with pytest.raises(ComponentError, match="closed"):
        await llmspell.run("return 1", app=app)


@pytest.mark.parametrize("thread", [True, False])
@pytest.mark.parametrize("code", ["Utils.sleep(9000)", "while true do pcall(Utils.sleep, 1) end"])
async def test_cancelling_ends_the_spell_whatever_it_catches(app, code, thread):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await llmspell.run(code, app=app, sandbox="standard", thread=thread)
    assert time.monotonic() - began < 3


async def test_two_apps_on_one_home_see_each_other(tmp_path):
    async with llmspell.open(home=tmp_path) as one, llmspell.open(home=tmp_path) as two:
        one.state.save("global", "k", 1)
        assert two.state.load("global", "k") == 1


def test_run_sync_works_in_threads_and_inside_a_loop(tmp_path):
    found = []

    async def spell(number):
        async with llmspell.open(home=tmp_path) as app:
            return (await llmspell.run(f"return {number}", app=app)).value

    threads = [
        threading.Thread(target=lambda number=number: found.append(llmspell.run_sync(spell(number))))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]

    async def outer():
        return llmspell.run_sync(spell(5))

    assert asyncio.run(outer()) == 5


def test_run_sync_inside_itself_is_refused_and_does_not_hang():
    async def nothing():
        return 1

    async def nested():
        work = nothing()
        try:
            return llmspell.run_sync(work)
        finally:
            work.close()

    with pytest.raises(ComponentError, match="wait for itself"):
        llmspell.run_sync(nested())


async def test_tools_and_state_of_an_app_refuse_wrong_types(app):
    with pytest.raises(LLMSpellError, match="frob"):
        await app.tools.call("frob", {}, llmspell.Context())
    with pytest.raises(LLMSpellError, match="named parameters"):
        await app.tools.call("calculator", [1], llmspell.Context())
    with pytest.raises(LLMSpellError):
        app.state.save("global", "k", object())


@pytest.mark.parametrize("make", [lambda: llmspell.VectorIndex(0), lambda: llmspell.VectorIndex(3, "frob")])
def test_an_impossible_index_is_refused(make):
    with pytest.raises(LLMSpellError):
        make()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda index: index.add([1], [[1, 2]]),
        lambda index: index.add([1], [[1, 2, float("nan")]]),
        lambda index: index.add([1], [[0, 0, 0]]),
        lambda index: index.add([-1], [[1, 2, 3]]),
        lambda index: index.add([1, 2], [[1, 2, 3]]),
        lambda index: index.search([1, 2], 1),
        lambda index: index.search([1, 2, 3], 0),
    ],
)
def test_an_index_refuses_wrong_rows_and_keeps_nothing_of_them(wrong):
    index = llmspell.VectorIndex(3)
    with pytest.raises(LLMSpellError):
        wrong(index)
    assert len(index.search([1, 2, 3], 5).keys) == 0
