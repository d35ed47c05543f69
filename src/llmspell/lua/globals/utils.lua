-- Utils: text and tables, and what calls functions of the script. Callbacks may wait, so loops are plain Lua.
local api, lib = ...
local null, is_array, is_callable, check = lib.null, lib.is_array, lib.is_callable, lib.check
local type, next, pairs, ipairs, select, error, pcall = type, next, pairs, ipairs, select, error, pcall
local rawequal, rawlen, tostring, tonumber, getmetatable, setmetatable = rawequal, rawlen, tostring, tonumber, getmetatable, setmetatable
local find, sub, gsub, match, rep, len = string.find, string.sub, string.gsub, string.match, string.rep, string.len
local concat, sort, unpack = table.concat, table.sort, table.unpack
local utf8_len, utf8_offset, tointeger, mathtype = utf8.len, utf8.offset, math.tointeger, math.type

local function text(v, index, name)
  if type(v) == "number" then return tostring(v) end
  check(v, "string", index, name)
  return v
end

local function whole(v, index, name)
  local n = tointeger(v)
  if not n then
    check(v, "number", index, name)
    lib.raise("validation", "bad argument #" .. index .. " to '" .. name .. "' (number has no integer representation)")
  end
  return n
end

local function callable(f, index, name)
  if not is_callable(f) then check(f, "function", index, name) end
  return f
end

-- `.*%S` walks back from the end once; `(.-)%s*$` would try every run of blanks again.
function api.trim(s)
  s = text(s, 1, "Utils.trim")
  return match(s, "^%s*(.*%S)") or ""
end

local function chars(s)
  local list, n = {}, 0
  if utf8_len(s) then
    for char in string.gmatch(s, utf8.charpattern) do n = n + 1; list[n] = char end
  else
    for i = 1, len(s) do list[i] = sub(s, i, i) end
  end
  return list
end

function api.split(s, sep, plain)
  s, sep = text(s, 1, "Utils.split"), text(sep == nil and "," or sep, 2, "Utils.split")
  if sep == "" then return lib.array(chars(s)) end
  local list, n, from = {}, 0, 1
  while true do
    local first, last = find(s, sep, from, plain ~= false)
    if first and last < first then
      lib.raise("validation", "the pattern '" .. sep .. "' of Utils.split matches the empty string")
    end
    n = n + 1
    list[n] = sub(s, from, (first or 0) - 1)
    if not first then return lib.array(list) end
    from = last + 1
  end
end

function api.join(list, sep)
  check(list, "table", 1, "Utils.join")
  local parts = {}
  for i = 1, #list do parts[i] = tostring(list[i]) end
  return concat(parts, text(sep == nil and "" or sep, 2, "Utils.join"))
end

function api.starts_with(s, x)
  s, x = text(s, 1, "Utils.starts_with"), text(x, 2, "Utils.starts_with")
  return sub(s, 1, len(x)) == x
end

function api.ends_with(s, x)
  s, x = text(s, 1, "Utils.ends_with"), text(x, 2, "Utils.ends_with")
  return x == "" or sub(s, -len(x)) == x
end

local function width(s) return utf8_len(s) or len(s) end

