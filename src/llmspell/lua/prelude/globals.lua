-- API tables. Each is a read-only face that asks the host for its methods when first touched, so that a script pays
-- only for what it uses. Also: the library that companion chunks get, and the pruning of the stock globals.
local P = ...
local C, profile = P.C, P.profile
local setmt, getmt, tostr = C.set_raw_metatable, C.raw_metatable, C.tostring
local type, select, rawget, rawset, rawequal, next, error = type, select, rawget, rawset, rawequal, next, error
local debug = debug
local traceback, getinfo, getlocal, getupvalue = debug.traceback, debug.getinfo, debug.getlocal, debug.getupvalue
local match = C.match

P.proxies = {}
local proxies = P.proxies

local lib = {
  null = P.null, array = P.array, object = P.object, is_array = P.is_array, is_callable = P.is_callable, raise = P.raise,
  handle_methods = P.handle_methods, metatable = P.metatable, new_error = P.new_error, make_handle = P.make_handle,
  C = { pcall = C.pcall, running = C.running },
}
P.lib = lib
function lib.is_null(v) return v == nil or rawequal(v, P.null) end
function lib.is_error(v) return getmt(v) == P.error_tag end
function lib.ident(handle) return P.idents[handle] end
function lib.global(name) return proxies[name] end
function lib.write(stream, text) P.write(stream, text) end
function lib.text_of(v) return P.text_of(v) end
function lib.stream(following, close)
  if P.make_stream == nil then local _ = proxies.Streaming.create end -- its chunk makes the function
  return P.make_stream(following, close)
end
function lib.raw_metatable(v) return getmt(v) end
function lib.opaque(v) return P.opaque(v) end

function lib.check(value, wanted, index, name)
  local kind = type(value)
  if kind == wanted or (wanted == "function" and P.is_callable(value)) then return value end
  if wanted == "string" and kind == "number" then return tostr(value) end
  if value == nil then kind = "nil" end
  P.raise("validation", ("bad argument #%d to '%s' (%s expected, got %s)"):format(index, name, wanted, kind))
end

