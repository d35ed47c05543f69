-- Logger: functions and named loggers over one `write`.
local api, lib = ...
local type, next, tostring, rawequal = type, next, tostring, rawequal
local check = lib.check
local write, set_level, get_level, is_enabled = api.write, api.set_level, api.get_level, api.is_enabled
api.write = nil

local LEVELS = {"trace", "debug", "info", "warn", "error", "fatal"}

local function merged(a, b)
  if a == nil then return b end
  if b == nil then return a end
  local both = {}
  for name, value in next, a do both[name] = value end
  for name, value in next, b do both[name] = value end
  return both
end

local make

local function functions(module, fields)
  local f = {}
  local function put(level, msg, more, name)
    if more ~= nil then check(more, "table", level == name and 2 or 3, "Logger." .. name) end
    if type(msg) ~= "string" then msg = tostring(msg) end
    write(level, msg, module, merged(fields, more))
  end
  for _, level in next, LEVELS do
    f[level] = function(msg, more) put(level, msg, more, level) end
  end
  function f.log(level, msg, more) put(check(level, "string", 1, "Logger.log"), msg, more, "log") end
  function f.get(name) return make(check(name, "string", 1, "Logger.get"), fields) end
  f.child = f.get
  f["with"] = function(more) return make(module, merged(fields, check(more, "table", 1, "Logger.with"))) end
  f.set_level, f.get_level, f.is_enabled = set_level, get_level, is_enabled
  f.setLevel, f.getLevel, f.isEnabled = set_level, get_level, is_enabled
  return f
end

function make(module, fields)
  local logger = {}
  for name, f in next, functions(module, fields) do
    logger[name] = function(first, ...)
      if rawequal(first, logger) then return f(...) end
      return f(first, ...)
    end
  end
  return logger
end

for name, f in next, functions(nil, nil) do api[name] = f end
