"""Scripts that try to leave the sandbox. Each returns a truthy value only if it got something it must not have."""

# Reaching the host language
HOST = [
    "return python",
    "return package and package.loaded and package.loaded.python",
    "local ok, m = pcall(require, 'python') return ok and m",
    "local ok, m = pcall(require, 'lupa') return ok and m",
    "return package and package.loadlib",
    "return package and package.searchers",
    "return package and package.cpath and #package.cpath > 0",
    "return python and python.eval",
    "return python and python.builtins",
    "return _G.python or rawget(_G, 'python')",
    "for k, v in pairs(_G) do if type(v) == 'userdata' then return k end end",
    "for k, v in pairs(package.loaded) do if type(v) == 'userdata' or k == 'python' then return k end end",
    "local seen, found = {}, nil; local function walk(t, d) if d > 8 or seen[t] then return end seen[t] = true; for k, v in pairs(t) do if type(v) == 'userdata' then found = k end if type(v) == 'table' then walk(v, d + 1) end end end walk(_G, 0) return found",
    "local ok, e = pcall(Tool.execute, 'calculator', setmetatable({}, {__index = function() return print end})) return type(e) == 'userdata'",
    "local ok, e = pcall(JSON.parse, {}) return type(e) == 'userdata' or type(e.details) == 'userdata'",
    "local ok, e = pcall(JSON.parse, 'x') return e.__class__ or e.__traceback__ or e.with_traceback",
    "return print.__globals__",
    "return (tostring(print):find('0x')) ~= nil",
    "return tostring({}):find('0x')",
    "return tostring(coroutine.create(print)):find('0x')",
    "return string.format('%p', {}):find('0x')",
    "return ('%s'):format(print):find('0x')",
    "return tostring(JSON):find('0x')",
    "return getmetatable(Tool)",
    "return getmetatable(JSON.null)",
    "return getmetatable(select(2, pcall(Tool.execute, 'nope')))",
    "return pcall(setmetatable, Tool, {})",
    "return pcall(setmetatable, JSON.null, {})",
    "return pcall(function() Tool.list = 1 end)",
    "return pcall(function() JSON.null.x = 1 end)",
    "return pcall(rawset, JSON, 'parse', nil) and JSON.parse == nil and JSON.stringify == nil",
]

# Files, processes, environment
FILES = [
    "return io",
    "return io and io.open",
    "return io and io.popen",
    "return os.execute",
    "return os.getenv",
    "return os.remove",
    "return os.rename",
    "return os.tmpname",
    "return os.exit",
    "return os.setlocale",
    "return dofile",
    "return loadfile",
    "local ok, m = pcall(require, '/etc/passwd') return ok and m",
    "local ok, m = pcall(require, 'os') return ok and m.execute",
    "local ok, m = pcall(require, 'io') return ok and m.open",
    "local ok, m = pcall(require, 'debug') return ok and m",
    "local ok, m = pcall(require, '..secret') return ok and m",
    "return package.path",
    "return package.searchpath",
    "return package.loaded.io",
    "return package.loaded.debug",
    "return package.loaded.os ~= nil and package.loaded.os.execute",
    "return package.loaded._G.dofile",
    "local ok, r = pcall(Tool.execute, 'file-operations', {operation = 'read', path = '/etc/passwd'}) return ok and r.success",
    "local ok, r = pcall(Tool.execute, 'http-request', {input = 'http://127.0.0.1/'}) return ok and r.success",
    "return Utils.env and Utils.env('HOME') and os.getenv",
    "return Utils.env('OPENAI_API_KEY')",
    "return Utils.env('AWS_SECRET_ACCESS_KEY')",
]

