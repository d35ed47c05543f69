-- Turns a CSV file into a report: totals per region, the large orders, and the rows that break the rules.
-- Run: llmspell run csv_report.lua data/orders.csv
local function csv(params)
  params.path = ARGS[1]
  return Tool.execute("csv-analyzer", params)
end

local totals = csv {
  operation = "aggregate",
  group_by = "region",
  metrics = { orders = "count", revenue = "sum(amount)", largest = "max(amount)" },
}
print("# Revenue by region")
Display.table(totals.result.rows, { columns = { "region", "orders", "revenue", "largest" } })

print("\n# Large orders")
Utils.write(csv { operation = "filter", filter = "amount >= 500" }.text)

print("\n# Rows to look at")
local checked = csv { operation = "validate", rules = { amount = "range:1-2000", email = { "required", "email" } } }
for _, e in ipairs(checked.result.errors) do
  print(("row %d, %s: %s"):format(e.row, e.column, e.error))
end
