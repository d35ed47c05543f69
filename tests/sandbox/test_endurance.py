"""The process survives tight memory, interrupts at any moment, and many interpreters; the state stays usable."""

import asyncio
import io
import random
import resource
import threading

import pytest

from llmspell.app import App
from llmspell.config import Config
from llmspell.lua.engine import Interpreter

MIX = """
local seen = {}
local function try(f, ...) seen[#seen + 1] = tostring((pcall(f, ...))) end
try(function() local t = {} for i = 1, 500 do t[i] = {i, tostring(i)} end return JSON.stringify(t) end)
try(function() return JSON.parse('[' .. ('{"a":[1,2,3]},'):rep(200) .. '1]') end)
try(function() return ("abc"):rep(2000):gsub("b", function(x) return x .. x end) end)
try(function() return JSON.stringify(setmetatable({}, {__tojson = function() error({JSON.stringify({1})}) end})) end)
try(function() return JSON.stringify(setmetatable({}, {__tojson = function() Async.sleep(0) return {1} end})) end)
try(function() return tostring(setmetatable({}, {__tostring = function() return JSON.stringify({("x"):rep(999)}) end})) end)
try(function() local co = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(JSON.parse('[' .. i .. ']')) end end) for i = 1, 12 do co() end end)
try(function() return Async.map({1, 2, 3, 4}, function(i) Async.sleep(0) return ("y"):rep(i * 1000) end) end)
try(function() error(setmetatable({}, {__tostring = function() return ("z"):rep(20000) end})) end)
try(function() local t = {} for i = 1, 900 do t[i] = i % 17 end table.sort(t, function(a, b) return a < b end) return table.concat(t, ",") end)
try(function() return xpcall(function() error({}) end, function(e) return JSON.stringify(("q"):rep(5000)) end) end)
try(function() return load("return " .. ("1 + "):rep(300) .. "1")() end)
try(function() return Streaming.from({1, 2, 3}):map(function(x) return x * 2 end):collect() end)
return #seen
"""
AFTER = "local t = {} for i = 1, 10 do t[i] = i end return #t, ('x'):upper(), JSON.stringify({1})"


def make(home, **limits):
    app = App(Config(), home=home, cwd=home)
    return app, Interpreter(app, profile="full", limits=limits, stdout=io.BytesIO(), stderr=io.BytesIO())


def test_a_refused_allocation_at_any_place_never_ends_the_process(tmp_path):
    app = App(Config(), home=tmp_path, cwd=tmp_path)

    async def go():
        finished = refused = 0
        for limit in range(200_000, 900_000, 9_973):
            try:
                interp = Interpreter(app, profile="full", limits={"memory_bytes": limit, "wall_time_ms": 5000})
            except Exception:  # the limit is below what the prelude itself needs
                refused += 1
                continue
            outcome = await interp.run(MIX)
            assert outcome.error is None or outcome.error.kind in ("resource_limit", "script"), outcome.error
            finished += outcome.error is None
            refused += outcome.error is not None
            await interp.close()
        return finished, refused

    finished, _refused = asyncio.run(go())
    assert finished > 10


def test_an_interrupt_at_any_moment_leaves_the_state_usable(tmp_path):
    _app, interp = make(tmp_path, wall_time_ms=5000)
    rng = random.Random(7)

    async def go():
        stopped = 0
        for _ in range(60):
            timer = threading.Timer(rng.random() * 0.008, interp.interrupt)
            timer.start()
            outcome = await interp.run(MIX)
            timer.join()
            stopped += outcome.error is not None
            assert outcome.error is None or outcome.error.code == "interrupted", outcome.error
            after = await interp.run(AFTER)
            if after.error is None:
                assert after.values == [10, "X", "[1]"]
        after = await interp.run(AFTER)
        assert after.values == [10, "X", "[1]"], after.error
        await interp.close()
        return stopped

    assert asyncio.run(go()) > 5


@pytest.mark.parametrize(
    "source",
    [
        "return 1",
        "Async.spawn(function() Async.sleep(1e6) end) Async.yield()",
        "local t = {} t.t = t return JSON.parse('[1]')",
    ],
)
def test_opening_and_closing_interpreters_leaks_nothing(source, tmp_path):
    app = App(Config(), home=tmp_path, cwd=tmp_path)

    async def cycle(times):
        for _ in range(times):
            interp = Interpreter(app, profile="safe", stdout=io.BytesIO(), stderr=io.BytesIO())
            await interp.run(source)
            await interp.close()

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    asyncio.run(cycle(60))
    before = peak()
    asyncio.run(cycle(150))
    assert peak() - before < 6_000  # KiB; one state is about 400


@pytest.mark.parametrize(
    "source",
    [
        "os.exit(3)",
        "pcall(os.exit, 3)",
        "pcall(pcall, function() os.exit(3) end) while true do end",
        "coroutine.wrap(function() os.exit(3) end)() print('no')",
        "coroutine.resume(coroutine.create(function() pcall(os.exit, 3) end)) print('no')",
        "Async.spawn(function() os.exit(3) end):await() print('no')",
        "Async.spawn(function() os.exit(3) end) Async.sleep(10000)",
        "do local x <close> = setmetatable({}, {__close = function() os.exit(3) end}) end print('no')",
        "table.sort({2, 1}, function() os.exit(3) end) print('no')",
        "string.gsub('x', 'x', function() os.exit(3) end) print('no')",
        "xpcall(error, function() os.exit(3) end) print('no')",
        "Async.map({1, 2}, function() os.exit(3) end) print('no')",
    ],
)
async def test_os_exit_ends_the_run_from_anywhere(source, tmp_path):
    app = App(Config(), home=tmp_path, cwd=tmp_path)
    out = io.BytesIO()
    interp = Interpreter(app, profile="standard", limits={"wall_time_ms": 3000}, stdout=out, stderr=io.BytesIO())
    outcome = await interp.run(source)
    assert (outcome.exit_code, outcome.error, out.getvalue()) == (3, None, b"")
    assert (await interp.run(AFTER)).values == [10, "X", "[1]"]
    await interp.close()
    await app.close()
