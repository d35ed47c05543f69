-- Asks questions of a JSON file with jq programs, checks it against a schema, and patches it.
-- Run: llmspell run json_queries.lua data/packages.json
local file = assert(io.open(ARGS[1]))
local data = JSON.parse(file:read("a"))
file:close()

print("names      ", JSON.stringify(JSON.query(data, ".packages[].name")))
print("heaviest   ", JSON.query_one(data, ".packages | max_by(.size) | .name"))
print("by licence ", JSON.stringify(JSON.query_one(data, ".packages | group_by(.licence) | map({(.[0].licence): length}) | add")))
print("dependents ", JSON.stringify(JSON.query(data, [[.packages[] | select(.needs | index("core")) | .name]])))
print("by pointer ", JSON.get(data, "/packages/1/needs/0"))

local schema = {
  type = "object", required = { "packages" },
  properties = { packages = { type = "array", items = {
    type = "object", required = { "name", "size", "licence" },
    properties = { name = { type = "string" }, size = { type = "integer", minimum = 1 } },
  } } },
}
local valid, problems = JSON.validate(data, schema)
print("valid      ", valid)
for _, problem in ipairs(problems) do print("           ", problem.path, problem.message) end

local fixed = JSON.merge_patch(data.packages[3], { size = 12, note = JSON.null })
print("fixed      ", JSON.stringify(fixed))
local before, after = JSON.pretty(data.packages[3]), JSON.pretty(fixed)
print(Tool.execute("diff", { old_text = before, new_text = after, context_lines = 0 }).text)
