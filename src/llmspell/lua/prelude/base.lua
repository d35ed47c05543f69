-- The base library and the parts of string, table, coroutine, os and math that a sandbox changes.
local P = ...
local C, profile = P.C, P.profile
local setmt, getmt, tostr = C.set_raw_metatable, C.raw_metatable, C.tostring
local type, select, rawget, rawset, rawequal, rawlen, next, error = type, select, rawget, rawset, rawequal, rawlen, next, error
local stock = { warn = warn, pairs = pairs }
stock.collectgarbage = C.stock(collectgarbage, "collectgarbage")
for _, name in next, { "concat", "unpack", "pack", "insert", "remove", "move", "sort" } do stock[name] = C.stock(table[name], name) end
stock.format, stock.rep = C.stock(string.format, "format"), string.rep
stock.load = load
local pack, sub, rep, byte = table.pack, string.sub, string.rep, string.byte
P.stock = stock

local function is_tag(mt) return mt == P.array_tag or mt == P.object_tag end

function setmetatable(t, mt)
  if type(t) ~= "table" then error("bad argument #1 to 'setmetatable' (table expected, got " .. type(t) .. ")", 2) end
  if mt ~= nil and type(mt) ~= "table" then error("bad argument #2 to 'setmetatable' (nil or table expected)", 2) end
  local old = getmt(t)
  if old ~= nil and not is_tag(old) and rawget(old, "__metatable") ~= nil then error("cannot change a protected metatable", 2) end
  if mt ~= nil and rawget(mt, "__gc") ~= nil then P.raise("security", "a metatable with __gc is not allowed: finalizers cannot be interrupted") end
  return setmt(t, mt)
end

function getmetatable(v)
  if type(v) == "string" then return false end
  local mt = getmt(v)
  if mt == nil or is_tag(mt) then return nil end
  local shown = rawget(mt, "__metatable")
  if shown ~= nil then return shown end
  if type(v) ~= "table" then return false end
  return mt
end

tostring, pcall, xpcall = tostr, C.pcall, C.xpcall

function print(...)
  local n = select("#", ...)
  local parts = { ... }
  for i = 1, n do parts[i] = tostr(parts[i]) end
  P.write("stdout", stock.concat(parts, "\t", 1, n) .. "\n")
end

