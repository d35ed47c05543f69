-- A service that fails now and then: retries with a growing pause, only for errors that can pass, and a memory of results.
-- Run: llmspell run retries.lua
local calls = 0
local function fetch(id)
  calls = calls + 1
  if id == 0 then Utils.error("validation", "no such record") end
  if calls % 3 ~= 0 then Utils.error("network", "connection reset") end
  return "record " .. id
end

print(Utils.retry(function() return fetch(7) end, { max_attempts = 5, backoff_ms = 1 }), "after " .. calls .. " calls")

local ok, e = pcall(Utils.retry, function() return fetch(0) end, {
  max_attempts = 5, backoff_ms = 1, retry_if = function(e) return e.retryable end,
})
print(ok, e.kind, "after " .. calls .. " calls")

-- The same for tools, by options.
Tool.register("fetch", function(p) return { result = fetch(p.id) } end, { id = { type = "integer", required = true } })
local r = Tool.execute("fetch", { id = 8 }, { retry = { max_attempts = 4, backoff_ms = 1 } })
print(r.success, r.text, "after " .. calls .. " calls")
