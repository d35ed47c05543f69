-- Values that cross the border: null, tags of arrays and objects, errors, handles, tagged results.
local P = ...
local C = P.C
local setmt, getmt, tostr = C.set_raw_metatable, C.raw_metatable, C.tostring
local rawget, rawset, rawequal, type, pairs, next = rawget, rawset, rawequal, type, pairs, next
local traceback, sub, find, string_library = debug.traceback, string.sub, string.find, string

P.array_tag, P.object_tag = {}, {}

local null_tag = { __metatable = false, __index = function() return nil end }
P.null_tag = null_tag
P.null = setmt({}, null_tag)
local null = P.null
null_tag.__tostring = function() return "null" end
null_tag.__concat = function(a, b) return tostr(a) .. tostr(b) end
null_tag.__newindex = function() P.raise("script", "JSON.null is read-only") end

function P.array(t)
  local tag = getmt(t)
  if tag == nil or tag == P.object_tag then setmt(t, P.array_tag) end
  return t
end

function P.object(t)
  local tag = getmt(t)
  if tag == nil or tag == P.array_tag then setmt(t, P.object_tag) end
  return t
end

-- true for an array by the rule of conversion: tagged, or keys exactly 1..n with n >= 1
function P.is_array(v)
  if type(v) ~= "table" then return false end
  local tag, n, count = getmt(v), rawlen(v), 0
  if tag == P.object_tag or rawequal(v, null) then return false end
  for k in next, v do
    if math.type(k) ~= "integer" or k < 1 or k > n then return false end
    count = count + 1
  end
  return count == n and (n > 0 or tag == P.array_tag)
end

function P.is_callable(v)
  if type(v) == "function" then return true end
  local mt = getmt(v)
  return type(mt) == "table" and rawget(mt, "__call") ~= nil
end

-- Errors
local DELAY = { provider = 2000, resource = 500, timeout = 5000, network = 1000, rate_limit = 1000 }
local error_tag = { __metatable = false }
P.error_tag = error_tag
error_tag.__tostring = function(e) return tostr(e.kind) .. " error: " .. tostr(e.message) end
error_tag.__concat = function(a, b) return tostr(a) .. tostr(b) end

function P.new_error(fields)
  if fields.retryable == nil then fields.retryable = DELAY[fields.kind] ~= nil end
  if fields.retryable and fields.retry_after_ms == nil then fields.retry_after_ms = DELAY[fields.kind] end
  if fields.traceback == nil then fields.traceback = traceback(nil, 2) end
  return setmt(fields, error_tag)
end

function P.raise(kind, message, details)
  error(P.new_error { kind = kind, message = message, details = details }, 0)
end

function P.memory_error(limit, used)
  local message = ("Resource limit exceeded: memory_bytes (limit %d, used %d)"):format(limit, used)
  return P.new_error {
    kind = "resource_limit", message = message, traceback = "",
    details = { resource = "memory_bytes", limit = limit, used = used, code = "limit_exceeded" },
  }
end

-- host -> script: an error of the host, or one of the script's own on its way back, unchanged
function P.make_error(wire)
  if wire.ref ~= nil then return (C.deref(wire.ref)) end
  if wire.text ~= nil then return wire.text end
  for k, v in next, wire do
    if rawequal(v, null) then wire[k] = nil end
  end
  return P.new_error(wire)
end

local function plain(v, depth)
  local kind = type(v)
  local tag = kind == "table" and getmt(v)
  if tag == null_tag then return v end
  if kind == "table" and depth > 0 and (tag == nil or tag == P.array_tag or tag == P.object_tag) then
    local copy = setmt({}, tag or nil)
    for k, item in next, v do
      if type(k) == "string" or type(k) == "number" then copy[k] = plain(item, depth - 1) end
    end
    return copy
  end
  if kind == "function" or kind == "thread" or kind == "userdata" or kind == "table" then return tostr(v) end
  return v
end

-- script -> host: what the host must know of an error; `ref` keeps the value itself
function P.describe_error(value, where)
  if type(value) == "string" then return { text = value, traceback = where } end
  if getmt(value) == error_tag then
    return {
      ref = C.ref(value), kind = tostr(value.kind), message = tostr(value.message), retryable = value.retryable == true,
      retry_after_ms = math.tointeger(value.retry_after_ms), component = value.component and tostr(value.component),
      details = plain(value.details, 6), traceback = value.traceback or where,
    }
  end
  local ok, message = C.pcall(tostr, value)
  return { ref = C.ref(value), message = ok and message or "(error object)", traceback = where }
end

-- Handles
local kinds = {}
P.idents = setmt({}, { __mode = "k" })
local idents = P.idents

local function kind_of(name)
  local kind = kinds[name]
  if kind ~= nil then return kind end
  kind = { methods = {}, cache = setmt({}, { __mode = "v" }) }
  local methods = kind.methods
  local texts = setmt({}, { __mode = "k" })
  local mt = { __handle = name, __metatable = false }
  kind.tag, kind.texts = mt, texts
  mt.__tostring = function(h) return texts[h] end
  mt.__concat = function(a, b) return tostr(a) .. tostr(b) end
  mt.__len = function(h) return #texts[h] end
  mt.__index = function(h, key)
    local method = methods[key]
    if method ~= nil then return method end
    if kind.lookup then
      local value = kind.lookup(idents[h], key)
      if value ~= nil then return value end
    end
    local of_text = string_library[key]
    if of_text ~= nil then
      return function(self, ...)
        if texts[self] ~= nil then return of_text(texts[self], ...) end
        return of_text(self, ...)
      end
    end
    return nil
  end
  kinds[name] = kind
  return kind
end
P.kind_of = kind_of

function P.handle_methods(name) return kind_of(name).methods end

function P.make_handle(parts)
  local kind, ident = kind_of(parts[1]), parts[2]
  local handle = kind.cache[ident]
  if handle == nil then
    handle = setmt({}, kind.tag)
    kind.cache[ident] = handle
    idents[handle] = ident
  end
  kind.texts[handle] = parts[3]
  for k, v in next, parts[4] do
    if rawequal(v, null) then v = nil end
    rawset(handle, k, v)
  end
  return handle
end

-- Methods that the host answers take the ident in place of the handle.
function P.handle_method(kind, name, call)
  return function(self, ...)
    local ident = idents[self]
    if ident == nil or getmt(self) ~= kind.tag then
      P.raise("validation", ("bad self to '%s' (%s expected, got %s): call it with ':'"):format(name, kind.tag.__handle, type(self)))
    end
    return call(ident, ...)
  end
end

-- Tagged values
local tags = {}
local message_tag = { __metatable = false }
message_tag.__tostring = function(e) return tostr(e.message) end
message_tag.__concat = function(a, b) return tostr(a) .. tostr(b) end
P.message_tag = message_tag

local result_tag = { __metatable = false }
tags.result = result_tag
result_tag.__tostring = function(r)
  if r.text ~= nil then return tostr(r.text) end
  return tostr(r.error)
end
result_tag.__concat = function(a, b) return tostr(a) .. tostr(b) end

function P.metatable(tag, mt)
  if mt.__metatable == nil then mt.__metatable = false end
  tags[tag] = mt
end

function P.make_tagged(parts)
  local tag, value = tags[parts[1]], parts[2]
  if type(value) ~= "table" then return value end
  for k, v in next, value do
    if rawequal(v, null) then value[k] = nil end
  end
  if type(value.error) == "table" and getmt(value.error) == nil then setmt(value.error, message_tag) end
  return tag and setmt(value, tag) or value
end

C.set_library(P)
