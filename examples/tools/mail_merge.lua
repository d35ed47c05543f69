-- Writes one letter per customer of a CSV file from one template, into files.
-- Run: llmspell run mail_merge.lua data/orders.csv
local template = [[
Dear {{ customer }},

your order {{ id }} of {{ amount|round(2) }} EUR was shipped to the {{ region }}.
{%- if amount >= 500 %}
Orders of this size travel free of charge.
{%- endif %}
]]
local rows = Tool.execute("csv", { operation = "convert", path = ARGS[1], format = "json" })
local letters = 0
for _, row in ipairs(JSON.parse(rows.text)) do
  if not JSON.is_null(row.email) and row.email:find("@", 1, true) then
    local letter = Tool.execute("template", { input = template, context = row, engine = "jinja", strict = true })
    Tool.execute("files", { operation = "write", path = ("out/letter-%03d.txt"):format(row.id), input = letter.text })
    letters = letters + 1
  end
end

local written = Tool.execute("files", { operation = "list_dir", path = "out", pattern = "letter-*.txt" })
print(letters, "letters,", #written.result.entries, "files")
print(Tool.execute("files", { operation = "read", path = "out/letter-002.txt" }).text)
