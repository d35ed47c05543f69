-- State: a scope may be a table {type, id?} or a handle, whose kind only this side knows.
local api, lib = ...
local type, tostring, next, select = type, tostring, next, select
local raw_metatable, raise, null = lib.raw_metatable, lib.raise, lib.null

local KINDS = {session = true, agent = true, workflow = true, tool = true}

local function scope_of(v)
  local mt = raw_metatable(v)
  local kind = mt and mt.__handle
  if kind then
    if not KINDS[kind] then raise("validation", "a " .. kind .. " is no scope: use a text, {type, id} or a session, agent, workflow or tool") end
    return kind .. ":" .. tostring(v)
  end
  local word, id = v.type, v.id
  if type(word) ~= "string" then raise("validation", "a scope table is {type = <kind>, id = <id>?}") end
  if id == nil then return word end
  return word .. ":" .. tostring(id)
end

local SCOPED = {"save", "set_scoped", "load", "get_scoped", "set", "delete", "delete_scoped", "exists", "has", "list_keys", "keys",
  "list", "list_scoped", "all", "clear", "clear_scope", "setScope", "set_scope", "increment", "append", "compare_and_swap", "cas"}

-- Forms are told apart by the number of arguments and the host drops nils at the end, so a nil that counts becomes null.
local COUNTED = {set = 3, append = 3, compare_and_swap = 4, cas = 4}
local methods = lib.handle_methods("transaction")

local function whole(most, n, ...)
  if n ~= most or select(n, ...) ~= nil then return ... end
  if n == 3 then
    local a, b = ...
    return a, b, null
  end
  local a, b, c = ...
  return a, b, c, null
end

for _, name in next, SCOPED do
  local plain, of_handle, most = api[name], methods[name], COUNTED[name]
  api[name] = function(first, ...)
    if type(first) == "table" then first = scope_of(first) end
    if most then return plain(whole(most, select("#", ...) + 1, first, ...)) end
    return plain(first, ...)
  end
  methods[name] = function(self, first, ...)
    if type(first) == "table" then first = scope_of(first) end
    if most then return of_handle(self, whole(most, select("#", ...) + 1, first, ...)) end
    return of_handle(self, first, ...)
  end
end

local function with_scopes(options)
  if type(options) ~= "table" or type(options.component) ~= "table" then return options end
  local copy = {}
  for key, value in next, options do copy[key] = value end
  copy.component = scope_of(options.component)
  return copy
end

local lookup, lookup_inside = api.lookup, methods.lookup
function api.lookup(key, options) return lookup(key, with_scopes(options)) end
function methods.lookup(self, key, options) return lookup_inside(self, key, with_scopes(options)) end
