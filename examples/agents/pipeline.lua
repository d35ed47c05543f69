-- A line of agents: one collects, one writes, and a jury of three votes on the title. Agents of type `function` are Lua.
-- Run: llmspell run pipeline.lua
Agent.create {
  name = "collector", type = "function",
  handler = function(input)
    local facts = {}
    for fact in input:gmatch("[^;]+") do facts[#facts + 1] = "- " .. Utils.trim(fact) end
    return table.concat(facts, "\n")
  end,
}
Agent.create {
  name = "writer", model = "scripted/writer", system_prompt = "Write one sentence from the facts.",
  replies = { function(request)
    local facts = request.messages[#request.messages].content
    return "Of " .. select(2, facts:gsub("\n", "")) + 1 .. " facts, the oddest: " .. facts:match("[^\n]+$"):sub(3)
  end },
}
local line = Agent.create_composite { name = "desk", agents = { "collector", "writer" }, strategy = "pipeline" }
local r = line:execute("owls turn their heads by 270 degrees; they cannot move their eyes; their legs are long")
print(r.text)
for _, output in ipairs(r.outputs) do print("  by " .. output.agent, #output.text .. " bytes") end

for name, title in pairs { ann = "Night eyes", bob = "Night eyes", cyd = "Long legs" } do
  Agent.create { name = name, model = "scripted/" .. name, replies = { title } }
end
local jury = Agent.create_composite("jury", { "ann", "bob", "cyd" }, "vote")
print("title: " .. jury:execute(r.text).text)
