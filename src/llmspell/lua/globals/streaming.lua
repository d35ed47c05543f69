-- A Stream wraps `following`, a function that gives the next item or nil, and may wait. One item is read ahead only
-- when `isDone` would otherwise have to guess: a stream is done once its end has been met.
local api, lib, P = ...
local raise = lib.raise
local Stream = {}
Stream.__index = Stream
Stream.__metatable = false
Stream.__name = "Stream"

local function make(following, close)
  return setmetatable({ following = following, close_source = close, done = false }, Stream)
end
P.make_stream = make

local function check(self)
  if type(self) ~= "table" or rawget(self, "following") == nil then raise("validation", "bad self (stream expected): call it with ':'") end
end

function Stream:next()
  check(self)
  if self.done then return nil end
  local ok, item = pcall(self.following)
  if not ok then
    self.done = true
    error(item, 0)
  end
  if item == nil then self.done = true end
  return item
end

function Stream:isDone()
  check(self)
  return self.done
end
Stream.is_done = Stream.isDone
Stream.__call = function(self) return self:next() end

function Stream:collect()
  local list = lib.array {}
  for item in self do list[#list + 1] = item end
  return list
end

function Stream:close()
  check(self)
  if not self.done then
    self.done = true
    if self.close_source then self.close_source() end
  end
end

local function derived(self, following)
  check(self)
  return make(following, function() self:close() end)
end

function Stream:map(f)
  lib.check(f, "function", 1, "stream:map")
  return derived(self, function()
    local item = self:next()
    if item ~= nil then return f(item) end
    return nil
  end)
end

function Stream:filter(f)
  lib.check(f, "function", 1, "stream:filter")
  return derived(self, function()
    for item in self do
      if f(item) then return item end
    end
    return nil
  end)
end

function Stream:take(n)
  lib.check(n, "number", 1, "stream:take")
  return derived(self, function()
    if n <= 0 then
      self:close()
      return nil
    end
    n = n - 1
    return self:next()
  end)
end

function Stream:batch(n)
  if math.type(n) ~= "integer" or n < 1 then raise("validation", "stream:batch needs an integer of at least 1") end
  return derived(self, function()
    local list = lib.array {}
    while #list < n do
      local item = self:next()
      if item == nil then break end
      list[#list + 1] = item
    end
    if #list > 0 then return list end
    return nil
  end)
end

function Stream:each(f)
  lib.check(f, "function", 1, "stream:each")
  for item in self do f(item) end
end

function Stream:reduce(f, value)
  lib.check(f, "function", 1, "stream:reduce")
  for item in self do value = f(value, item) end
  return value
end

local function generator(fn)
  local co = coroutine.create(fn)
  return make(function()
    if coroutine.status(co) == "dead" then return nil end
    local ok, item = coroutine.resume(co)
    if not ok then error(item, 0) end
    return item
  end, function()
    if coroutine.status(co) == "suspended" then coroutine.close(co) end
  end)
end

function api.create(fn)
  lib.check(fn, "function", 1, "Streaming.create")
  return generator(fn)
end

function api.yield(...) return coroutine.yield(...) end

function api.from(source)
  if type(source) == "table" and getmetatable(source) == false and rawget(source, "following") then return source end
  if type(source) == "table" and type(source.receive) == "function" then
    return make(function() return source:receive() end, function()
      if type(source.close) == "function" then source:close() elseif type(source.unsubscribe) == "function" then source:unsubscribe() end
    end)
  end
  if type(source) == "function" or (type(source) == "table" and lib.is_callable(source)) then return make(function() return source() end) end
  if type(source) ~= "table" then lib.check(source, "table", 1, "Streaming.from") end
  local position = 0
  return make(function()
    position = position + 1
    return source[position]
  end)
end
