-- One installation, many customers: the same ids and words, and nobody sees, counts or removes what is another's.
-- Run: llmspell --config many_tenants.toml run many_tenants.lua
local notes = {
  acme = { "Our supplier is Initech, paid by bank transfer.", "The door code is on the key ring." },
  globex = { "Our supplier is Umbrella, paid by card.", "The office moves in spring." },
}
for tenant, texts in pairs(notes) do
  local docs = {}
  for i, text in ipairs(texts) do docs[i] = { id = "note" .. i, content = text } end
  RAG.ingest(docs, { tenant_id = tenant })
end

for _, tenant in ipairs { "acme", "globex" } do
  local hit = RAG.search("who is the supplier", { tenant_id = tenant, k = 1 })[1]
  print(tenant, hit.id, hit.content)
end
print("shared place", RAG.search("supplier").total)

-- The same id is two documents; deleting one leaves the other.
print("deleted", RAG.delete("note1", { tenant_id = "globex" }), RAG.get("note1", { tenant_id = "acme" }).content)

-- A batch that would pass a limit stores nothing.
local batch = {}
for i = 1, 5 do batch[i] = { id = "more" .. i, content = "text " .. i } end
local function try(title, fn, ...)
  local ok, e = pcall(fn, ...)
  print(title, ok, not ok and e.details.code or nil)
end
try("acme, five more", RAG.ingest, batch, { tenant_id = "acme" })
try("globex, five more", RAG.ingest, batch, { tenant_id = "globex" })
for _, tenant in ipairs { "acme", "globex" } do
  print(tenant, "documents", RAG.get_stats("tenant", tenant).total_documents)
end

-- Customers that are not active, unknown, or no names at all.
try("closed", RAG.search, "x", { tenant_id = "closed" })
try("unknown", RAG.search, "x", { tenant_id = "nobody" })
try("no name", RAG.search, "x", { tenant_id = "acme/../globex" })
