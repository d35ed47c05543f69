-- A long ingestion that stops in the middle goes on where it was: what is stored is recognised, not embedded again.
-- Run: llmspell run resume.lua
local documents = {}
for n = 1, 60 do
  documents[n] = { id = ("page-%02d"):format(n), content = "Page " .. n .. " tells of owl number " .. n .. ".", metadata = { page = n } }
end
local options = { collection = "book", batch_size = 10 }

-- Whatever progress raises stops the work between two batches; they are stored whole or not at all.
options.on_progress = function(step)
  if step.stage == "store" then print(step.stage, step.documents_done .. " of " .. step.documents_total) end
  if step.documents_done >= 30 then error("the light went out") end
end
local ok, problem = pcall(RAG.ingest, documents, options)
print(ok, tostring(problem):match("the light went out"), #RAG.list_documents { collection = "book" })

options.on_progress = nil
local done = RAG.ingest(documents, options)
print("processed", done.documents_processed, "unchanged", done.documents_unchanged, "new", done.chunks_created)

-- One page changed: only that one is cut and embedded again.
documents[7].content = "Page 7 tells of a bat."
done = RAG.ingest(documents, options)
print("processed", done.documents_processed, "unchanged", done.documents_unchanged, "new", done.chunks_created)

-- One document cannot be read: it is listed, the others go in.
done = RAG.ingest({ { id = "bad" }, { id = "page-61", content = "Page 61 is the last." } }, { collection = "book", on_error = "skip" })
print("failed", done.documents_failed, done.errors[1].id, "kept", done.ids[1])
