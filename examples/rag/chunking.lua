-- How a text is cut: one document by every strategy, and what a chunk knows of its place.
-- Run: llmspell run chunking.lua
local handbook = [[
# Night house

The night house opens at dusk. Dr. Smith feeds the owls at 9.30 p.m. and the bats at ten.

## Owls

Owls fly without a sound. Their feathers break up the air.

| bird | food |
|------|------|
| barn owl | voles |
| little owl | beetles |

## Bats

Bats hear the echo of their calls. They sleep head down.
]]

local function show(strategy, options)
  options.strategy = strategy
  local sizes = {}
  for i, piece in ipairs(RAG.chunk(handbook, options)) do sizes[i] = piece.token_count end
  print(strategy, table.concat(sizes, " "))
end
for _, strategy in ipairs { "sliding_window", "sentence", "paragraph", "recursive", "markdown", "fixed", "none" } do
  show(strategy, { chunk_size = 40, overlap = strategy == "sliding_window" and 8 or 0 })
end

-- Markdown knows the headings above a piece, and never cuts a table.
for _, piece in ipairs(RAG.chunk(handbook, { strategy = "markdown", chunk_size = 40, overlap = 0 })) do
  print(piece.index, table.concat(piece.metadata.headings, " > "), piece.content:find("little owl", 1, true) ~= nil)
end

-- Code is cut at definitions and knows its lines; the name tells the language.
local source = ([[
local owls = {}

-- Counts what flies.
function owls.count(list)
%s  return #list
end

function owls.feed(list)
%s  return list
end
]]):gsub("%%s", ("  -- one by one, gently\n"):rep(12))
for _, piece in ipairs(RAG.chunk(source, { strategy = "code", chunk_size = 160, overlap = 0, name = "owls.lua" })) do
  print("lines " .. piece.metadata.lines[1] .. "-" .. piece.metadata.lines[2], piece.content:match("function (%S+)%("))
end

-- The pieces without their overlap are the text, so the document comes back whole.
RAG.ingest({ id = "handbook", content = handbook }, { strategy = "markdown", chunk_size = 40, overlap = 0 })
print(RAG.get("handbook").content == handbook, RAG.search("who eats beetles", { k = 1 })[1].metadata.headings[2])
