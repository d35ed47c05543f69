-- A long job that remembers where it was: each run does three steps and goes on where the last one stopped.
-- Run: llmspell run resume.lua
local steps = { "fetch", "unpack", "check", "convert", "index", "publish", "notify" }

local function run()
  local at = State.get("job:at", 0)
  for i = at + 1, math.min(at + 3, #steps) do
    State.append("job:log", steps[i])
    State.set("job:at", i)
  end
  local now = State.get("job:at")
  print(("%d of %d: %s"):format(now, #steps, table.concat(State.get("job:log"), " ")))
  return now == #steps
end

while not run() do end -- a crash between two steps would lose nothing: start the spell again
State.delete("job:at")
State.delete("job:log")

-- Values may expire by themselves, which makes a cache.
local misses = 0
local function cached(key, seconds, compute)
  local value = State.load("custom:cache", key)
  if value == nil then
    misses = misses + 1
    value = compute()
    State.save("custom:cache", key, value, { ttl_seconds = seconds })
  end
  return value
end
for _ = 1, 3 do cached("answer", 60, function() return 42 end) end
print("misses", misses)
State.clear("custom:cache")