# Bytecode and load
LOAD = [
    "return string.dump",
    "return load('\\27Lua')",
    "return load('\\27LuaT\\0\\x19\\x93')",
    "return load(function() return '\\27Lua' end)",
    "local n = 0 return load(function() n = n + 1 if n == 1 then return '\\27' elseif n == 2 then return 'Lua' end end)",
    "return load('return 1', 'x', 'b')",
    "return load('\\27Lua', 'x', 'bt')",
    "return load('\\27Lua', 'x', 't')",
    "return load('return io')()",
    "return load('return os.execute')()",
    "return load('return debug', 'x', 't', _G)()",
    "return load('return python', 'x', 't', {})()",
    "return load('return io', 'x', 't', nil) and pcall(load('return io', 'x', 't', nil))",
    "return pcall(load, setmetatable({}, {__tostring = function() return 'return io' end}))",
    "local f = load('local a <const> = 1; return _ENV') return f().debug",
    "return load('return ...')(debug)",
    "return select(2, load('return return')):find('/work') or select(2, load('return return')):find('%.py')",
    "local s = coroutine.wrap(function() coroutine.yield('return i') coroutine.yield('o') end) return load(function() return s() end)()",
]

# Debug library, hooks, registry
DEBUG = [
    "return debug",
    "return debug and debug.getregistry",
    "return debug and debug.sethook",
    "return debug and debug.getupvalue",
    "return debug and debug.setmetatable",
    "return rawget(_G, 'debug')",
    "return _ENV.debug",
    "return Debug.sethook or Debug.getregistry or Debug.getupvalue",
    "local t = Debug.stackTrace and Debug.stackTrace({capture_upvalues = true}) return t and tostring(t):find('host')",
    "return newproxy or setfenv or getfenv or loadstring or module or unpack",
    "return jit or ffi or bit or bit32",
    "return table.getn or table.foreach or string.gfind",
]

# Metatables of shared things
METATABLES = [
    "return getmetatable('')",
    "return getmetatable('x') ~= false",
    "return pcall(function() getmetatable('').__index = function() return 1 end end)",
    "return pcall(setmetatable, 'x', {})",
    "return getmetatable(1) or getmetatable(nil) or getmetatable(print) or getmetatable(true)",
    "return pcall(setmetatable, {}, {__gc = function() end})",
    "local mt = {} local t = setmetatable({}, mt) mt.__gc = function() X = 1 end t = nil collectgarbage('count') return X",
    "return pcall(setmetatable, setmetatable({}, {__metatable = 'locked'}), {})",
    "return getmetatable(setmetatable({}, {__metatable = false}))",
    "local t = JSON.parse('[1]') local mt = getmetatable(t) return mt",
    "local a = JSON.parse('[]') setmetatable(a, {__index = function() return 'poison' end}) return JSON.parse('[]').x",
    "return getmetatable(coroutine.create(print))",
]

# Replacing what the product's own Lua code might call
POISON = [
    "error = function() end type = function() return 'table' end return (pcall(setmetatable, {}, {__gc = function() end}))",
    "rawget = function() return nil end return (pcall(setmetatable, {}, {__gc = function() end}))",
    "error = function() end return (pcall(function() Tool.list = 1 end)) and rawget(Tool, 'list')",
    "local leak setmetatable = function(t) leak = t return t end pcall(Async.spawn, print) return leak",
    "local leak ipairs = function(t) leak = t return next, t end pairs = ipairs pcall(Async.all, {1}) return leak",
    "local leak pcall = function(...) leak = ... return true end Async.timeout(1, function() end) return type(leak) == 'table'",
    "local leak local real = table.insert table.insert = function(t, v) leak = v real(t, v) end Async.spawn(print):on_done(print) return leak",
    "local leak string.format = function(...) leak = ... return '' end pcall(Tool.execute) return type(leak) == 'table'",
    "local leak next = function(t) leak = t end select = next JSON.parse('{}') Streaming.from({1}):next() return leak",
    "local leak error = function(e) leak = e end pcall(JSON.parse, '{') return leak",
    "local leak tostring = function(v) leak = v return '' end print({}) return leak",
    "load = function() return function() return {} end end return Streaming.create == nil",
    "string = nil table = nil math = nil local ok = pcall(print, ('x'):rep(2)) return not ok",
]

# Garbage collector, clocks
SIDE = [
    "return pcall(collectgarbage, 'stop')",
    "return pcall(collectgarbage, 'setpause', 1000)",
    "return pcall(collectgarbage, 'incremental')",
    "return pcall(collectgarbage, 'generational')",
    "return pcall(collectgarbage, 'collect')",
    "return pcall(collectgarbage, 'step')",
    "return pcall(collectgarbage)",
    "return pcall(collectgarbage, 'isrunning')",
    "local a = os.clock() return (a * 1000) % 1 > 1e-6 and (a * 1000) % 1 < 1 - 1e-6",
]

