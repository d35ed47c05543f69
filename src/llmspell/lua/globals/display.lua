-- Display: `display(x)`, which looks at metafields, and iterating over a list with a progress bar.
local api, lib = ...
local type, tostring, rawequal, rawget, getmetatable = type, tostring, rawequal, rawget, getmetatable

local function metafield(x, name)
  local mt = getmetatable(x)
  return type(mt) == "table" and rawget(mt, name) or nil
end

-- A table that knows its own text (a result, a handle, an error) is shown by it; others are dumped.
local function has_text(x)
  local text = tostring(x)
  return not text:find("^table: ") and text or nil
end

local function bundle_of(x)
  if type(x) ~= "table" or rawequal(x, lib.null) then return {["text/plain"] = tostring(x)} end
  local show = metafield(x, "__display")
  if show then
    local made = show(x)
    lib.check(made, "table", 1, "__display")
    return made
  end
  return {["text/plain"] = has_text(x) or lib.global("Debug").dump(x)}
end

local generic = {}
local object = api.object

function api.display(x, options)
  if options ~= nil then lib.check(options, "table", 2, "display") end
  local handle = object(bundle_of(x), options and options.metadata, options)
  generic[tostring(handle)] = true
  return handle
end

local methods = lib.handle_methods("display")
local update, clear = methods.update, methods.clear

function methods.update(self, x, ...)
  if generic[tostring(self)] then x = bundle_of(x) end
  return update(self, x, ...)
end

function methods.clear(self)
  generic[tostring(self)] = nil
  return clear(self)
end

local progress = lib.handle_methods("progress")

function progress.wrap(self, list)
  lib.check(list, "table", 1, "wrap")
  local i = 0
  return function()
    if i > 0 then progress.advance(self, 1) end
    i = i + 1
    if list[i] == nil then progress.close(self) end
    return list[i]
  end
end
