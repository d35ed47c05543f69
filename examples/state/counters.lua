-- Transfers between accounts: all or nothing, correct under concurrency, and refused when money is missing.
-- Run: llmspell run counters.lua
local bank = "custom:bank"
State.clear(bank)
State.save(bank, "ada", 100)
State.save(bank, "ben", 20)

local function transfer(from, to, amount)
  return State.transaction(function(tx)
    local left = tx:load(bank, from, 0) - amount
    if left < 0 then Utils.error("validation", ("%s lacks %d"):format(from, -left)) end
    tx:save(bank, from, left)
    tx:increment(bank, to, amount)
    tx:append(bank, "journal", { from = from, to = to, amount = amount })
    return left
  end)
end

print("ada has", transfer("ada", "ben", 30))
local ok, e = pcall(transfer, "ben", "ada", 500)
print(ok, e.message)
print("unchanged", State.load(bank, "ben"))

Async.each({ 1, 2, 3, 4, 5 }, function(amount)
  sleep(6 - amount)
  transfer("ben", "ada", amount)
end)
print("in the end", JSON.stringify { ada = State.load(bank, "ada"), ben = State.load(bank, "ben") })
print("entries", #State.load(bank, "journal"))

print("taken", State.compare_and_swap(bank, "lock", nil, "me"), State.compare_and_swap(bank, "lock", nil, "you"))
