-- Tool: results that read as text, calling a handle, and tasks.
local api, lib, P = ...
local tostr, type = tostring, type
local methods = lib.handle_methods("tool")

local function text_of(r)
  if r.text ~= nil then return tostr(r.text) end
  return tostr(r.error)
end

local RAW = { "operation", "success", "message", "result", "error", "metadata" }
lib.metatable("tool_result", {
  __tostring = text_of,
  __concat = function(a, b) return tostr(a) .. tostr(b) end,
  __index = function(r, key)
    if key ~= "_raw_text" then return nil end
    local envelope = {}
    for _, field in ipairs(RAW) do envelope[field] = rawget(r, field) end
    return lib.global("JSON").stringify(envelope, { nan = "null" })
  end,
})

local execute, handle_execute = api.execute, methods.execute
P.kind_of("tool").tag.__call = function(tool, ...) return handle_execute(tool, ...) end

function api.spawn(name, params, options)
  if type(name) ~= "string" and type(name) ~= "table" then lib.check(name, "string", 1, "Tool.spawn") end
  return lib.global("Async").spawn(function() return execute(name, params, options) end)
end

function methods.spawn(tool, params, options)
  return lib.global("Async").spawn(function() return handle_execute(tool, params, options) end)
end