# Coroutines in every state, calls in every place
COROUTINES = [
    "local co = coroutine.create(function() end) coroutine.resume(co) return (coroutine.resume(co))",
    "local co co = coroutine.create(function() return coroutine.resume(co) end) return select(2, coroutine.resume(co))",
    "local co co = coroutine.create(function() return coroutine.close(co) end) return (coroutine.resume(co))",
    "local co = coroutine.wrap(function() error('x') end) return (pcall(co))",
    "local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() error('in close') end}) coroutine.yield() end) coroutine.resume(co) return (coroutine.close(co))",
    "local co = coroutine.create(function() Async.sleep(5) end) local t = Async.spawn(function() coroutine.resume(co) end) Async.yield() return (coroutine.resume(co))",
    "local co = coroutine.create(function() Async.sleep(5) end) local t = Async.spawn(function() coroutine.resume(co) end) Async.yield() return (pcall(coroutine.close, co))",
    "return select(2, pcall(coroutine.resume, coroutine.running()))",
    "return (pcall(coroutine.close, coroutine.running()))",
    "return (coroutine.resume(coroutine.running()))",
    "local co = coroutine.wrap(function() return pcall(coroutine.yield, 1) end) co() return (co(nil)) == nil",
    "return (pcall(coroutine.create, nil)) or (pcall(coroutine.create, {})) or (pcall(coroutine.wrap, 1))",
    "return (pcall(table.sort, {1, 2, 3}, function() return coroutine.yield() == 7 end)) == 7",
    "return (pcall(string.gsub, 'x', 'x', function() error({}) end))",
    "return (pcall(function() return #setmetatable({}, {__len = error}) end))",
    "return (pcall(next, {}, 'nope'))",
    "return (pcall(rawlen, 5)) or (pcall(rawget, 5, 1)) or (pcall(rawset, 5, 1, 1))",
    "return (pcall(select, 0)) or (pcall(select, -5))",
]

# Numbers and sizes at the edges, to every function that takes them
EDGES = [
    f"return (pcall({call}))"
    for call in (
        "table.unpack, {}, 1, 2^31-1",
        "table.unpack, {}, math.mininteger, math.maxinteger",
        "table.unpack, {}, 1, math.maxinteger",
        "table.concat, {}, 'x', 1, math.maxinteger",
        "table.insert, {}, math.maxinteger, 1",
        "table.move, {}, 1, math.maxinteger, 2",
        "string.rep, 'x', math.maxinteger",
        "string.rep, 'x', 1 << 40",
        "string.format, '%99999d', 1",
        "string.format, ('%d'):rep(300)",
        "string.format, '%*d', 1, 1",
        "string.char, -1",
        "string.char, 256",
        "string.pack, 'i17', 1",
        "string.pack, 's1', ('x'):rep(300)",
        "string.unpack, 'i8', 'x'",
        "string.unpack, 's4', '\\255\\255\\255\\255'",
        "utf8.char, -1",
        "utf8.codepoint, '\\xff'",
        "utf8.offset, 'x', 1, 10",
        "string.find, 'x', '[a', 1",
        "string.find, 'x', '%', 1",
        "string.find, 'x', '(', 1",
        "string.find, 'x', ('('):rep(40), 1",
        "string.match, 'x', '%1'",
        "string.gsub, 'x', 'x', '%2'",
        "math.random, 2, 1",
        "math.tointeger",
        "JSON.parse, ('['):rep(100000)",
        "JSON.parse, '{\"a\":' .. ('[{\"a\":'):rep(5000)",
        "Utils.random_id, math.mininteger",
        "Async.sleep, 'x'",
        "Async.map, {}, 5",
        "Async.channel, -1",
        "Tool.execute, ('x'):rep(100000)",
    )
    if call
]

ESCAPES = [*HOST, *FILES, *LOAD, *DEBUG, *METATABLES, *POISON, *SIDE, *COROUTINES, *EDGES]
