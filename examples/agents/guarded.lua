-- What an agent may do: a gate before each tool call, a limit of calls, a budget, and a second model when one fails.
-- Run: llmspell run guarded.lua
Tool.register("delete_all", function() return "gone" end, {})

local asked = {}
local agent = Agent.create {
  name = "janitor", model = "scripted/janitor", tools = { "delete_all", "calculator" },
  on_tool_call = function(call)
    asked[#asked + 1] = call.name
    if call.name == "delete_all" then return "not without a human" end -- the model is told so
  end,
  replies = {
    { tool_calls = { { name = "delete_all" } } },
    function(request) return "I was told: " .. request.messages[#request.messages].content end,
  },
}
print(agent:execute("Clean up.").text)
print("asked for", table.concat(asked, ", "))

local calls = Agent.create {
  name = "loop", model = "scripted/loop", tools = { "calculator" }, max_tool_calls = 2, on_limit = "raise",
  settings = { loop = true }, replies = { { tool_calls = { { name = "calculator", arguments = { input = "1+1" } } } } },
}
local ok, e = pcall(calls.execute, calls, "Go on for ever.")
print("endless", ok, e.kind, e.message)

local poor = Agent.create { name = "poor", model = "echo/x", budget = { max_tokens = 150, per = "agent" } }
local answered, refused = 0, nil
repeat
  local ok, e = pcall(poor.execute, poor, "eight words that are counted in every question")
  if ok then answered = answered + 1 else refused = e end
until refused
print("budget", answered .. " answers", refused.kind, refused.details.resource)

Provider.scripted("broken", { { error = { status = 503, message = "overloaded" } } }, { loop = true })
local careful = Agent.create {
  name = "careful", model = "scripted/broken", fallbacks = { "echo/upper" }, retry = { max_attempts = 2, backoff_ms = 1 },
}
local r = careful:execute("answer me")
print("fallback", r.text, r.provider, r.metadata.extra.fallback_used)
print("broken was asked", #Provider.scripted_log("broken"))
