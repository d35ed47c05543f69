-- What ranks a hit: the two arms and their fusion, weights, thresholds, groups, variety and an order of one's own.
-- Run: llmspell run hybrid.lua
local place = { collection = "menu" }
RAG.ingest({
  { id = "soup", content = "Tomato soup with basil and bread", metadata = { course = "first", price = 6 }, event_time = "2024-01-10T00:00:00Z" },
  { id = "salad", content = "Tomato salad with onions", metadata = { course = "first", price = 5 }, event_time = "2024-03-10T00:00:00Z" },
  { id = "pasta", content = "Pasta with tomato sauce and basil", metadata = { course = "main", price = 11 }, event_time = "2024-02-10T00:00:00Z" },
  { id = "pizza", content = "Pizza margherita: tomatoes, mozzarella, basil", metadata = { course = "main", price = 12 }, event_time = "2024-04-10T00:00:00Z" },
  { id = "cake", content = "Cake of almonds and lemon", metadata = { course = "dessert", price = 7 }, event_time = "2024-05-10T00:00:00Z" },
}, place)

local function show(title, options)
  options.collection = "menu"
  local ids = {}
  for i, hit in ipairs(RAG.search(options)) do ids[i] = hit.id end
  print(title, table.concat(ids, " "))
end
show("both arms", { query = "tomato basil", k = 3 })
show("words alone", { query = "basil", k = 5, mode = "keyword" })
show("words count most", { query = "tomatoes", k = 2, weights = { vector = 0.1, keyword = 0.9 } })
show("likeness counts most", { query = "tomatoes", k = 2, weights = { vector = 0.9, keyword = 0.1 } })
show("rather new", { query = "tomato", k = 3, weights = { keyword = 0.6, recency = 0.4 } })
show("similar enough", { query = "almond cake", k = 5, threshold = 0.3 })
show("one per course", { query = "tomato basil lemon", k = 5, group_by = "course" })
show("varied", { query = "tomato basil", k = 3, rerank = { type = "mmr", lambda = 0.3 } })

-- A function sees the query and the hits, and returns them in its own order, with scores if it likes.
local function cheapest(_, hits)
  table.sort(hits, function(a, b) return a.metadata.price < b.metadata.price end)
  for _, hit in ipairs(hits) do hit.score = 1 / hit.metadata.price end
  return hits
end
show("cheapest", { query = "tomato", k = 2, rerank = cheapest })

-- One that fails costs its order, not the answer.
local r = RAG.search("tomato", { collection = "menu", k = 2, rerank = function() error("the oven is cold") end })
print("still", #r, r.warnings[1]:match("the oven is cold"))

-- Every hit tells what each arm said.
local best = RAG.search("tomato salad", { collection = "menu", k = 1 })[1]
print(("%s: fused %.2f, both arms %s"):format(best.id, best.score, tostring(best.scores.vector > 0.5 and best.scores.keyword > 0.5)))
