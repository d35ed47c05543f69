-- The base library and the parts of string, table, coroutine, os and math that a sandbox changes.
local P = ...
local C, profile = P.C, P.profile
local setmt, getmt, tostr = C.set_raw_metatable, C.raw_metatable, C.tostring
local type, select, rawget, rawequal, next, error = type, select, rawget, rawequal, next, error
local stock = { warn = warn, pairs = pairs }
stock.collectgarbage = C.stock(collectgarbage, "collectgarbage")
for _, name in next, { "concat", "unpack", "pack", "insert", "remove", "move", "sort" } do stock[name] = C.stock(table[name], name) end
stock.format = C.stock(string.format, "format")
stock.load, stock.require = load, require
local pack, sub, byte, match_at = table.pack, string.sub, string.byte, C.match_at
P.stock = stock

local function is_tag(mt) return mt == P.array_tag or mt == P.object_tag end

setmetatable = C.front(setmetatable, function()
  P.raise("security", "a metatable with __gc is not allowed: finalizers cannot be interrupted")
end, "metatable")
getmetatable = C.getmetatable

tostring, pcall, xpcall = tostr, C.pcall, C.xpcall

function print(...)
  local n = select("#", ...)
  local parts = { ... }
  for i = 1, n do parts[i] = tostr(parts[i]) end
  P.write("stdout", stock.concat(parts, "\t", 1, n) .. "\n")
end

