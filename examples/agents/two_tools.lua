-- An agent with two tools and a structured answer. The model is scripted: it plays the turns below, so the run is the
-- same everywhere. Put a real name in `model` and drop `replies`, and the same spell asks that model.
-- Run: llmspell run two_tools.lua
local prices = { desk = 240, chair = 85.5, lamp = 32 }

Tool.register {
  name = "price",
  description = "Price of one piece of furniture in EUR.",
  parameters = { item = { type = "string", required = true } },
  handler = function(p)
    if not prices[p.item] then Utils.error("tool", "no price for " .. p.item) end
    return { result = prices[p.item] }
  end,
}

local agent = Agent.create {
  name = "buyer",
  model = "scripted/buyer",
  system_prompt = "You plan offices. Use the tools, never guess a price.",
  tools = { "price", "calculator" },
  output_schema = {
    type = "object", required = { "items", "total" }, additionalProperties = false,
    properties = { items = { type = "array", items = { type = "string" } }, total = { type = "number" } },
  },
  replies = {
    { tool_calls = { { name = "price", arguments = { item = "desk" } }, { name = "price", arguments = { item = "chair" } } } },
    function(request) -- a turn may look at what it is asked: here, at the results of its tools
      local last = request.messages
      local sum = ("%s*2 + %s*4"):format(last[#last - 1].content, last[#last].content)
      return { tool_calls = { { name = "calculator", arguments = { input = sum } } } }
    end,
    { text = '{"items": ["2 desks", "4 chairs"]}' }, -- breaks the schema: the agent asks once more by itself
    { data = { items = { "2 desks", "4 chairs" }, total = 822 } },
  },
}

local r = agent:execute("Two desks and four chairs, please.")
print("total", r.data.total, "for", table.concat(r.data.items, " and "))
for _, call in ipairs(r.tool_calls) do
  print(call.name, JSON.stringify(call.arguments), call.success, JSON.stringify(call.result))
end
print("model calls", r.metadata.extra.model_calls, "finish", r.finish_reason)
