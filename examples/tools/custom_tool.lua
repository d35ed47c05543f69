-- A tool of one's own: the schema is checked before the handler runs, and scripts and agents call it like any other.
-- Run: llmspell run custom_tool.lua
local stock = { apple = 12, pear = 0, plum = 40 }

Tool.register {
  name = "reserve",
  description = "Reserve fruit of the stock.",
  category = "shop",
  parameters = {
    type = "object",
    required = { "item" },
    additionalProperties = false,
    properties = {
      item = { type = "string", enum = Utils.keys(stock), description = "Which fruit" },
      count = { type = "integer", minimum = 1, maximum = 10, default = 1, description = "How many" },
    },
  },
  handler = function(params)
    if stock[params.item] < params.count then
      return { success = false, message = ("only %d %s left"):format(stock[params.item], params.item) }
    end
    stock[params.item] = stock[params.item] - params.count
    return { result = { item = params.item, left = stock[params.item] } }
  end,
}

local done = Tool.reserve { item = "apple", count = 2 }
print(done.success, JSON.stringify(done.result))
print(Tool.reserve({ item = "plum" }).result.left, "after the default of one")
print(Tool.reserve({ item = "pear" }).message)
print(Tool.try("reserve", { item = "apple", count = 11 }).error.message)
print(Tool.try("reserve", { item = "kiwi" }).error.message)

for i, r in ipairs(Tool.batch { { tool = "reserve", params = { item = "plum", count = 5 } }, { tool = "reserve", params = {} } }) do
  print(i, r.success, r.success and r.result.left or r.error.kind)
end
local stats = Tool.stats("reserve")
print("calls", stats.calls, "failures", stats.failures)
