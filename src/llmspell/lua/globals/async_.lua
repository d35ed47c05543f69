-- Async over tasks and gates. Records of tasks stay here: what a task was given and returned is never copied.
local api, lib, P = ...
local start, stop, gate, open, wait, current_id, host_sleep = api.start, api.stop, api.gate, api.open, api.wait, api.current_id, api.sleep
api.start, api.stop, api.gate, api.open, api.wait, api.current_id = nil, nil, nil, nil, nil, nil
local pcall, raise, callable = lib.C.pcall, lib.raise, lib.is_callable
local pack, unpack = table.pack, table.unpack

local records = {}
local names = setmetatable({}, { __mode = "k" })
local Task = lib.handle_methods("task")

local function handle_of(name) return lib.make_handle { "task", name, name, { id = name } } end

local function record_of(task, label)
  local name = lib.ident(task)
  local record = name and records[name]
  if record == nil then raise("validation", ("bad self to '%s' (task expected, got %s)"):format(label, type(task))) end
  return record
end

local function settle(record, status, value)
  record.status, record.failure = status, value
  record.ended = true
end

-- Entry of every task's coroutine.
function P.entries.task(name)
  local record = records[name]
  record.status = "running"
  local results = pack(pcall(record.fn, unpack(record.args, 1, record.args.n)))
  record.fn, record.args = nil, nil
  if results[1] then
    record.status, record.ended, record.results, record.n = "done", true, results, results.n - 1
  else
    local e = results[2]
    local cancelled = lib.is_error(e) and e.kind == "cancelled"
    settle(record, cancelled and "cancelled" or "failed", e)
  end
  for _, fn in ipairs(record.callbacks) do
    local ok, e = pcall(fn, handle_of(name))
    if not ok then lib.write("stderr", "error in on_done of " .. name .. ": " .. tostring(e) .. "\n") end
  end
end

