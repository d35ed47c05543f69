-- Plans the payments of a contract: month ends, weekdays, time zones, and how long it is until the last one.
-- Run: llmspell run dates.lua
local function date(params)
  return Tool.execute("datetime-handler", params)
end

local first = "2025-01-31"
for i = 0, 3 do
  local due = date { operation = "add", input = first, amount = i, unit = "months" }
  local facts = date { operation = "info", input = due.text }.result
  local text = date { operation = "format", input = due.text, format = "%a %d %b %Y" }.text
  print(text, "week " .. facts.info.week_of_year, "quarter " .. facts.info.quarter)
end

local meeting = date { operation = "convert_timezone", input = "2025-03-30 09:30", from_timezone = "America/New_York", target_timezone = "Europe/Berlin" }
print("meeting", meeting.text)
local left = date { operation = "difference", start = first, ["end"] = "2025-04-30", unit = "days" }
print("days", left.text)
print("read", date { operation = "parse", input = "3rd of March 2025 5pm", from_timezone = "UTC" }.text)
print("as duration", Utils.format_duration(Utils.parse_duration("1h30m") * 3))