function load(chunk, name, mode, ...)
  if type(chunk) == "function" then
    local parts, size = {}, 0
    while true do
      local piece = chunk()
      if piece == nil or piece == "" then break end
      if type(piece) ~= "string" then return nil, "reader function must return a string" end
      parts[#parts + 1] = piece
      size = size + #piece
      if size > P.script_bytes then break end
    end
    chunk = stock.concat(parts)
  elseif type(chunk) ~= "string" then
    error("bad argument #1 to 'load' (string expected, got " .. type(chunk) .. ")", 2)
  end
  if #chunk > P.script_bytes then P.limit("script_bytes", P.script_bytes, #chunk) end
  local text_only = profile ~= "full"
  if text_only and (byte(chunk) == 27 or mode == "b") then return nil, "attempt to load a binary chunk" end
  if select("#", ...) == 0 then return stock.load(chunk, name or chunk, text_only and "t" or mode) end
  return stock.load(chunk, name or chunk, text_only and "t" or mode, (...))
end

function P.limit(resource, limit, used)
  P.raise("resource_limit", stock.format("Resource limit exceeded: %s (limit %d, used %d)", resource, limit, used),
    { resource = resource, limit = limit, used = used, code = "limit_exceeded" })
end

local COLLECT = { safe = { count = true }, standard = { count = true, collect = true, step = true, isrunning = true } }
if profile ~= "full" then
  local allowed = COLLECT[profile]
  function collectgarbage(option, ...)
    option = option or "collect"
    if not allowed[option] then
      P.raise("security", "collectgarbage('" .. tostr(option) .. "') is not allowed in the " .. profile .. " profile")
    end
    return stock.collectgarbage(option, ...)
  end
end

local warn_on = false
function warn(...)
  local parts = { ... }
  if #parts == 0 then error("bad argument #1 to 'warn' (string expected, got no value)", 2) end
  for i = 1, select("#", ...) do
    if type(parts[i]) ~= "string" and type(parts[i]) ~= "number" then
      error("bad argument #" .. i .. " to 'warn' (string expected, got " .. type(parts[i]) .. ")", 2)
    end
  end
  local message = stock.concat(parts)
  if message == "@on" or message == "@off" then
    warn_on = message == "@on"
  elseif warn_on then
    P.write("stderr", "Lua warning: " .. message .. "\n")
  end
end

-- coroutine: resume and wrap pass a wait of the host through
coroutine = {
  create = C.create, resume = C.resume, wrap = C.wrap, yield = C.yield, running = C.running, status = C.status,
  close = C.close, isyieldable = coroutine.isyieldable,
}

-- string
local function text_of(v)
  local kind = type(v)
  if kind == "string" or kind == "number" then return v end
  local mt = getmt(v)
  if kind == "table" and mt ~= nil and rawget(mt, "__tostring") ~= nil then return tostr(v) end
  return nil
end
P.text_of = text_of

string.find, string.match, string.gmatch = C.find, C.match, C.gmatch

-- %s goes through our tostring and %p shows the same opaque number, never an address
function string.format(form, ...)
  local values, n, i = { ... }, select("#", ...), 0
  if type(form) ~= "string" then form = tostr(form) end
  local changed
  local position = 1
  while true do
    local at, after, flags, letter = C.match_at(form, "%%([-+ #0-9.]*)(.?)", position)
    if at == nil then break end
    position = after
    if letter ~= "%" or flags ~= "" then
      i = i + 1
      if i <= n and letter == "s" and type(values[i]) ~= "string" then
        values[i] = tostr(values[i])
      elseif i <= n and letter == "p" then
        local kind = type(values[i])
        local opaque = (kind == "table" or kind == "function" or kind == "thread" or kind == "userdata") and P.opaque(values[i]) or "(null)"
        values[i] = opaque
        changed = (changed or form)
        form = sub(form, 1, after - 2) .. "s" .. sub(form, after)
      end
    end
  end
  return stock.format(form, stock.unpack(values, 1, n))
end

function P.opaque(v)
  local mt = getmt(v)
  if mt ~= nil and (rawget(mt, "__tostring") ~= nil or rawget(mt, "__name") ~= nil) then return type(v) end
  return tostr(v)
end

-- Callbacks of gsub run here, in Lua, so that they may wait; plain replacements run in C.
function string.gsub(s, pattern, repl, most)
  local kind = type(repl)
  if kind == "string" or (kind == "table" and getmt(repl) == nil) then return C.gsub(s, pattern, repl, most) end
  if kind == "number" then return C.gsub(s, pattern, tostr(repl), most) end
  if kind ~= "table" and not P.is_callable(repl) then
    error("bad argument #3 to 'gsub' (string/function/table expected, got " .. kind .. ")", 2)
  end
  if type(s) == "number" then s = tostr(s) end
  local limit = most or #s + 1
  local parts, count, position, copied, last = {}, 0, 1, 1, nil
  while count < limit do
    local found = pack(C.match_at(s, pattern, position))
    local from, to = found[1], found[2]
    if from == nil then break end
    if to ~= last or from < to then
      count = count + 1
      local value
      if kind == "function" then value = repl(stock.unpack(found, 3, found.n)) else value = P.index_or_call(repl, found) end
      if value == nil or value == false then
        value = sub(s, from, to - 1)
      elseif type(value) ~= "string" and type(value) ~= "number" then
        error("invalid replacement value (a " .. type(value) .. ")", 2)
      end
      parts[#parts + 1] = sub(s, copied, from - 1)
      parts[#parts + 1] = value
      copied, last = to, to
    end
    position = to > from and to or to + 1
    if byte(pattern) == 94 then break end
  end
  parts[#parts + 1] = sub(s, copied)
  return stock.concat(parts), count
end

function P.index_or_call(repl, found)
  local mt = getmt(repl)
  if rawget(mt, "__call") ~= nil and rawget(mt, "__index") == nil then return repl(stock.unpack(found, 3, found.n)) end
  return repl[found[3]]
end

-- table: stock functions for plain tables, loops in Lua (where the count hook sees them) for anything unusual
local MAX = 10000000

local function length(t, name)
  if type(t) ~= "table" then
    local mt = getmt(t)
    if type(mt) ~= "table" or rawget(mt, "__index") == nil then error("bad argument #1 to '" .. name .. "' (table expected, got " .. type(t) .. ")", 3) end
  end
  local n = #t
  if math.type(n) ~= "integer" then error("object length is not an integer", 3) end
  return n
end

function table.insert(t, ...)
  if type(t) == "table" and (getmt(t) == nil or is_tag(getmt(t))) then return stock.insert(t, ...) end
  local n, e = select("#", ...), length(t, "insert") + 1
  if n == 1 then
    t[e] = (...)
  elseif n == 2 then
    local at, value = ...
    if math.type(at) ~= "integer" or at < 1 or at > e then error("bad argument #2 to 'insert' (position out of bounds)", 2) end
    for i = e, at + 1, -1 do t[i] = t[i - 1] end
    t[at] = value
  else
    error("wrong number of arguments to 'insert'", 2)
  end
end

function table.remove(t, ...)
  if type(t) == "table" and (getmt(t) == nil or is_tag(getmt(t))) then return stock.remove(t, ...) end
  local size = length(t, "remove")
  local at = select("#", ...) > 0 and (...) or size
  if select("#", ...) > 0 and (math.type(at) ~= "integer" or (size + 1 ~= at and (at < 1 or at > size + 1))) then
    error("bad argument #2 to 'remove' (position out of bounds)", 2)
  end
  local value = t[at]
  for i = at, size - 1 do t[i] = t[i + 1] end
  t[size > at and size or at] = nil
  return value
end

function table.move(a, f, e, t, b)
  b = b == nil and a or b
  if math.type(f) == "integer" and math.type(e) == "integer" and math.type(t) == "integer" and e - f < 100000 then
    return stock.move(a, f, e, t, b)
  end
  if not (math.type(f) == "integer" and math.type(e) == "integer" and math.type(t) == "integer") then return stock.move(a, f, e, t, b) end
  if e < f then return b end
  if not (f > 0 or e < math.maxinteger + f) then error("bad argument #3 to 'move' (too many elements to move)", 2) end
  if t > math.maxinteger - (e - f) then error("bad argument #4 to 'move' (destination wrap around)", 2) end
  if t > e or t <= f or not rawequal(a, b) then
    for i = 0, e - f do b[t + i] = a[f + i] end
  else
    for i = e - f, 0, -1 do b[t + i] = a[f + i] end
  end
  return b
end

function table.concat(t, sep, i, j)
  local plain_table = type(t) == "table" and (getmt(t) == nil or is_tag(getmt(t)))
  local first, last = i or 1, j or length(t, "concat")
  if math.type(first) ~= "integer" or math.type(last) ~= "integer" then return stock.concat(t, sep, i, j) end
  if last - first > MAX then error("table is too long to concatenate", 2) end
  if sep ~= nil and type(sep) ~= "string" and type(sep) ~= "number" then sep = text_of(sep) or sep end
  local copy
  for k = first, last do
    local v = t[k]
    local kind = type(v)
    if kind ~= "string" and kind ~= "number" then
      v = text_of(v)
      if v == nil then error("invalid value (at index " .. k .. ") in table for 'concat'", 2) end
      copy = copy or (plain_table and stock.move(t, first, last, first, {}) or {})
    end
    if copy or not plain_table then
      copy = copy or {}
      copy[k] = v
    end
  end
  return stock.concat(copy or t, sep, first, last)
end

function table.unpack(t, i, j)
  local first, last = i or 1, j
  if last == nil then last = length(t, "unpack") end
  if math.type(first) == "integer" and math.type(last) == "integer" and last >= first and (last - first >= 1000000 or last - first < 0) then
    error("too many results to unpack", 2)
  end
  return stock.unpack(t, first, last)
end

-- Merge sort: a comparator may wait, and an inconsistent one still ends in n log n steps.
function table.sort(t, less)
  if less == nil and type(t) == "table" and getmt(t) == nil and rawlen(t) < 200000 then
    local only = rawlen(t) > 0 and type(t[1])
    for k = 1, rawlen(t) do
      if type(t[k]) ~= only then only = nil break end
    end
    if only == "number" or only == "string" then return stock.sort(t) end
  end
  local n = length(t, "sort")
  if n >= 2147483647 then error("bad argument #1 to 'sort' (array too big)", 2) end
  if less ~= nil and type(less) ~= "function" then error("bad argument #2 to 'sort' (function expected, got " .. type(less) .. ")", 2) end
  less = less or function(a, b) return a < b end
  local from, to = {}, {}
  for k = 1, n do from[k] = t[k] end
  local width = 1
  while width < n do
    for left = 1, n, 2 * width do
      local middle, right = math.min(left + width, n + 1), math.min(left + 2 * width, n + 1)
      local a, b = left, middle
      for k = left, right - 1 do
        if a < middle and (b >= right or not less(from[b], from[a])) then
          to[k] = from[a]
          a = a + 1
        else
          to[k] = from[b]
          b = b + 1
        end
      end
    end
    from, to = to, from
    width = width * 2
  end
  for k = 1, n do t[k] = from[k] end
end
