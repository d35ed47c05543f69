"""A script may wait wherever it runs Lua code, and a cancellation or a time limit reaches it there."""

import io

import pytest

from llmspell.app import App
from llmspell.config import Config
from llmspell.lua.engine import Interpreter

# Each is an expression-like chunk in which W(x) is called somewhere and finally gives x; it must return 7.
PLACES = {
    "plain": "return W(7)",
    "pcall": "local _, v = pcall(W, 7) return v",
    "nested pcall": "local _, _, v = pcall(pcall, function() return W(7) end) return v",
    "xpcall body": "local _, v = xpcall(W, print, 7) return v",
    "after an error": "pcall(error, 'x') return W(7)",
    "__index": "return setmetatable({}, {__index = function() return W(7) end}).x",
    "__newindex": "local t = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k, W(v)) end}) t.x = 7 return t.x",
    "__call": "return setmetatable({}, {__call = function(_, v) return W(v) end})(7)",
    "__add": "return setmetatable({}, {__add = function(_, v) return W(v) end}) + 7",
    "__unm": "return -setmetatable({}, {__unm = function() return W(7) end})",
    "__len": "return #setmetatable({}, {__len = function() return W(7) end})",
    "__concat": "return setmetatable({}, {__concat = function() return W(7) end}) .. 'x'",
    "__eq": "local mt = {__eq = function() return W(true) end} return setmetatable({}, mt) == setmetatable({}, mt) and 7",
    "__lt": "local mt = {__lt = function() return W(true) end} return setmetatable({}, mt) < setmetatable({}, mt) and 7",
    "__le": "local mt = {__le = function() return W(true) end} return setmetatable({}, mt) <= setmetatable({}, mt) and 7",
    "__close": "local v do local c <close> = setmetatable({}, {__close = function() v = W(7) end}) end return v",
    "__close on error": "local v pcall(function() local c <close> = setmetatable({}, {__close = function() v = W(7) end}) error('x') end) return v",
    "iterator": "for v in function() return W(7) end do return v end",
    "__pairs": "for k, v in pairs(setmetatable({}, {__pairs = function() return function(_, k) if not k then return 1, W(7) end end end})) do return v end",
    "sort": "local t = {3, 1, 2} table.sort(t, function(a, b) return W(a < b) end) return t[1] * 4 + t[3]",
    "sort by __lt": "local mt = {__lt = function(a, b) return W(a[1] < b[1]) end} local t = {} for i = 1, 3 do t[i] = setmetatable({8 - i}, mt) end table.sort(t) return t[3][1]",
    "gsub function": "return tonumber((('x'):gsub('x', function() return W('7') end)))",
    "gsub table": "return tonumber((('x'):gsub('x', setmetatable({}, {__index = function() return W('7') end}))))",
    "gmatch loop": "local n = 0 for a in ('abc'):gmatch('.') do n = W(n + 1) end return n + 4",
    "table.insert": "local t = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k, W(v)) end}) table.insert(t, 7) return t[1]",
    "table.concat": "return tonumber(table.concat(setmetatable({}, {__len = function() return 1 end, __index = function() return W('7') end})))",
    "table.unpack": "return (table.unpack(setmetatable({}, {__len = function() return W(1) end, __index = function() return W(7) end})))",
    "table.move": "return table.move(setmetatable({}, {__index = function() return W(7) end}), 1, 1, 1, {})[1]",
    "wrap": "return coroutine.wrap(function() return W(7) end)()",
    "wrap five deep": "local f = function() return W(7) end for i = 1, 5 do local g = f f = function() return coroutine.wrap(g)() end end return f()",
    "generator": "local sum = 0 for v in coroutine.wrap(function() for i = 1, 3 do W(i) coroutine.yield(i) end end) do sum = sum + W(v) end return sum + 1",
    "resume": "local _, v = coroutine.resume(coroutine.create(function() return W(7) end)) return v",
    "pcall in coroutine": "return coroutine.wrap(function() local _, v = pcall(function() return W(7) end) return v end)()",
    "load": "return load('return W(7)')()",
    "load reader": "local given = false return load(function() if given then return nil end given = true return W('return 7') end)()",
    "require": "package.preload.waits = function() return W(7) end return require('waits')",
    "task": "return Async.spawn(function() return W(7) end):await()",
    "task in coroutine": "return coroutine.wrap(function() return Async.spawn(W, 7):await() end)()",
    "map": "return Async.map({7}, W)[1]",
    "timeout": "return Async.timeout(5000, W, 7)",
    "stream": "return Streaming.create(function() Streaming.yield(W(7)) end):next()",
    "stream map": "return Streaming.from({7}):map(W):collect()[1]",
    "on_done": "local v local t = Async.spawn(function() end) t:on_done(function() v = W(7) end) t:await() Async.sleep(20) return v",
    "with": "return Async.mutex():with(W, 7)",
    "tool": "Tool.register('waits', function(p) return W(p.v) end, {type = 'object', properties = {v = {type = 'integer'}}}) return Tool.execute('waits', {v = 7}).result",
}  # fmt: skip
WAIT = "function W(v) Async.sleep(1) return v end "
FAIL = "function W(v) Async.sleep(1) error({code = 7}) end "
LONG = "function W(v) Async.sleep(1e7) return v end "