function P.unawaited()
  local list = {}
  for name, record in pairs(records) do
    if record.status == "failed" and not record.observed then list[#list + 1] = name .. " failed: " .. tostring(record.failure) end
  end
  table.sort(list)
  return lib.array(list)
end

local function spawn(fn, ...)
  if not callable(fn) then lib.check(fn, "function", 1, "Async.spawn") end
  local name = start()
  local record = { name = name, fn = fn, args = pack(...), status = "pending", callbacks = {} }
  records[name] = record
  local handle = handle_of(name)
  record.handle = handle -- the record keeps its handle alive until the task is over and forgotten
  return handle
end

local function failed(record)
  record.observed = true
  error(record.failure, 0)
end

-- Waits until the record has ended; false on time-out. Refuses a task that would wait for itself, directly or not.
local function wait_for(record, timeout_ms)
  if record.ended then return true end
  local mine = current_id()
  local me = mine and records[mine]
  if me then
    local next_one = record
    while next_one do
      if next_one == me then raise("script", "task awaits itself") end
      next_one = next_one.awaiting
    end
    me.awaiting = record
  end
  local ok, done = pcall(wait, record.name, timeout_ms)
  if me then me.awaiting = nil end
  if not ok then error(done, 0) end
  return done and record.ended
end

local function results_of(record)
  record.observed = true
  if record.status ~= "done" then failed(record) end
  return unpack(record.results, 2, record.n + 1)
end

local function cancel(record, reason)
  if record.ended then return false end
  record.cancelled = reason or "cancelled"
  record.observed = true
  local pending = record.status == "pending"
  if pending then settle(record, "cancelled", lib.new_error { kind = "cancelled", message = record.cancelled, details = { code = "cancelled" } }) end
  stop(record.name, record.cancelled)
  return true
end

function Task:status() return record_of(self, "status").status end
function Task:is_done() return record_of(self, "is_done").ended == true end
function Task:cancel(reason) return cancel(record_of(self, "cancel"), reason) end
function Task:await(timeout_ms)
  local record = record_of(self, "await")
  if timeout_ms ~= nil then lib.check(timeout_ms, "number", 1, "task:await") end
  if not wait_for(record, timeout_ms) then raise("timeout", ("task did not end within %g ms"):format(timeout_ms)) end
  return results_of(record)
end
function Task:result()
  local record = record_of(self, "result")
  if record.status ~= "done" then return nil end
  record.observed = true
  return record.results[2]
end
function Task:error()
  local record = record_of(self, "error")
  record.observed = true
  return record.failure
end
function Task:on_done(fn)
  lib.check(fn, "function", 1, "task:on_done")
  local record = record_of(self, "on_done")
  if record.ended then fn(self) else table.insert(record.callbacks, fn) end
  return self
end

api.spawn, api.run = spawn, spawn
function api.yield() coroutine.yield() end
function api.sleep(ms) return host_sleep(lib.check(ms, "number", 1, "Async.sleep")) end
function api.current()
  local name = current_id()
  return name and records[name] and records[name].handle or nil
end
function api.tasks()
  local list = {}
  for _, record in pairs(records) do
    if not record.ended then list[#list + 1] = record.handle end
  end
  table.sort(list, function(a, b) return records[lib.ident(a)].name < records[lib.ident(b)].name end)
  return lib.array(list)
end

local function check_list(list, label)
  if type(list) ~= "table" then lib.check(list, "table", 1, label) end
  return list, #list
end

local OPTIONS = { max_concurrency = true, timeout_ms = true, fail_fast = true }
local function check_options(options, label, index)
  if options == nil then return {} end
  lib.check(options, "table", index or 2, label)
  lib.options(options, OPTIONS, label)
  for _, name in ipairs { "max_concurrency", "timeout_ms" } do
    if options[name] ~= nil and type(options[name]) ~= "number" then
      raise("validation", ("option '%s' of %s must be a number, got %s"):format(name, label, type(options[name])))
    end
  end
  if options.fail_fast ~= nil and type(options.fail_fast) ~= "boolean" then
    raise("validation", ("option 'fail_fast' of %s must be a boolean, got %s"):format(label, type(options.fail_fast)))
  end
  return options
end

-- Runs one item: a function is called, a task awaited, a plain value is itself.
local function value_of(item)
  if type(item) == "function" then return (item()) end
  if type(item) == "table" and lib.ident(item) and records[lib.ident(item)] then return (item:await()) end
  return item
end

-- Runs `step(i)` for 1..n on at most `most` tasks. fail_fast: the first failure cancels the rest and is raised.
local function run_each(n, most, step, fail_fast, timeout_ms)
  local position, workers, failure = 0, {}, nil
  local function work()
    while failure == nil do
      position = position + 1
      local i = position
      if i > n then return end
      local ok, e = pcall(step, i)
      if not ok and fail_fast and failure == nil then
        failure = { e }
        local mine = current_id()
        for _, worker in ipairs(workers) do
          if lib.ident(worker) ~= mine then worker:cancel("a sibling failed") end
        end
      end
    end
  end
  if n == 0 then return end
  for k = 1, math.min(n, most) do workers[k] = spawn(work) end
  local now = timeout_ms and lib.global("Utils").monotonic_ms
  local deadline = now and now() + timeout_ms
  local ok, e = pcall(function()
    for _, worker in ipairs(workers) do
      local record = records[lib.ident(worker)]
      if not wait_for(record, deadline and math.max(0, deadline - now())) then raise("timeout", ("not all ended within %g ms"):format(timeout_ms)) end
      record.observed = true
    end
  end)
  for _, worker in ipairs(workers) do
    if not ok then worker:cancel("the caller gave up") end
    records[lib.ident(worker)] = nil
  end
  if not ok then error(e, 0) end
  if failure then error(failure[1], 0) end
end

local function concurrency(options, default, label)
  local most = options.max_concurrency
  if most == nil then return default end
  if math.type(most) ~= "integer" or most < 1 then raise("validation", "max_concurrency of " .. label .. " must be an integer of at least 1") end
  return most
end

function api.all(list, options)
  local items, n = check_list(list, "Async.all")
  options = check_options(options, "Async.all")
  local results = lib.array {}
  local failure
  local fail_fast = options.fail_fast ~= false
  run_each(n, concurrency(options, math.max(n, 1), "Async.all"), function(i)
    local ok, value = pcall(value_of, items[i])
    if ok then results[i] = value return end
    failure = failure or { value }
    if fail_fast then error(value, 0) end
  end, fail_fast, options.timeout_ms)
  if failure then error(failure[1], 0) end
  return results
end

function api.settled(list, options)
  local items, n = check_list(list, "Async.settled")
  options = check_options(options, "Async.settled")
  local results = lib.array {}
  local done, e = pcall(run_each, n, concurrency(options, math.max(n, 1), "Async.settled"), function(i)
    local ok, value = pcall(value_of, items[i])
    if ok then results[i] = { ok = true, value = value } else results[i] = { ok = false, error = value } end
  end, false, options.timeout_ms)
  if not done and not (lib.is_error(e) and e.kind == "timeout") then error(e, 0) end
  for i = 1, n do results[i] = results[i] or { ok = false, error = lib.new_error { kind = "timeout", message = "did not end in time" } } end
  return results
end

local function first_of(list, label, wanted)
  local items, n = check_list(list, label)
  if n == 0 then raise("validation", label .. " needs at least one item") end
  local door, winner, failures, tasks = gate(), nil, {}, {}
  for i = 1, n do
    tasks[i] = spawn(function()
      local ok, value = pcall(value_of, items[i])
      if winner == nil and (ok or wanted == "any end") then winner = { i, ok, value } end
      if not ok then failures[#failures + 1] = value end
      if winner ~= nil or #failures == n then open(door) end
    end)
  end
  local ok, e = pcall(wait, door)
  for i = 1, n do
    tasks[i]:cancel("another was first")
    records[lib.ident(tasks[i])].observed = true
  end
  if not ok then error(e, 0) end
  if winner == nil then error(failures[1], 0) end
  if not winner[2] then error(winner[3], 0) end
  return winner[3], winner[1]
end

function api.race(list) return first_of(list, "Async.race", "any end") end
function api.any(list) return first_of(list, "Async.any", "success") end

local function each(label, keep)
  return function(list, fn, options)
    local items, n = check_list(list, label)
    lib.check(fn, "function", 2, label)
    options = check_options(options, label, 3)
    local results = keep and lib.array {} or nil
    run_each(n, concurrency(options, 8, label), function(i)
      local value = fn(items[i], i)
      if keep then results[i] = value end
    end, options.fail_fast ~= false, options.timeout_ms)
    return results
  end
end
api.map, api.each = each("Async.map", true), each("Async.each", false)

function api.timeout(ms, fn, ...)
  lib.check(ms, "number", 1, "Async.timeout")
  lib.check(fn, "function", 2, "Async.timeout")
  local task = spawn(fn, ...)
  local record = records[lib.ident(task)]
  local ok, done = pcall(wait_for, record, ms)
  if ok and done then
    records[record.name] = nil
    return results_of(record)
  end
  cancel(record, "timeout")
  record.observed = true
  if not ok then error(done, 0) end
  raise("timeout", ("the function did not end within %g ms"):format(ms))
end

-- Waiting lines: each waiter has its own gate, served in order of arrival.
-- One that is served in the moment in which its time runs out has been served; one that is cancelled then gives back
-- what it was served, by `undo`.
local function park(line, timeout_ms, undo)
  local waiter = { door = gate() }
  line[#line + 1] = waiter
  local ok, opened = pcall(wait, waiter.door, timeout_ms)
  waiter.gone = true
  if not ok then
    if waiter.served and undo then undo(waiter) end
    error(opened, 0)
  end
  return opened or waiter.served == true, waiter
end

local function wake(line, value)
  while line[1] do
    local waiter = table.remove(line, 1)
    if not waiter.gone then
      waiter.value, waiter.served = value, true
      open(waiter.door)
      return waiter
    end
  end
  return nil
end

function api.channel(capacity)
  capacity = capacity or 0
  if math.type(capacity) ~= "integer" or capacity < 0 then raise("validation", "the capacity of a channel must be an integer of at least 0") end
  local channel, items, senders, receivers, closed = {}, {}, {}, {}, false
  function channel:send(v)
    if v == nil then raise("validation", "nil cannot be sent over a channel") end
    if closed then raise("script", "send on a closed channel") end
    if wake(receivers, { v }) then return true end
    items[#items + 1] = v
    if #items > capacity then
      local waiter_item = v
      park(senders)
      if closed and items[1] ~= nil and waiter_item == nil then return false end
    end
    return true
  end
  function channel:receive(timeout_ms)
    if #items > 0 then
      local v = table.remove(items, 1)
      wake(senders)
      return v
    end
    if closed then return nil end
    local served, waiter = park(receivers, timeout_ms, function(waiter)
      if waiter.value and not wake(receivers, waiter.value) then table.insert(items, 1, waiter.value[1]) end
    end)
    if served and waiter.value then return waiter.value[1] end
    return nil
  end
  function channel:close()
    closed = true
    while wake(receivers) do end
    while wake(senders) do end
  end
  return setmetatable(channel, { __call = function(self) return self:receive() end })
end

function api.semaphore(n)
  if math.type(n) ~= "integer" or n < 1 then raise("validation", "a semaphore needs an integer of at least 1") end
  local free, line, semaphore = n, {}, {}
  function semaphore:acquire(timeout_ms)
    if free > 0 then
      free = free - 1
      return true
    end
    return (park(line, timeout_ms, function() semaphore:release() end))
  end
  function semaphore:release()
    if not wake(line) then
      if free >= n then raise("script", "release without acquire") end
      free = free + 1
    end
  end
  semaphore["with"] = function(self, fn, ...)
    self:acquire()
    local results = pack(pcall(fn, ...))
    self:release()
    if not results[1] then error(results[2], 0) end
    return unpack(results, 2, results.n)
  end
  return semaphore
end
function api.mutex() return api.semaphore(1) end
