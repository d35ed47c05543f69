"""Scripts that try to use up time, memory, output or tasks. Each must end within its limit and leave the state usable."""

LOOPS = [
    "while true do end",
    "for i = 1, math.huge do end",
    "goto a ::a:: goto a",
    "repeat until false",
    "while true do pcall(function() while true do end end) end",
    "while true do xpcall(function() while true do end end, function(e) return e end) end",
    "xpcall(function() while true do end end, function() while true do end end)",
    "while true do xpcall(error, function() while true do end end) end",
    "while true do local c = coroutine.wrap(function() while true do end end) pcall(c) end",
    "while true do coroutine.wrap(function() end)() end",
    "while true do local c = coroutine.create(function() coroutine.yield() end) coroutine.resume(c) coroutine.close(c) end",
    "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end",
    "local t = setmetatable({}, {__eq = function() while true do end end}) return t == setmetatable({}, getmetatable(t))",
    "local t = setmetatable({}, {__close = function() while true do end end}) do local x <close> = t end",
    "while true do local x <close> = setmetatable({}, {__close = function() while true do end end}) error('x') end",
    "for _ in (function() return 1 end) do end",
    "local t = setmetatable({}, {__lt = function() while true do end end}) table.sort({t, setmetatable({}, getmetatable(t))})",
    "table.sort({3, 1, 2}, function() while true do end end)",
    "string.gsub('x', 'x', function() while true do end end)",
    "load(function() while true do end end)",
    "while true do load('return 1')() end",
    "while true do coroutine.yield() end",
    "while true do Async.yield() end",
    "while true do Async.sleep(0) end",
    "Async.sleep(100000)",
    "while true do pcall(Async.sleep, 100000) end",
    "Async.all{function() while true do end end}",
    "Async.spawn(function() while true do Async.yield() end end) Async.sleep(100000)",
    "local t t = Async.spawn(function() pcall(Async.sleep, 100000) while true do end end) t:await()",
    "Async.channel():receive()",
    "Async.semaphore(1):with(function() Async.sleep(100000) end)",
    "for v in Streaming.create(function() while true do Streaming.yield(1) end end) do end",
    "local s = Streaming.create(function() while true do end end) s:next()",
    "while true do pcall(error) end",
    "while true do pcall(Tool.execute, 'nope') end",
    "while true do JSON.stringify({1, 2, 3}) end",
]

PATTERNS = [
    "return (('a'):rep(28)):find(('a?'):rep(28) .. ('a'):rep(28))",
    "return (('a'):rep(30000)):find('.-.-.-.-b')",
    "return (('a'):rep(30000)):match('^(.-)(.-)(.-)(.-)$x')",
    "return (('a'):rep(30000)):gsub('.-.-.-.-b', '')",
    "for w in (('a'):rep(30000)):gmatch('.-.-.-b') do end",
    "return (('a'):rep(20 << 20)):find(('a'):rep(10 << 20) .. 'b', 1, true)",
    "return (('('):rep(200000)):find('%b()%b()%b()')",
    "return (('x '):rep(20000)):gsub('%f[%w].-%f[%W].-y', '')",
    "return (('a'):rep(3000)):find('(a*)*b') or (('a'):rep(30000)):find('a*a*a*a*b')",
]

TABLES = [
    "table.insert(setmetatable({}, {__len = function() return 1 << 52 end}), 1, 1)",
    "table.remove(setmetatable({}, {__len = function() return 1 << 52 end}), 1)",
    "table.concat(setmetatable({}, {__len = function() return 1 << 22 end, __index = function() return 'x' end, }), '', 1, 1 << 22) while true do end",
    "table.move({}, 1, 1 << 52, 2)",
    "table.move(setmetatable({}, {__index = function() return 1 end}), 1, 1 << 52, 1, {})",
    "table.sort(setmetatable({}, {__len = function() return 1 << 24 end, __index = function() return 1 end}))",
    "return #table.pack(table.unpack(setmetatable({}, {__index = function() while true do end end}), 1, 10))",
]

MEMORY = [
    "return ('x'):rep(1e9)",
    "return ('x'):rep(1 << 40)",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
    "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "local t = {} for i = 1, 1e9 do t[i] = function() return i end end",
    "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) end",
    "local t = {} for i = 1, 1e9 do t['k' .. i] = i end",
    "return (('a'):rep(1000000):gsub('a', ('b'):rep(1000)))",
    "return (('a'):rep(1000000):gsub('a', function() return ('b'):rep(1000) end))",
    "local t = {} for i = 1, 100000 do t[i] = ('x'):rep(10000) .. i end return table.concat(t)",
    "local function f() return 1 + f() end return f()",
    "local function f(...) return f(1, ...) end return f()",
    "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
    "local s = ('x'):rep(30 << 20) return s:upper() .. s:lower() .. s:reverse()",
    "return string.format(('%s'):rep(100), table.unpack((function() local t = {} for i = 1, 100 do t[i] = ('x'):rep(1 << 20) end return t end)()))",
    "return JSON.stringify((function() local t = {} for i = 1, 1e7 do t[i] = 'xxxxxxxxxx' .. i end return t end)())",
    "local t = {} while true do t = {t} end",
    "return load('return {' .. ('1,'):rep(20000000) .. '}')()",
    "return load('local a = \"' .. ('x'):rep(20 << 20) .. '\" return a .. a .. a .. a')()",
]

CLEAN = [
    "return load(('('):rep(100000) .. '1' .. (')'):rep(100000))()",
    "return load('return ' .. ('-'):rep(200000) .. '1')()",
    "return load('return 1' .. (' .. 1'):rep(200000))()",
    "return load(('a.'):rep(100000) .. 'b = 1')()",
    "table.sort((function() local t = {} for i = 1, 2000 do t[i] = i % 7 end return t end)(), function() return true end) error('done')",
    "error(setmetatable({}, {__tostring = function() error('again') end}))",
    "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "string.format('%99999d', 1)",
    "local t = {} t.t = t return JSON.stringify(t)",
    "local t = {} for i = 1, 200 do t = {t} end return JSON.stringify(t)",
    "return pcall(string.rep)",
]

OUTPUT = [
    "while true do print(('x'):rep(1000)) end",
    "while true do pcall(print, ('x'):rep(1000)) end",
    "while true do Utils.write('x') end",
]

TASKS = [
    "for i = 1, 1e6 do Async.spawn(function() Async.sleep(1e6) end) end",
    "local function f() Async.spawn(f) Async.spawn(f) end f() Async.sleep(1e6)",
]