-- Looks for unknown keys of an options table; the host warns of them once per line of the script, or refuses them.
function lib.options(options, known, label)
  local strange
  for key in next, options do
    if not known[key] then
      strange = strange or {}
      strange[tostr(key)] = true
    end
  end
  if strange == nil then return options end
  local names, site, level = P.array {}, "", 2
  for name in next, known do names[#names + 1] = name end
  while true do
    local info = getinfo(level, "Sl")
    if info == nil then break end
    if info.currentline > 0 then
      site = info.short_src .. ":" .. info.currentline
      break
    end
    level = level + 1
  end
  P.host.check_options(strange, names, label, site)
  return options
end

-- Frames of the prelude have no line numbers; a traceback for people leaves them out.
local function own_frames(text)
  text = C.gsub(text, "\n\t%?: in [^\n]*", "")
  text = C.gsub(text, "\n\t%[C%]: in upvalue 'root'", "")
  return (C.gsub(text, '\n\t%[string "<python>"%][^\n]*', ""))
end
function lib.traceback(message, level)
  if message ~= nil and type(message) ~= "string" then return message end
  return own_frames(traceback(message, (level or 1) + 1))
end

local function masked(v) return type(v) == "string" and v or tostr(v) end
function lib.stack(depth, locals, upvalues)
  local list = {}
  local level = 3
  while #list < (depth or 50) do
    local info = getinfo(level, "nSlf")
    if info == nil then break end
    if info.short_src:sub(1, 1) ~= "[" or info.short_src:sub(1, 7) == "[string" then
      local entry = { level = #list, name = info.name, source = info.short_src, line = info.currentline, what = info.what }
      if locals then
        entry.locals = {}
        local i = 1
        while true do
          local name, value = getlocal(level, i)
          if name == nil then break end
          if name:sub(1, 1) ~= "(" then entry.locals[name] = masked(value) end
          i = i + 1
        end
      end
      if upvalues then
        entry.upvalues = {}
        local i = 1
        while true do
          local name, value = getupvalue(info.func, i)
          if name == nil then break end
          if name ~= "_ENV" then entry.upvalues[name] = masked(value) end
          i = i + 1
        end
      end
      list[#list + 1] = entry
    end
    level = level + 1
  end
  return list
end

-- builder(setters, build): `b:f(x)` and `b.f(x)` run setters[f](state, x...) and give b; `b:build()` gives build(state)
function lib.builder(setters, build, state)
  local b = {}
  state = state or {}
  local mt = { __metatable = false, __name = "builder" }
  mt.__index = function(_, name)
    if name == "build" then
      return function() return build(state) end
    end
    local set = setters[name]
    if set == nil then return nil end
    return function(first, ...)
      if rawequal(first, b) then set(state, ...) else set(state, first, ...) end
      return b
    end
  end
  return setmt(b, mt)
end

local function drop_self(proxy, f)
  return function(...)
    if rawequal((...), proxy) then return f(select(2, ...)) end
    return f(...)
  end
end

local function add_handles(described)
  for name, spec in next, described do
    local kind = P.kind_of(name)
    for method, call in next, spec.methods do
      if kind.methods[method] == nil then kind.methods[method] = P.handle_method(kind, method, C.api(call[1], nil, call[2])) end
    end
    if spec.lookup ~= nil then kind.lookup = C.api(spec.lookup, nil, false) end
  end
end

local function build(name, proxy, mt)
  local described = P.host.describe(name)
  local api = {}
  for method, call in next, described.methods do api[method] = C.api(call[1], proxy, call[2]) end
  for key, value in next, described.constants do api[key] = value end
  add_handles(described.handles)
  mt.__index = api
  local lookup = described.lookup and C.api(described.lookup, nil, false)
  if lookup then
    setmt(api, { __index = function(_, key)
      if type(key) == "string" or type(key) == "number" then return lookup(key) end
      return nil
    end })
  end
  if described.companion then
    local before = {}
    for key, value in next, api do before[key] = value end
    local chunk = P.compile(name, described.companion)
    mt.__index = nil
    chunk(api, lib, P)
    mt.__index = api
    for key, value in next, api do
      if type(value) == "function" and before[key] ~= value and key ~= "__call" and key ~= "__pairs" then api[key] = drop_self(proxy, value) end
    end
    if rawget(api, "__pairs") ~= nil then
      mt.__pairs = api.__pairs
      api.__pairs = nil
    end
    if rawget(api, "__call") ~= nil then
      mt.called = api.__call
      api.__call = nil
    end
  end
  return api
end

local function face(name)
  local proxy, api, building = {}, nil, false
  local mt = { __metatable = false, __name = name }
  local function ready()
    if api == nil and not building then
      building = true
      api = build(name, proxy, mt)
      building = false
    end
    return api or {}
  end
  mt.__index = function(_, key)
    ready()
    return proxy[key]
  end
  mt.__call = function(self, ...)
    ready()
    if mt.called == nil then error("attempt to call a table value (global '" .. name .. "')", 2) end
    return mt.called(self, ...)
  end
  mt.__newindex = function(_, key, value)
    if rawget(ready(), key) ~= nil then P.raise("script", name .. "." .. tostr(key) .. " is read-only") end
    rawset(proxy, key, value)
  end
  mt.__pairs = function(self)
    local items = {}
    for key, value in next, ready() do items[key] = value end
    for key, value in next, proxy do items[key] = value end
    return next, items, nil
  end
  mt.__tostring = function() return name end
  return setmt(proxy, mt)
end

function P.all_globals()
  local list = {}
  for name, proxy in next, proxies do list[name] = proxy end
  return list
end

function P.test_module()
  local Utils, Display = proxies.Utils, proxies.Debug
  local test = {}
  local function show(v) return type(v) == "table" and Display.dumpCompact(v) or tostr(v) end
  function test.eq(actual, expected, message)
    if not Utils.equals(actual, expected) then
      error((message and message .. ": " or "") .. "expected " .. show(expected) .. ", got " .. show(actual), 2)
    end
    return true
  end
  test.same = test.eq
  function test.raises(f, kind)
    local ok, e = C.pcall(f)
    if ok then error("expected an error, got none", 2) end
    if kind ~= nil and not ((type(e) == "table" and e.kind == kind) or (type(e) == "string" and C.find(e, kind, 1, true))) then
      error("expected an error of kind " .. kind .. ", got " .. tostr(e), 2)
    end
    return e
  end
  function test.match(text, pattern)
    if not C.find(tostr(text), pattern) then error("expected " .. tostr(text) .. " to match " .. pattern, 2) end
    return true
  end
  return test
end

local BASE = { "_G", "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "print", "rawequal", "rawget",
  "rawlen", "rawset", "require", "select", "setmetatable", "tonumber", "tostring", "type", "warn", "xpcall", "load", "collectgarbage",
  "coroutine", "string", "table", "math", "utf8", "os", "package" }
local EXTRA = { safe = {}, standard = { "dofile", "loadfile", "io" }, full = { "dofile", "loadfile", "io", "debug" } }

local STRING = { "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep", "reverse", "sub",
  "unpack", "upper" }
local TABLE = { "concat", "insert", "move", "pack", "remove", "sort", "unpack" }

local function only(t, names)
  local keep = {}
  for _, name in next, names do keep[name] = t[name] end
  for key in next, t do
    if keep[key] == nil then t[key] = nil end
  end
end

-- Gives the script's global table exactly what the profile grants. Libraries are copies: what a script does to its
-- `string` is its own affair and never reaches the prelude.
local function prune()
  local env, real = P.env, P.real
  if profile ~= "full" then
    only(env.string, STRING)
    only(env.table, TABLE)
  else
    local full_upvalue, is_file = debug.getupvalue, P.stock_file_type
    debug.getregistry, debug.setuservalue, debug.getuservalue, debug.sethook, debug.debug = nil, nil, nil, nil, nil
    debug.traceback = function(...)
      local text = traceback(...)
      return type(text) == "string" and own_frames(text) or text
    end
    debug.setupvalue, debug.upvaluejoin, debug.upvalueid = nil, nil, nil
    debug.setmetatable, debug.getmetatable = setmetatable, getmetatable
    debug.getupvalue = function(f, i)
      local name, value = full_upvalue(f, i)
      if type(value) == "userdata" and is_file(value) == nil then value = nil end
      return name, value
    end
  end
  for key in next, real do real[key] = nil end
  local loaded = env.package.loaded
  local function give(name)
    local value = env[name]
    if type(value) == "table" and name ~= "package" then
      local copy = {}
      for field, item in next, value do copy[field] = item end
      value = copy
      loaded[name] = copy
    end
    real[name] = value
  end
  for _, name in next, BASE do give(name) end
  for _, name in next, EXTRA[profile] do give(name) end
  real._G, loaded._G = real, real
  loaded.package = nil
  -- where the C library looks for the name of a function in an error or a traceback
  local known = P.stock_loaded
  for key in next, known do known[key] = nil end
  for key, value in next, loaded do
    if key ~= "debug" then known[key] = value end
  end
  local text_tag = getmt("")
  text_tag.__index, text_tag.__metatable = real.string, false
end

function P.install(names, aliases, arguments)
  prune()
  for _, name in next, names do
    local proxy = face(name)
    proxies[name] = proxy
    P.real[name] = proxy
  end
  for alias, target in next, aliases do
    local name, field = match(target, "^([^.]+)%.?(.*)$")
    if proxies[name] == nil then
      -- the global that this is an alias of is not part of this build
    elseif field == "" then
      P.real[alias] = proxies[name]
    else
      P.real[alias] = function(...) return proxies[name][field](...) end
    end
  end
  P.set_arguments(arguments)
end

-- ARGS answers `-` keys under `_` too, and "1" like 1
function P.set_arguments(a)
  local values = {}
  for key, value in next, a.named do values[key] = value end
  for i, value in next, a.positional do values[i] = value end
  local plain = {}
  for i, value in next, a.positional do plain[i] = value end
  if a.script ~= nil and not rawequal(a.script, P.null) then values[0], plain[0] = a.script, a.script end
  local underscored = {}
  for key, value in next, a.named do underscored[(C.gsub(key, "-", "_"))] = value end
  P.real.arg = plain
  P.real.ARGS = setmt(values, { __metatable = false, __index = function(_, key)
    if type(key) ~= "string" then return nil end
    if underscored[key] ~= nil then return underscored[key] end
    local number = math.tointeger(tonumber(key))
    return number and rawget(values, number) or nil
  end })
end

-- What the host calls
local last = { n = 0 }
local entries = {}

function entries.run(source, name)
  if P.environment_line and C.find(source, "^#") then source = "--" .. source end
  local chunk, failure = P.stock.load(source, name, "t")
  if chunk == nil then error(failure, 0) end
  last = { n = 0 }
  last = P.stock.pack(chunk())
  return last.n
end
function entries.compile(source, name)
  local chunk, failure = P.stock.load(source, name, "t")
  return chunk ~= nil, failure
end
function entries.results() return C.plain(P.stock.unpack(last, 1, last.n)) end
function entries.shown()
  local list = {}
  for i = 1, last.n do list[i] = tostr(last[i]) end
  return P.array(list), last.n > 0 and last[1] ~= nil
end
function entries.release(numbers)
  for _, number in next, numbers do C.unref(number) end
end
function entries.set_global(name, value) P.real[name] = value end
function entries.describe_globals()
  local list = {}
  for key, value in next, P.real do
    if type(key) == "string" then list[key] = type(value) end
  end
  return list
end
function entries.fields(path)
  local value = P.real
  for part in C.gmatch(path, "[^.:]+") do
    if type(value) ~= "table" then return P.array {} end
    value = value[part]
  end
  local list = P.array {}
  if type(value) == "string" then value = P.real.string end
  if type(value) ~= "table" then return list end
  local mt = getmt(value)
  for key, item in (mt and rawget(mt, "__pairs") or function(t) return next, t, nil end)(value) do
    if type(key) == "string" then list[#list + 1] = { name = key, type = type(item) } end
  end
  if mt ~= nil and rawget(mt, "__handle") ~= nil then
    for key in next, P.handle_methods(mt.__handle) do list[#list + 1] = { name = key, type = "function" } end
  end
  return list
end
function entries.arguments(a) P.set_arguments(a) end

function entries.install(names, aliases, arguments)
  P.install(names, aliases, arguments)
  entries.install = nil
end

function entries.unawaited() return P.unawaited and P.unawaited() or P.array {} end

-- Tasks begin here: Async is loaded by the script that spawns one.
function entries.task_started(name) return entries.task(name) end

P.entries = entries
function P.references()
  local list = {}
  for name, f in next, entries do list[#list + 1] = name .. "=" .. C.ref(f) end
  return P.stock.concat(list, ",")
end
