-- Sorts support tickets: one agent, many tickets at once, each answer checked against a schema, totals in one table.
-- Run: llmspell run triage.lua data/tickets.jsonl
-- The script stands in for a model: it answers by words, slowly, and stumbles over one ticket.
local WORDS = { billing = { "charged", "invoice" }, defect = { "crash" } }
Provider.scripted("triage", { function(request)
  local text = request.messages[#request.messages].content:lower()
  if text:find("norway") then return { error = { kind = "provider", code = "content_filter", message = "no answer" } } end
  for topic, words in pairs(WORDS) do
    for _, word in ipairs(words) do
      if text:find(word) then return { data = { topic = topic, urgent = text:find("!!") ~= nil }, delay_ms = 10 } end
    end
  end
  return { data = { topic = "question", urgent = false }, delay_ms = 5 }
end }, { loop = true })

local agent = Agent.create {
  name = "triage", model = "scripted/triage", memory_enabled = false,
  system_prompt = "Sort the ticket.",
  output_schema = {
    type = "object", required = { "topic", "urgent" },
    properties = { topic = { enum = { "billing", "defect", "question" } }, urgent = { type = "boolean" } },
  },
}

local tickets = {}
for line in io.lines(ARGS[1]) do tickets[#tickets + 1] = JSON.parse(line) end

local rows = Async.map(tickets, function(ticket)
  local ok, r = pcall(agent.execute, agent, ticket.text)
  if not ok then return { id = ticket.id, topic = "by hand", why = r.message } end
  return { id = ticket.id, topic = r.data.topic, why = r.data.urgent and "urgent" or "" }
end, { max_concurrency = 3 })
Display.table(rows, { columns = { "id", "topic", "why" } })

local totals = JSON.query_one(rows, "group_by(.topic) | map({(.[0].topic): length}) | add")
print(JSON.stringify(totals))
print("runs", agent:get_metrics().requests_total, "failed", agent:get_metrics().requests_failed)
