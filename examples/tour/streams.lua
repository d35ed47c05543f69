-- Reads a log lazily: nothing is held but the lines in hand, and reading stops as soon as enough is found.
-- Run: llmspell run streams.lua data/requests.log
local read = 0
local lines = Streaming.create(function()
  for line in io.lines(ARGS[1]) do
    read = read + 1
    Streaming.yield(line)
  end
end)

local slow = lines
  :map(function(line)
    local path, ms = line:match('"%u+ (%S+)[^"]*" %d+ (%d+)ms')
    return { path = path, ms = tonumber(ms) }
  end)
  :filter(function(request) return request.ms and request.ms > 500 end)

for pair in slow:take(4):batch(2) do
  for _, request in ipairs(pair) do print(request.ms, request.path) end
  print("--")
end
print("lines read: " .. read .. " of 12")
