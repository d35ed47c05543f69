"""Channels, semaphores and time limits of Async lose nothing and end when they say."""

import io

import pytest

from llmspell.app import App
from llmspell.config import Config
from llmspell.lua.engine import Interpreter


async def result(source, home):
    app = App(Config(), home=home, cwd=home)
    interp = Interpreter(app, limits={"wall_time_ms": 3000}, stdout=io.BytesIO(), stderr=io.BytesIO())
    outcome = await interp.run(source, "=s")
    await interp.close()
    await app.close()
    assert outcome.error is None, outcome.error
    return outcome.values


@pytest.mark.parametrize("capacity", [0, 1, 5])
async def test_false_travels_over_a_channel(capacity, tmp_path):
    source = f"""
    local c = Async.channel({capacity})
    local t = Async.spawn(function() return c:receive(), c:receive() end)
    Async.yield() c:send(false) c:send(2)
    return t:await()
    """
    assert await result(source, tmp_path) == [False, 2]


async def test_a_cancelled_receiver_gives_back_what_it_was_sent(tmp_path):
    source = """
    local c = Async.channel(1)
    local t = Async.spawn(function() return c:receive() end)
    Async.sleep(2)
    c:send("kept")
    t:cancel()
    Async.sleep(2)
    return t:status(), c:receive(50)
    """
    status, value = await result(source, tmp_path)
    assert (status, value) in (("cancelled", "kept"), ("done", None))


async def test_a_cancelled_waiter_gives_its_permit_back(tmp_path):
    source = """
    local s = Async.semaphore(1)
    s:acquire()
    local t = Async.spawn(function() s:acquire() end)
    Async.sleep(2)
    s:release()
    t:cancel()
    Async.sleep(2)
    if t:status() == "done" then s:release() end
    return s:acquire(50)
    """
    assert await result(source, tmp_path) == [True]


@pytest.mark.parametrize(
    "call",
    [
        "Async.all(list, {timeout_ms = 60})",
        "Async.map({1, 2, 3, 4}, function(i) Async.sleep(i * 40) end, {timeout_ms = 60})",
    ],
)
async def test_a_time_limit_is_one_for_all_items(call, tmp_path):
    source = f"""
    local list = {{}}
    for i = 1, 4 do list[i] = function() Async.sleep(i * 40) return i end end
    local ok, e = pcall(function() return {call} end)
    return ok, not ok and e.kind
    """
    assert await result(source, tmp_path) == [False, "timeout"]


async def test_settled_never_raises_also_when_time_runs_out(tmp_path):
    source = """
    local r = Async.settled({function() return 1 end, function() Async.sleep(2000) end}, {timeout_ms = 30})
    return r[1].ok, r[1].value, r[2].ok, r[2].error.kind
    """
    assert await result(source, tmp_path) == [True, 1, False, "timeout"]


async def test_cancelling_the_caller_of_settled_is_not_swallowed(tmp_path):
    source = """
    local t = Async.spawn(function() Async.settled({function() Async.sleep(2000) end}, {timeout_ms = 1500}) end)
    Async.sleep(5)
    t:cancel()
    Async.sleep(20)
    return t:status()
    """
    assert await result(source, tmp_path) == ["cancelled"]
