-- Debug: what needs the Lua values themselves: text of any message, dumps, stacks.
local api, lib = ...
local type, next, tostring, error = type, next, tostring, error
local rawlen, rawget, mathtype = rawlen, rawget, math.type
local format, rep, sub, gsub, byte, find, lower = string.format, string.rep, string.sub, string.gsub, string.byte, string.find, string.lower
local concat, sort, pack, unpack = table.concat, table.sort, table.pack, table.unpack
local raw_metatable, protected = lib.raw_metatable, lib.C.pcall
local mask = api.mask
api.mask, api.timers = nil, nil

-- Messages are any value.
for _, name in next, {"trace", "debug", "info", "warn", "error"} do
  local keep = api[name]
  api[name] = function(msg, module)
    if type(msg) ~= "string" then msg = tostring(msg) end
    return keep(msg, module)
  end
end

local keep, keep_with = api.log, api.log_with_data
function api.log(level, msg, module)
  if type(msg) ~= "string" then msg = tostring(msg) end
  return keep(level, msg, module)
end
function api.log_with_data(level, msg, data, module)
  if type(msg) ~= "string" then msg = tostring(msg) end
  return keep_with(level, msg, data, module)
end
api.logWithData = api.log_with_data

local stats = api.memory_stats
local count = collectgarbage
function api.memory_stats()
  local found = stats()
  found.used_bytes = count("count") * 1024 // 1 | 0
  return found
end
api.memoryStats = api.memory_stats

-- Dumps
local DEFAULTS = {max_depth = 10, indent_size = 2, max_string_length = 200, max_array_elements = 50, max_table_pairs = 50,
  show_types = true, show_addresses = false, compact_mode = false}
local COMPACT = {max_depth = 3, indent_size = 0, max_string_length = 50, max_array_elements = 10, max_table_pairs = 10,
  show_types = false, show_addresses = false, compact_mode = true}
local VERBOSE = {max_depth = 20, indent_size = 4, max_string_length = 1000, max_array_elements = 200, max_table_pairs = 200,
  show_types = true, show_addresses = true, compact_mode = false}
local ESCAPES = {["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\v"] = "\\v",
  ["\\"] = "\\\\", ['"'] = '\\"'}
for code = 0, 31 do
  local char = string.char(code)
  if ESCAPES[char] == nil then ESCAPES[char] = format("\\x%02x", code) end
end
ESCAPES["\127"] = "\\x7f"

local WORDS = {"pass", "pwd", "secret", "credential", "auth", "cookie", "token", "key", "connection"}
local function may_be_secret(name)
  name = lower(name)
  for _, word in next, WORDS do
    if find(name, word, 1, true) then return true end
  end
  return false
end

local function quoted(s, most)
  local tail = ""
  if #s > most then
    local stop = most
    while stop > 0 and (byte(s, stop + 1) or 0) & 0xC0 == 0x80 do stop = stop - 1 end
    s, tail = sub(s, 1, stop), "..."
  end
  return '"' .. gsub(s, '[%c\\"]', ESCAPES) .. tail .. '"'
end

local ORDER = {number = 1, string = 2, boolean = 3}
local function before(a, b)
  local x, y = ORDER[type(a)] or 4, ORDER[type(b)] or 4
  if x ~= y then return x < y end
  if x <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

local function shown_key(k)
  if type(k) == "string" then
    if find(k, "^[%a_][%w_]*$") then return k end
    return "[" .. quoted(k, 200) .. "]"
  end
  return "[" .. (type(k) == "table" and lib.opaque(k) or tostring(k)) .. "]"
end

local function scalar(v, name, o)
  local kind = type(v)
  if kind == "string" then
    if name ~= nil and may_be_secret(name) then v = mask(name, v) end
    return quoted(v, o.max_string_length)
  end
  if kind == "function" or kind == "thread" or kind == "userdata" then return o.show_addresses and lib.opaque(v) or "<" .. kind .. ">" end
  return tostring(v)
end

local dump_value