-- Prepares the arguments of the stock `load`: a reader is read here, where it may wait, and only text is let through.
load = C.front(load, function(chunk, name, mode, ...)
  if type(chunk) == "function" then
    local reader, parts, size = chunk, {}, 0
    while true do
      local ok, piece = C.pcall(reader)
      if not ok then return function() error(piece, 0) end, name end
      if piece == nil or piece == "" then break end
      if type(piece) ~= "string" and type(piece) ~= "number" then return function() return {} end, name end
      piece = tostr(piece)
      parts[#parts + 1] = piece
      size = size + #piece
      if size > P.script_bytes then break end
    end
    chunk = stock.concat(parts)
    if name == nil then name = "=(load)" end
  end
  if #tostr(chunk) > P.script_bytes then P.limit("script_bytes", P.script_bytes, #tostr(chunk)) end
  if profile ~= "full" and (byte(chunk) == 27 or mode == "b") then
    return function() error("attempt to load a binary chunk", 0) end, name, nil, ...
  end
  if profile ~= "full" and (mode == nil or mode == "bt") then mode = "t" end
  return chunk, name, mode, ...
end, "load", true)

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
warn = C.front(warn, function(...)
  local message = stock.concat { ... }
  if message == "@on" or message == "@off" then
    warn_on = message == "@on"
  elseif warn_on then
    P.write("stderr", "Lua warning: " .. message .. "\n")
  end
end, "texts")

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
string.format = C.front(string.format, function(form, ...)
  local values, n, i = { ... }, select("#", ...), 0
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
        values[i] = (kind == "table" or kind == "function" or kind == "thread" or kind == "userdata") and P.opaque(values[i]) or "(null)"
        form = sub(form, 1, after - 2) .. "s" .. sub(form, after)
      end
    end
  end
  return form, stock.unpack(values, 1, n)
end, "format", true)

function P.opaque(v)
  local mt = getmt(v)
  if mt ~= nil and (rawget(mt, "__tostring") ~= nil or rawget(mt, "__name") ~= nil) then return type(v) end
  return tostr(v)
end

-- Callbacks of gsub run here, in Lua, so that they may wait; plain replacements run in C.
string.gsub = C.front(C.gsub, function(s, pattern, repl, most)
  s, pattern, most = tostr(s), tostr(pattern), math.tointeger(most)
  local called = type(repl) == "function"
  local limit = most or #s + 1
  local anchored = byte(pattern) == 94
  local parts, count, position, copied, last = {}, 0, 1, 1, nil
  while count < limit do
    local found = pack(match_at(s, pattern, position))
    local from, to = found[1], found[2]
    if from == nil then break end
    if to ~= last or from < to then
      count = count + 1
      local value
      if called then value = repl(stock.unpack(found, 3, found.n)) else value = repl[found[3]] end
      if not value then
        value = sub(s, from, to - 1)
      elseif type(value) ~= "string" and type(value) ~= "number" then
        error("invalid replacement value (a " .. type(value) .. ")", 3)
      end
      parts[#parts + 1] = sub(s, copied, from - 1)
      parts[#parts + 1] = value
      copied, last = to, to
    end
    position = to > from and to or to + 1
    if anchored then break end
  end
  parts[#parts + 1] = sub(s, copied)
  return stock.concat(parts), count
end, "gsub")

-- table: what follows sees tables with metamethods, long moves, and comparators; the rest is stock. Errors are raised
-- at level 3, the caller of the C function in front.
local function length(t)
  local n = #t
  if math.type(n) ~= "integer" then error("object length is not an integer", 4) end
  return n
end

local function integer(value, index, name)
  local number = math.tointeger(value) or (type(value) == "string" and math.tointeger(tonumber(value)))
  if number then return number end
  local kind = type(value)
  local why = (kind == "number" or tonumber(value)) and "number has no integer representation" or "number expected, got " .. kind
  error("bad argument #" .. index .. " to '" .. name .. "' (" .. why .. ")", 4)
end

table.insert = C.front(table.insert, function(t, ...)
  local n, e = select("#", ...), length(t) + 1
  if n == 1 then
    t[e] = (...)
  elseif n == 2 then
    local at, value = ...
    at = integer(at, 2, "insert")
    if at < 1 or at > e then error("bad argument #2 to 'insert' (position out of bounds)", 3) end
    for i = e, at + 1, -1 do t[i] = t[i - 1] end
    t[at] = value
  else
    error("wrong number of arguments to 'insert'", 3)
  end
end, "table")

table.remove = C.front(table.remove, function(t, ...)
  local size = length(t)
  local at = size
  if (...) ~= nil then
    at = integer((...), 2, "remove")
    if size + 1 ~= at and (at < 1 or at > size + 1) then error("bad argument #2 to 'remove' (position out of bounds)", 3) end
  end
  local value = t[at]
  for i = at, size - 1 do t[i] = t[i + 1] end
  t[size > at and size or at] = nil
  return value
end, "table")

table.move = C.front(table.move, function(a, f, e, t, b)
  f, e, t = integer(f, 2, "move"), integer(e, 3, "move"), integer(t, 4, "move")
  if b == nil then b = a end
  if type(b) ~= "table" then error("bad argument #5 to 'move' (table expected, got " .. type(b) .. ")", 3) end
  if e < f then return b end
  if not (f > 0 or e < math.maxinteger + f) then error("bad argument #3 to 'move' (too many elements to move)", 3) end
  if t > math.maxinteger - (e - f) then error("bad argument #4 to 'move' (destination wrap around)", 3) end
  if t > e or t <= f or not rawequal(a, b) then
    for i = 0, e - f do b[t + i] = a[f + i] end
  else
    for i = e - f, 0, -1 do b[t + i] = a[f + i] end
  end
  return b
end, "move")

-- Gives the stock function a copy in which handles and other tables with a text have become their text.
table.concat = C.front(table.concat, function(t, sep, i, j)
  if sep ~= nil and text_of(sep) == nil then return t, sep, i, j end -- the stock function will refuse it
  local first, last = i == nil and 1 or integer(i, 3, "concat"), j == nil and length(t) or integer(j, 4, "concat")
  local copy = {}
  for k = first, last do
    local v = t[k]
    local text = text_of(v)
    copy[k] = text == nil and v or text
    if text == nil then break end -- the stock function will say so
  end
  return copy, text_of(sep) or sep, first, last
end, "concat", true)

table.unpack = C.front(table.unpack, function(t, i, j)
  local first, last = i == nil and 1 or integer(i, 2, "unpack"), j == nil and length(t) or integer(j, 3, "unpack")
  if last >= first and (last - first >= 1000000 or last - first < 0) then return {}, first, last end
  local copy = {}
  for k = first, last do copy[k] = t[k] end
  return copy, first, last
end, "table", true)

-- An error of a comparison must not name a line of the prelude.
local function compares(v)
  local mt = type(v) == "table" and getmt(v)
  return mt and rawget(mt, "__lt") ~= nil
end
local function smaller(a, b)
  if compares(a) or compares(b) then return a < b end
  return C.less(a, b)
end

-- Merge sort: a comparator may wait, and an inconsistent one still ends in n log n steps.
table.sort = C.front(table.sort, function(t, less)
  local n = length(t)
  if n < 2 then return end
  if n >= 2147483647 then error("bad argument #1 to 'sort' (array too big)", 3) end
  if less ~= nil and type(less) ~= "function" then error("bad argument #2 to 'sort' (function expected, got " .. type(less) .. ")", 3) end
  less = less or smaller
  local given, from, to = {}, {}, {}
  for k = 1, n do
    given[k] = t[k]
    from[k] = given[k]
  end
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
  for k = 1, n do
    if not rawequal(from[k], given[k]) then t[k] = from[k] end
  end
end, "sort")
