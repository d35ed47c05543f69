-- Shows an answer while it is written, counts what it costs, and stops a long one early.
-- Run: llmspell run streaming.lua
local agent = Agent.builder("narrator"):model("echo/story"):memory_enabled(false):build()

for chunk in agent:stream("The owl saw the lighthouse long before the sailors did.") do
  if chunk.type == "text" then Utils.write("[", chunk.text, "]") end
end
print()

-- Streams are lazy: the first sentence is enough here, and closing the stream ends the call to the model.
local stream = agent:stream("It was dark. Nobody spoke. Nobody slept. Nobody knew.")
local text = ""
for chunk in stream do
  text = text .. chunk.text
  if text:find("%.%s*$") then break end
end
stream:close()
print("first sentence:", Utils.trim(text))

-- A callback does as well; what it returns decides whether to go on.
local words = 0
local r = agent:invokeStream("one two three four", function(chunk)
  if chunk.type == "text" then words = words + 1 end
end)
print(r.text, "in " .. words .. " pieces,", r.usage.input_tokens .. " tokens in", r.usage.output_tokens .. " out")