async def run(source, home, wall=4000):
    app = App(Config(), home=home, cwd=home)
    out = io.BytesIO()
    interp = Interpreter(app, profile="standard", limits={"wall_time_ms": wall}, stdout=out, stderr=io.BytesIO())
    outcome = await interp.run(source, "=s")
    after = await interp.run("Async.sleep(0) return 1 + 1", "=after")
    assert after.values == [2], after.error
    await interp.close()
    await app.close()
    return outcome


@pytest.mark.parametrize("place", PLACES)
async def test_a_script_may_wait_there(place, tmp_path):
    outcome = await run(WAIT + PLACES[place], tmp_path)
    assert outcome.error is None, outcome.error
    assert outcome.values[0] == 7


@pytest.mark.parametrize("place", PLACES)
async def test_an_error_after_the_wait_arrives_as_the_value_it_was(place, tmp_path):
    source = (
        FAIL
        + f"local ok, e = pcall(function() {PLACES[place]} end) return ok and 'caught inside' or type(e) == 'table' and e.code or tostring(e)"
    )
    outcome = await run(source, tmp_path)
    assert outcome.error is None, outcome.error
    assert outcome.values[0] in (7, "caught inside") or place in ("tool", "load reader"), outcome.values


@pytest.mark.parametrize("place", PLACES)
async def test_cancelling_the_task_ends_the_wait_there(place, tmp_path):
    source = (
        LONG
        + f"local t = Async.spawn(function() {PLACES[place]} end) Async.sleep(5) t:cancel() for i = 1, 100 do if t:is_done() then break end Async.sleep(2) end return t:is_done()"
    )
    outcome = await run(source, tmp_path)
    assert outcome.error is None, outcome.error
    assert outcome.values[0] is True


@pytest.mark.parametrize("place", PLACES)
async def test_the_wall_limit_ends_the_wait_there(place, tmp_path):
    outcome = await run(LONG + PLACES[place] + " ", tmp_path, wall=60)
    if place == "on_done":
        return  # the main chunk does not wait for it
    assert outcome.error is not None
    assert outcome.error.kind == "resource_limit"
    assert outcome.error.details["resource"] == "wall_time_ms"


async def test_errors_of_every_type_cross_a_callback_unchanged(tmp_path):
    source = """
    local values = {"text", 5, 2.5, true, false, {}, setmetatable({}, {__tostring = function() return "obj" end}), print, coroutine.create(print)}
    local bad = {}
    for i, v in ipairs(values) do
      local _, e = pcall(State.transaction, function() error(v, 0) end)
      if not rawequal(e, v) then bad[#bad + 1] = "transaction " .. i end
      local t = Async.spawn(function() Async.sleep(0) error(v, 0) end)
      _, e = pcall(t.await, t)
      if not rawequal(e, v) then bad[#bad + 1] = "task " .. i end
      _, e = pcall(Async.map, {1}, function() Async.sleep(0) error(v, 0) end)
      if not rawequal(e, v) then bad[#bad + 1] = "map " .. i end
    end
    local ok, e = pcall(Async.map, {1}, function() error() end)
    if ok or e ~= nil then bad[#bad + 1] = "nil" end
    ok, e = pcall(State.transaction, function() error() end)
    if ok or e ~= nil then bad[#bad + 1] = "nil transaction" end
    return table.concat(bad, ", ")
    """
    outcome = await run(source, tmp_path)
    assert outcome.error is None, outcome.error
    assert outcome.values == [""]


async def test_a_coroutine_that_waits_cannot_be_resumed_or_closed_by_another_task(tmp_path):
    source = """
    local co = coroutine.create(function() Async.sleep(20) return "end" end)
    local t = Async.spawn(function() return coroutine.resume(co) end)
    Async.yield()
    local a, b = coroutine.resume(co)
    local c, d = pcall(coroutine.close, co)
    local status = coroutine.status(co)
    return a, b, c, d, status, select(2, t:await()), coroutine.status(co)
    """
    outcome = await run(source, tmp_path)
    assert outcome.values == [
        False, "cannot resume non-suspended coroutine", False, "cannot close a normal coroutine", "normal", "end", "dead",
    ]  # fmt: skip
