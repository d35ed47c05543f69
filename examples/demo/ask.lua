-- Ask questions of a body of texts: hybrid search over a persistent index and, with a model at hand, an answer with
-- citations.
--
--   llmspell run ask.lua -- [--corpus FILE.jsonl | --folder DIR] [--top 5] ["question" ...]
--
-- A corpus has one JSON object a line: {"id", "text", "metadata"}. A folder may hold text, Markdown, HTML and PDF
-- files. Without a question, questions are read from standard input, one a line.

local args = Args.parse {
  corpus = { type = "string" },
  folder = { type = "string" },
  top = { type = "integer", default = 5 },
}
local source = args.folder or args.corpus
if source == nil then
  Utils.error("validation", "name a body of texts: --corpus FILE.jsonl or --folder DIR")
end
local collection = "ask-" .. Utils.hash(source, "md5"):sub(1, 8)

-- What the index was made from: a corpus by its content, a folder by its name (ingesting it again is cheap: documents
-- that did not change are skipped).
local function fingerprint()
  if args.folder then return "folder:" .. args.folder end
  local hashed = Tool.execute("hash-calculator", { input_type = "file", path = args.corpus, algorithm = "blake3" })
  if not hashed.success then Utils.error("validation", "cannot read the corpus " .. args.corpus .. ": " .. hashed.message) end
  return hashed.text
end

local function read_corpus(path)
  local documents = {}
  for line in io.lines(path) do
    local row = JSON.parse(line)
    documents[#documents + 1] = { id = row.id, content = row.text, metadata = row.metadata }
  end
  return documents
end

local function ingest()
  local started = Utils.monotonic_ms()
  local done
  if args.folder then
    done = RAG.ingest({ path = args.folder }, { collection = collection })
  else
    local documents = read_corpus(args.corpus)
    local bar = Display.progress(#documents, { label = "ingesting" })
    local totals = { documents_processed = 0, chunks_created = 0 }
    for first = 1, #documents, 256 do
      local batch = table.move(documents, first, math.min(first + 255, #documents), 1, {})
      local r = RAG.ingest(batch, { collection = collection })
      totals.documents_processed = totals.documents_processed + r.documents_processed
      totals.chunks_created = totals.chunks_created + r.chunks_created
      bar:advance(#batch)
    end
    bar:close()
    done = totals
  end
  print(("ingested %d texts as %d pieces in %s"):format(done.documents_processed, done.chunks_created,
    Utils.format_duration(Utils.monotonic_ms() - started)))
end

local mark = fingerprint()
if State.load("ask", collection) == mark and RAG.get_stats { collection = collection }.total_documents > 0 then
  print(("using the saved index: %d texts"):format(RAG.get_stats { collection = collection }.total_documents))
else
  ingest()
  State.save("ask", collection, mark)
end

local function snippet(text)
  local flat = Tool.execute("text-manipulator", { operation = "normalize_whitespace", input = text }).text
  return Tool.execute("text-manipulator", { operation = "truncate", input = flat, max_length = 100, word_boundary = true }).text
end

local function show(item, rank)
  local where = item.metadata.module and (item.metadata.module .. "  " .. item.metadata.name) or item.metadata.source or item.id
  local _, body = item.content:match("^([^\n]*)\n\n(.*)$")
  print(("%2d. %.3f  %s"):format(rank, item.score, where))
  print("           " .. snippet(body or item.content))
end

local function answer(question, items)
  local provider = Provider.default()
  if provider == nil then
    print("   (no model: set OPENAI_API_KEY, ANTHROPIC_API_KEY or another key for an answer in words; this is the retrieval alone)")
    return
  end
  local passages = {}
  for i, item in ipairs(items) do passages[i] = ("[%d] %s"):format(i, item.content) end
  local agent = Agent.create {
    provider = provider, memory_enabled = false,
    system_prompt = "Answer from the numbered passages only, in at most five sentences. Cite them as [1], [2]. Say so when they do not hold the answer.",
  }
  local ok, r = pcall(agent.execute, agent, "Question: " .. question .. "\n\nPassages:\n" .. table.concat(passages, "\n\n"))
  agent:destroy()
  if ok then print("   " .. r.text) else print("   (the model did not answer: " .. tostring(r) .. ")") end
end

local function ask(question)
  local asked = Tool.execute("datetime-handler", { operation = "now", timezone = "utc" }).result.datetime
  State.append("ask", "questions", { question = question, at = asked })
  local found = RAG.search(question, { k = args.top, collection = collection })
  print("\n" .. question)
  if #found == 0 then print("   nothing found") end
  for rank, item in ipairs(found.results) do show(item, rank) end
  if #found > 0 then answer(question, found.results) end
end

local questions = Args.positional()
for _, question in ipairs(questions) do ask(question) end
if #questions == 0 then
  for question in io.lines() do
    if question ~= "" then ask(question) end
  end
end
print(("\n%d questions asked of this machine's indexes so far"):format(#State.load("ask", "questions", {})))