local function padding(s, n, ch, name)
  local missing = whole(n, 2, name) - width(s)
  ch = text(ch == nil and " " or ch, 3, name)
  local step = width(ch)
  if step == 0 then lib.raise("validation", "the fill of " .. name .. " is empty") end
  if missing <= 0 then return "" end
  local fill = rep(ch, missing // step)
  for i = 1, missing % step do fill = fill .. chars(ch)[i] end
  return fill
end

function api.pad_left(s, n, ch)
  s = text(s, 1, "Utils.pad_left")
  return padding(s, n, ch, "Utils.pad_left") .. s
end

function api.pad_right(s, n, ch)
  s = text(s, 1, "Utils.pad_right")
  return s .. padding(s, n, ch, "Utils.pad_right")
end

local function head(s, n)
  if n <= 0 then return "" end
  if utf8_len(s) then return sub(s, 1, utf8_offset(s, n + 1) - 1) end
  return sub(s, 1, n)
end

function api.truncate(s, n, suffix)
  s, n = text(s, 1, "Utils.truncate"), whole(n, 2, "Utils.truncate")
  suffix = text(suffix == nil and "..." or suffix, 3, "Utils.truncate")
  if width(s) <= n then return s end
  if width(suffix) >= n then return head(suffix, n) end
  return head(s, n - width(suffix)) .. suffix
end

function api.lines(s)
  s = text(s, 1, "Utils.lines")
  local list, n, from, size = {}, 0, 1, len(s)
  while from <= size do
    local stop = find(s, "\n", from, true) or size + 1
    local last = sub(s, stop - 1, stop - 1) == "\r" and stop > from and stop - 2 or stop - 1
    n = n + 1
    list[n] = sub(s, from, last)
    from = stop + 1
  end
  return lib.array(list)
end

local function equal(a, b, seen)
  if rawequal(a, b) then return true end
  if type(a) ~= "table" or type(b) ~= "table" or rawequal(a, null) or rawequal(b, null) then return a == b end
  if seen[a] == b then return true end
  seen[a] = b
  for k, v in next, a do
    if not equal(v, rawget(b, k), seen) then return false end
  end
  for k in next, b do
    if rawget(a, k) == nil then return false end
  end
  return true
end

function api.equals(a, b) return equal(a, b, {}) end

function api.contains(s, x)
  if type(s) == "table" then
    for _, v in pairs(s) do
      if equal(v, x, {}) then return true end
    end
    return false
  end
  return find(text(s, 1, "Utils.contains"), text(x, 2, "Utils.contains"), 1, true) ~= nil
end

-- A table whose metatable is locked belongs to the API (a handle, an error, null): it is shared, not copied.
local function own(t) return not rawequal(t, null) and (is_array(t) or type(getmetatable(t) or {}) == "table") end

local function deep_copy(v, seen)
  if type(v) ~= "table" or not own(v) then return v end
  if seen[v] then return seen[v] end
  local made = {}
  seen[v] = made
  for k, item in next, v do made[deep_copy(k, seen)] = deep_copy(item, seen) end
  if is_array(v) then return lib.array(made) end
  local mt = getmetatable(v)
  return type(mt) == "table" and setmetatable(made, mt) or made
end

function api.deep_copy(v) return deep_copy(v, {}) end

local function merge(a, b, seen)
  local made = {}
  for k, v in next, a do made[k] = deep_copy(v, seen) end
  for k, v in next, b do
    local old = rawget(a, k)
    local deep = type(v) == "table" and type(old) == "table" and own(v) and own(old) and not is_array(v) and not is_array(old)
    if deep and not seen[v] then
      made[k] = merge(old, v, seen)
    else
      made[k] = deep_copy(v, seen)
    end
  end
  return made
end

function api.merge(a, b)
  check(a, "table", 1, "Utils.merge")
  check(b, "table", 2, "Utils.merge")
  return merge(a, b, {})
end

local ranks = {number = 1, string = 2, boolean = 3}
local function before(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then
    local ra, rb = ranks[ta] or 4, ranks[tb] or 4
    if ra ~= rb then return ra < rb end
    return ta < tb
  end
  if ta == "number" or ta == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function sorted_keys(t, name)
  check(t, "table", 1, name)
  local keys, n = {}, 0
  for k in next, t do n = n + 1; keys[n] = k end
  sort(keys, before)
  return keys
end

function api.keys(t) return lib.array(sorted_keys(t, "Utils.keys")) end

function api.values(t)
  local list = sorted_keys(t, "Utils.values")
  for i = 1, #list do list[i] = t[list[i]] end
  return lib.array(list)
end

function api.map(t, f)
  callable(f, 2, "Utils.map")
  local made, keys = {}, sorted_keys(t, "Utils.map")
  for i = 1, #keys do made[keys[i]] = f(t[keys[i]], keys[i]) end
  return is_array(t) and lib.array(made) or made
end

function api.filter(t, f)
  callable(f, 2, "Utils.filter")
  local made, keys, list = {}, sorted_keys(t, "Utils.filter"), is_array(t)
  for i = 1, #keys do
    local k = keys[i]
    if f(t[k], k) then made[list and #made + 1 or k] = t[k] end
  end
  return list and lib.array(made) or made
end

function api.reduce(t, f, init)
  callable(f, 2, "Utils.reduce")
  local keys, first, value = sorted_keys(t, "Utils.reduce"), 1, init
  if value == nil and #keys > 0 then first, value = 2, t[keys[1]] end
  for i = first, #keys do value = f(value, t[keys[i]], keys[i]) end
  return value
end

function api.slice(t, i, j)
  check(t, "table", 1, "Utils.slice")
  local n, made = rawlen(t), {}
  i, j = whole(i == nil and 1 or i, 2, "Utils.slice"), whole(j == nil and -1 or j, 3, "Utils.slice")
  if i < 0 then i = n + i + 1 end
  if j < 0 then j = n + j + 1 end
  for k = i < 1 and 1 or i, j > n and n or j do made[#made + 1] = t[k] end
  return lib.array(made)
end

function api.range(a, b, step)
  check(a, "number", 1, "Utils.range")
  if b == nil then a, b = 1, a end
  check(b, "number", 2, "Utils.range")
  step = step == nil and 1 or step
  check(step, "number", 3, "Utils.range")
  if step == 0 then lib.raise("validation", "the step of Utils.range is 0") end
  local made, n = {}, 0
  for v = a, b, step do n = n + 1; made[n] = v end
  return lib.array(made)
end

function api.is_empty(t)
  return t == nil or t == "" or rawequal(t, null) or (type(t) == "table" and next(t) == nil)
end

function api.sorted_pairs(t)
  local keys, i = sorted_keys(t, "Utils.sorted_pairs"), 0
  return function()
    i = i + 1
    local k = keys[i]
    if k ~= nil then return k, t[k] end
  end
end

local function reach(values, path)
  local v = values
  for part in string.gmatch(path, "[^%.]+") do
    if type(v) ~= "table" or rawequal(v, null) then return "" end
    local found = v[part]
    if found == nil then found = v[tointeger(tonumber(part) or part) or part] end
    v = found
  end
  if v == nil or rawequal(v, null) then return "" end
  return tostring(v)
end

function api.template(s, values)
  s = text(s, 1, "Utils.template")
  if values ~= nil then check(values, "table", 2, "Utils.template") end
  return (gsub(s, "{{%s*([^{}]-)%s*}}", function(path) return reach(values, path) end))
end

local function option(options, name, default)
  local v = options[name]
  if v == nil then return default end
  check(v, "number", 2, "Utils.retry")
  return v
end

-- What was cancelled, or may never be exceeded, does not get better by trying again.
local final = {cancelled = true, resource_limit = true}

function api.retry(fn, options)
  callable(fn, 1, "Utils.retry")
  if options ~= nil then check(options, "table", 2, "Utils.retry") end
  options = options or {}
  local attempts, wait = option(options, "max_attempts", 3), option(options, "backoff_ms", 100)
  local factor, retry_if = option(options, "factor", 2), options.retry_if
  if retry_if ~= nil then callable(retry_if, 2, "Utils.retry") end
  local attempt = 1
  while true do
    local results = table.pack(pcall(fn, attempt))
    if results[1] then return unpack(results, 2, results.n) end
    local e = results[2]
    if attempt >= attempts or (api.is_error(e) and final[e.kind]) or (retry_if and not retry_if(e, attempt)) then
      error(e, 0)
    end
    local hint = api.is_error(e) and e.retry_after_ms
    lib.global("Async").sleep(hint and hint > wait and hint or wait)
    wait, attempt = wait * factor, attempt + 1
  end
end

function api.timeout(ms, fn, ...) return lib.global("Async").timeout(ms, fn, ...) end
function api.sleep(ms) return lib.global("Async").sleep(ms) end

function api.error(kind, message, details) return lib.raise(kind, tostring(message), details) end

function api.is_error(v, kind)
  if type(v) ~= "table" or rawequal(v, null) then return false end
  local found = type(v.kind) == "string" and type(v.message) == "string" and type(v.retryable) == "boolean"
  return found and (kind == nil or v.kind == kind)
end

local write = api.write
function api.write(...)
  local parts = {...}
  for i = 1, select("#", ...) do
    local v = parts[i]
    if type(v) == "number" then
      parts[i] = tostring(v)
    elseif type(v) ~= "string" then
      lib.raise("validation", "bad argument #" .. i .. " to 'write' (string expected, got " .. (v == nil and "nil" or type(v)) .. ")")
    end
  end
  if #parts > 0 then write(concat(parts)) end
  return lib.global("Utils")
end
