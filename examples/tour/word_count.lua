-- Counts the words of a text and shows the most frequent ones.
-- Run: llmspell run word_count.lua -- data/fable.txt --top=5
local path, top = assert(ARGS[1], "which file?"), Args.int("top", 10)

local counts = {}
for line in io.lines(path) do
  for word in line:lower():gmatch("%a+") do
    counts[word] = (counts[word] or 0) + 1
  end
end

local words = Utils.keys(counts)
table.sort(words, function(a, b)
  if counts[a] ~= counts[b] then return counts[a] > counts[b] end
  return a < b
end)
for i = 1, math.min(top, #words) do
  print(("%3d  %s"):format(counts[words[i]], words[i]))
end
return { words = #words, most = words[1] }
