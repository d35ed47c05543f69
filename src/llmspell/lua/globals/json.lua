-- JSON: what concerns the identity and the tags of tables.
local api, lib = ...
local null, is_array = lib.null, lib.is_array
local type, next, rawget, rawset, rawlen, rawequal = type, next, rawget, rawset, rawlen, rawequal
local find, sub, gsub, match, tointeger, tonumber = string.find, string.sub, string.gsub, string.match, math.tointeger, tonumber

api.null = null

function api.is_null(v) return v == nil or rawequal(v, null) end

local function table_or_nil(v, name)
  if v ~= nil then lib.check(v, "table", 1, name) end
  return v or {}
end

function api.array(t) return lib.array(table_or_nil(t, "JSON.array")) end
function api.object(t) return lib.object(table_or_nil(t, "JSON.object")) end
function api.is_array(v) return type(v) == "table" and is_array(v) end

local MAX_DEPTH = 128
local function too_deep()
  lib.raise("validation", "nested deeper than " .. MAX_DEPTH .. " tables", {code = "too_deep"})
end

local function equal(a, b, depth)
  if api.is_null(a) or api.is_null(b) then return api.is_null(a) and api.is_null(b) end
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  if rawequal(a, b) then return true end
  if depth > MAX_DEPTH then too_deep() end
  if is_array(a) ~= is_array(b) then return false end
  for k, v in next, a do
    if not equal(v, rawget(b, k), depth + 1) then return false end
  end
  for k, v in next, b do
    if rawget(a, k) == nil and not api.is_null(v) then return false end
  end
  return true
end

function api.equals(a, b) return equal(a, b, 1) end

local function copy(v, seen)
  if type(v) ~= "table" or rawequal(v, null) then return v end
  if seen[v] then return seen[v] end
  local made = {}
  seen[v] = made
  for k, item in next, v do made[k] = copy(item, seen) end
  if is_array(v) then return lib.array(made) end
  local mt = getmetatable(v)
  if type(mt) == "table" then setmetatable(made, mt) end
  return made
end

function api.copy(v) return copy(v, {}) end

local function tokens(pointer, name)
  lib.check(pointer, "string", 2, name)
  if pointer == "" then return {} end
  if sub(pointer, 1, 1) ~= "/" then
    lib.raise("validation", "a JSON pointer is empty or starts with '/', got \"" .. pointer .. '"', {code = "invalid_argument"})
  end
  local list, from = {}, 2
  while true do
    local stop = find(pointer, "/", from, true)
    local part = sub(pointer, from, (stop or 0) - 1)
    list[#list + 1] = (gsub(gsub(part, "~1", "/"), "~0", "~"))
    if not stop then return list end
    from = stop + 1
  end
end

-- The key that `token` means in `t`: arrays count from 0 in a pointer and from 1 in Lua.
local function key_of(t, token)
  local index = match(token, "^%d+$") and tointeger(tonumber(token))
  if is_array(t) then
    if token == "-" then return rawlen(t) + 1 end
    return index and index + 1
  end
  if index and rawget(t, token) == nil and rawget(t, index) ~= nil then return index end
  return token
end

function api.get(value, pointer)
  for _, token in ipairs(tokens(pointer, "JSON.get")) do
    if type(value) ~= "table" or rawequal(value, null) then return nil end
    local key = key_of(value, token)
    if key == nil then return nil end
    value = rawget(value, key)
  end
  return value
end

function api.set(value, pointer, v)
  local list = tokens(pointer, "JSON.set")
  if #list == 0 then return v end
  lib.check(value, "table", 1, "JSON.set")
  local t = value
  for i, token in ipairs(list) do
    local key = key_of(t, token)
    if key == nil or (is_array(t) and key > rawlen(t) + 1) then
      lib.raise("validation", 'no place for "' .. token .. '" in an array of ' .. rawlen(t) .. " at " .. pointer,
        {code = "invalid_argument", path = pointer})
    end
    if i == #list then
      if v == nil and is_array(t) and key < rawlen(t) then v = null end
      rawset(t, key, v)
      return value
    end
    local child = rawget(t, key)
    if child == nil or rawequal(child, null) then
      child = {}
      rawset(t, key, child)
    elseif type(child) ~= "table" then
      lib.raise("validation", 'the value at "' .. token .. '" of ' .. pointer .. " is a " .. type(child) .. ", not a table",
        {code = "invalid_argument", path = pointer})
    end
    t = child
  end
end
