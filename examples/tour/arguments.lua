-- Reads typed arguments, refuses wrong ones, and returns a result for `--print-result` or `--output json`.
-- Run: llmspell run arguments.lua --print-result -- --from=2025-01-30 --every=month --count=4 --skip=2 --skip=3
local given = Args.parse {
  from = { type = "string", required = true },
  every = { type = "string", default = "week", choices = { "day", "week", "month" } },
  count = { type = "integer", default = 3 },
}
local skipped = {}
for _, number in ipairs(Args.all("skip")) do skipped[tonumber(number)] = true end

local plan = JSON.array {}
for i = 0, given.count - 1 do
  if not skipped[i + 1] then
    local moved = Tool.execute("datetime-handler", { operation = "add", input = given.from, amount = i, unit = given.every .. "s" })
    plan[#plan + 1] = moved.text
  end
end
return { every = given.every, plan = plan }
