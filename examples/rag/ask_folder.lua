-- Answers questions about a folder of notes: ingest, hybrid search, and an agent that gets only what was found.
-- Run: llmspell run ask_folder.lua notes
local documents = {}
for _, file in ipairs(Tool.execute("files", { operation = "list_dir", path = ARGS[1], pattern = "*.md" }).result.entries) do
  local text = Tool.execute("files", { operation = "read", path = file.path }).text
  documents[#documents + 1] = { id = file.name, content = text, metadata = { title = text:match("^# ([^\n]+)") } }
end
local done = RAG.ingest(documents, { collection = "notes", chunking = { strategy = "markdown", chunk_size = 64, overlap = 0 } })
print(done.documents_processed .. " notes, " .. done.chunks_created .. " chunks")

-- The scripted model quotes the first passage it is given; any other model would read them all.
local agent = Agent.create {
  name = "reader", model = "scripted/reader", memory_enabled = false,
  system_prompt = "Answer from the passages alone.",
  settings = { loop = true },
  replies = { function(request)
    return request.messages[#request.messages].content:match("%[1%] (.-)\n%[2%]")
  end },
}

local function ask(question)
  local hits = RAG.search(question, { collection = "notes", k = 2 })
  local passages = {}
  for i, hit in ipairs(hits) do passages[i] = ("[%d] %s"):format(i, Utils.trim(hit.content):gsub("%s+", " ")) end
  print("? " .. question)
  print("  " .. agent:execute(question .. "\n" .. table.concat(passages, "\n")).text)
  print("  from " .. hits[1].metadata.title)
end
ask("How do bees keep warm in winter?")
ask("Why is the flight of an owl silent?")
ask("What do salmon do with salt in the sea?")
