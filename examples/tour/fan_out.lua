-- Checks many "services" at once: bounded concurrency, results in order, failures beside successes, a time limit.
-- Run: llmspell run fan_out.lua
local services = { "auth", "billing", "search", "mail", "reports", "archive" }
local delay = { auth = 30, billing = 10, search = 20, mail = 5, reports = 15, archive = 60000 }

local function ping(name)
  sleep(delay[name]) -- waiting costs no thread; other tasks go on
  if name == "mail" then Utils.error("network", "connection refused") end
  return ("%s answered after %d ms"):format(name, delay[name])
end

local checks = {}
for i, name in ipairs(services) do
  checks[i] = function() return Async.timeout(400, ping, name) end
end
for i, check in ipairs(Async.settled(checks, { max_concurrency = 4 })) do
  print(services[i], check.ok and check.value or check.error.kind .. ": " .. check.error.message)
end

local names = Async.map(services, string.upper)
print(table.concat(names, " "))
local value, index = Async.race { function() return ping("archive") end, function() return ping("billing") end }
print("first of the race is #" .. index, value)
