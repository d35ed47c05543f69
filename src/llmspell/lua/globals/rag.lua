-- RAG: search results that count and index like a list, providers that print their name, `RAG.config`.
local api, lib = ...
local type, next, setmetatable, rawequal = type, next, setmetatable, rawequal
local effective, configure = api.effective, api.configure
api.effective = nil

local result = {}
function result.__len(r)
  return #r.results
end
function result.__index(r, key)
  if type(key) == "number" then return r.results[key] end
end
lib.metatable("rag_result", result)

lib.metatable("rag_provider", {
  __tostring = function(p)
    return p.name
  end,
})

-- The settings in force, read anew at each look; calling it changes them.
local config
config = setmetatable({}, {
  __metatable = false,
  __index = function(_, key)
    return effective()[key]
  end,
  __newindex = function()
    lib.raise("validation", "RAG.config is read only: call RAG.configure{...}")
  end,
  __pairs = function()
    return next, effective(), nil
  end,
  __call = function(_, options, more)
    if type(options) == "table" and rawequal(options, lib.global("RAG")) then options = more end
    if options ~= nil then return configure(options) end
    return config
  end,
})
api.config = config
