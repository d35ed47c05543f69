-- Agent: the builder, streams, tasks, and what reads as text.
local api, lib = ...
local type, ipairs, pairs, rawget, setmetatable, tostring, table = type, ipairs, pairs, rawget, setmetatable, tostring, table
local methods = lib.handle_methods("agent")
local open, following, close, create, entries = api.stream_open, api.stream_next, api.stream_close, api.create, api.capability_entries
local names = api.setters()
api.stream_open, api.stream_next, api.stream_close, api.setters, api.capability_entries = nil, nil, nil, nil, nil

local chunk_tag = {
  __metatable = false,
  __tostring = function(c) return rawget(c, "text") or "" end,
  __concat = function(a, b) return tostring(a) .. tostring(b) end,
}
lib.metatable("agent_chunk", chunk_tag)

-- Builder
local setters = {}
for _, name in ipairs(names) do
  setters[name] = function(state, value) state[name] = value end
end

local function appends(field)
  return function(state, value)
    local list = {}
    for i, item in ipairs(state[field] or {}) do list[i] = item end
    list[#list + 1] = value
    state[field] = list
  end
end
for _, name in ipairs { "tool", "add_tool", "allow_tool" } do setters[name] = appends("tools") end
setters.capability, setters.fallback, setters.tag = appends("capabilities"), appends("fallbacks"), appends("tags")
setters.allowed_tools = setters.tools

local function build(state)
  local config = {}
  for key, value in pairs(state) do config[key] = value end
  return create(config)
end

function api.builder(name)
  return lib.builder(setters, build, { name = name })
end

-- Streams and tasks
function methods.stream(self, input, options)
  local number = open(lib.ident(self), input, options)
  -- Texts that came at once cross at once; their chunks are made here, one by one.
  local texts, at, count, index, id, model = nil, 0, 0, 0, nil, nil
  local stream
  stream = lib.stream(function()
    if at < count then
      at = at + 1
      return setmetatable({
        type = "text", text = texts[at], index = index + at, is_final = false, stream_id = id, model = model,
      }, chunk_tag)
    end
    local chunk, more = following(number)
    if chunk == nil then
      stream.result = more
    elseif more ~= nil then
      texts, at, count, index, id, model = more, 0, #more, chunk.index, chunk.stream_id, chunk.model
    end
    return chunk
  end, function() close(number) end)
  -- the fourth value closes the stream when a `for` loop over the call is left early
  return stream, nil, nil, setmetatable({}, { __close = function() stream:close() end })
end

function methods.execute_async(self, input, options, callback)
  if lib.is_callable(options) then options, callback = nil, options end
  return lib.global("Async").spawn(function()
    local ok, outcome = lib.C.pcall(self.execute, self, input, options)
    if callback ~= nil then
      if ok then callback(outcome, nil) else callback(nil, outcome) end
    end
    if not ok then error(outcome, 0) end
    return outcome
  end)
end

local permit = methods.permit_tool
methods.permit_tool = nil
function methods.invokeTool(self, name, params)
  permit(self, tostring(name))
  return lib.global("Tool").execute(name, params)
end
methods.invoke_tool, methods.call_tool = methods.invokeTool, methods.invokeTool

function methods.logEvent(_, kind, message, data)
  lib.check(kind, "string", 2, "agent:logEvent")
  lib.global("Logger").info("agent.log." .. kind .. ": " .. tostring(message), data)
end
methods.log_event = methods.logEvent

-- Entries by name, and the words of all of them at 1..n
function api.list_capabilities(name)
  local found, result, seen = entries(name), {}, {}
  for agent, entry in pairs(found) do
    for _, word in ipairs(entry.words) do seen[word] = true end
    entry.words = nil
    if name ~= nil then return entry end
    result[agent] = entry
  end
  local words = {}
  for word in pairs(seen) do words[#words + 1] = word end
  table.sort(words)
  for i, word in ipairs(words) do result[i] = word end
  return result
end
