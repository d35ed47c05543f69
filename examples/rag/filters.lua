-- A small help desk: articles with metadata, searched by words, by filter and per customer, and kept up to date.
-- Run: llmspell run filters.lua
local place = { collection = "help" }
RAG.ingest({
  { id = "reset", content = "To reset your password, open the account page and choose reset.", metadata = { product = "web", level = 1 } },
  { id = "invoice", content = "Invoices are sent on the first day of each month as PDF.", metadata = { product = "billing", level = 1 } },
  { id = "limits", content = "The API allows 100 requests per minute; a reset happens every full minute.", metadata = { product = "api", level = 2 } },
  { id = "keys", content = "API keys are made on the developer page and shown once.", metadata = { product = "api", level = 3 } },
}, place)

local function show(title, options)
  options.collection = "help"
  local ids = {}
  for i, hit in ipairs(RAG.search(options)) do ids[i] = hit.document_id end
  print(title, table.concat(ids, " "))
end
show("words", { query = "reset password", k = 1 })
show("only api", { query = "reset", k = 1, filters = { product = "api" } })
show("up to level 2", { query = "api keys", k = 3, mode = "keyword", filters = { level = { lte = 2 } } })
show("either", { query = "page", k = 4, mode = "keyword", filters = { ["or"] = { { product = "web" }, { level = 3 } } } })

-- Asking for more than there is says so.
local r = RAG.search("invoices", { collection = "help", k = 10, filters = { product = "billing" } })
print("found", r.total, "exhausted", r.exhausted)

-- The same id replaces; a tenant sees only its own.
RAG.ingest({ id = "invoice", content = "Invoices are sent weekly." }, place)
print(RAG.get("invoice", place).content)
RAG.ingest("Acme pays by bank transfer.", { collection = "help", tenant_id = "acme" })
print("acme", RAG.search("invoices", { collection = "help", tenant_id = "acme" }).total)
print("deleted", RAG.delete("keys", place), "left", #RAG.list_documents(place))