local function members(t, o, depth, above)
  local items, total, n = {}, 0, rawlen(t)
  local separator = " = "
  for i = 1, n < o.max_array_elements and n or o.max_array_elements do
    local text = dump_value(rawget(t, i), nil, o, depth + 1, above)
    items[#items + 1] = o.compact_mode and text or "[" .. i .. "]" .. separator .. text
  end
  if n > o.max_array_elements then items[#items + 1] = "... (" .. n - o.max_array_elements .. " more elements)" end
  local keys = {}
  for k in next, t do
    if not (mathtype(k) == "integer" and k >= 1 and k <= n) then keys[#keys + 1] = k end
  end
  sort(keys, before)
  for _, k in next, keys do
    total = total + 1
    if total > o.max_table_pairs then
      items[#items + 1] = "... (" .. #keys - o.max_table_pairs .. " more pairs)"
      break
    end
    local name = type(k) == "string" and k or nil
    items[#items + 1] = shown_key(k) .. separator .. dump_value(rawget(t, k), name, o, depth + 1, above)
  end
  return items
end

local function dump_table(t, o, depth, above)
  local mt = raw_metatable(t)
  if mt and rawget(mt, "__handle") then return "<" .. rawget(mt, "__handle") .. " " .. tostring(t) .. ">" end
  if lib.is_null(t) then return "null" end
  if above[t] then return "<cycle>" end
  local prefix = o.show_addresses and lib.opaque(t) .. " " or ""
  if next(t) == nil then return prefix .. "{}" end
  if depth >= o.max_depth then return prefix .. "{...}" end
  above[t] = true
  local items = members(t, o, depth, above)
  above[t] = nil
  if o.compact_mode then return prefix .. "{" .. concat(items, ", ") .. "}" end
  local margin = rep(" ", o.indent_size * (depth + 1))
  return prefix .. "{\n" .. margin .. concat(items, ",\n" .. margin) .. "\n" .. rep(" ", o.indent_size * depth) .. "}"
end

function dump_value(v, name, o, depth, above)
  local text
  if type(v) == "table" then text = dump_table(v, o, depth, above) else text = scalar(v, name, o) end
  if o.show_types and v ~= nil then return "(" .. type(v) .. ") " .. text end
  return text
end

local function dump(v, o, label)
  local text = dump_value(v, nil, o, 0, {})
  if label ~= nil then text = tostring(label) .. ": " .. text end
  return mask("", text)
end

function api.dump(v, label) return dump(v, DEFAULTS, label) end
function api.dump_compact(v, label) return dump(v, COMPACT, label) end
function api.dump_verbose(v, label) return dump(v, VERBOSE, label) end
function api.dump_with_options(v, options, label)
  local o = {}
  options = options == nil and {} or lib.check(options, "table", 2, "Debug.dumpWithOptions")
  for name, default in next, DEFAULTS do
    local given = options[name]
    if given == nil then given = default end
    if type(given) ~= type(default) then
      lib.raise("validation", "option '" .. name .. "' is a " .. type(default) .. ", not a " .. type(given), {code = "invalid_argument"})
    end
    if type(given) == "number" then
      given = given // 1
      if given < 0 then given = 0 elseif given > 100000 then given = 100000 end
      if (name == "max_depth" or name == "indent_size") and given > 100 then given = 100 end
      given = given | 0
    end
    o[name] = given
  end
  return dump(v, o, label)
end
api.dumpCompact, api.dumpVerbose, api.dumpWithOptions = api.dump_compact, api.dump_verbose, api.dump_with_options

-- Stacks
local function options_of(options)
  if options == "error" then return 20, false, false, true end
  if options == "trace" then return 50, true, true, true end
  if type(options) ~= "table" then return 50, false, false, true end
  local depth = options.max_depth
  if mathtype(depth) ~= "integer" or depth < 1 then depth = 50 elseif depth > 1000 then depth = 1000 end
  return depth, options.capture_locals == true, options.capture_upvalues == true, options.include_source ~= false
end

-- Frames of the product itself are no part of a script's stack: their chunks carry no lines.
local OWN_FRAMES = 8
local function of_script(source, line) return source ~= "?" and line > 0 and source ~= '[string "<python>"]' end

local function safe_values(values)
  if values == nil then return nil end
  local found = {}
  for name, value in next, values do found[name] = mask(name, value) end
  return found
end

local function frames(options)
  local depth, locals, upvalues, source = options_of(options)
  local list = lib.array {}
  for _, frame in next, lib.stack(depth + OWN_FRAMES, locals, upvalues) do
    if of_script(frame.source, frame.line) and #list < depth then
      frame.level = #list
      frame.locals, frame.upvalues = safe_values(frame.locals), safe_values(frame.upvalues)
      if not source then frame.source, frame.line = nil, nil end
      list[#list + 1] = frame
    end
  end
  return list
end

local function add_values(lines, word, values)
  local names = {}
  for name in next, values or {} do names[#names + 1] = name end
  sort(names)
  for _, name in next, names do lines[#lines + 1] = "      " .. word .. " " .. name .. " = " .. gsub(tostring(values[name]), "%c", " ") end
end

function api.stack_trace(options)
  local lines = {"Stack trace:"}
  for _, frame in next, frames(options) do
    local place = frame.source and " at " .. frame.source .. ":" .. frame.line or ""
    lines[#lines + 1] = "  " .. frame.level .. ": " .. (frame.name or (frame.what == "main" and "main chunk" or "?")) .. place
    add_values(lines, "local", frame.locals)
    add_values(lines, "upvalue", frame.upvalues)
  end
  return concat(lines, "\n")
end

function api.stack_trace_json(options) return lib.global("JSON").stringify(frames(options)) end
api.stackTrace, api.stackTraceJson = api.stack_trace, api.stack_trace_json

function api.traceback(msg, level)
  if msg ~= nil and type(msg) ~= "string" and type(msg) ~= "number" then return msg end
  local lines = {}
  for line in string.gmatch(lib.traceback(msg, (mathtype(level) == "integer" and level or 1) + 1) .. "\n", "(.-)\n") do
    local own = find(line, "^\t%?:") or find(line, '^\t%[string "<python>"%]') or find(line, "^\t%[C%]: in upvalue 'root'")
    if not own then lines[#lines + 1] = line end
  end
  return mask("", concat(lines, "\n"))
end

-- Runs fn inside a timer named "profile"; the timers that fn starts lie under it in the flame graph.
function api.profile(fn, ...)
  lib.check(fn, "function", 1, "Debug.profile")
  local timer = api.timer("profile")
  local results = pack(protected(fn, ...))
  timer:stop()
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, results.n)
end
