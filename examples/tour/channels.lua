-- A line of workers: one task reads orders, three pack them, one keeps the books. Channels carry what they hand on.
-- Run: llmspell run channels.lua
local orders, parcels = Async.channel(2), Async.channel(2)

local reader = Async.spawn(function()
  for number = 1, 9 do orders:send { number = number, items = number % 4 + 1 } end
  orders:close()
end)

local desks = Async.semaphore(2) -- three packers share two desks
local packers = {}
for i = 1, 3 do
  packers[i] = Async.spawn(function()
    local packed = 0
    for order in orders do
      desks:with(function() sleep(order.items) end)
      parcels:send { number = order.number, weight = order.items * 0.5 }
      packed = packed + 1
    end
    return packed
  end)
end

local books = Async.spawn(function()
  local weight, seen = 0, {}
  for parcel in parcels do
    weight = weight + parcel.weight
    seen[#seen + 1] = parcel.number
  end
  table.sort(seen)
  return weight, seen
end)

reader:await()
local packed = Utils.reduce(Async.all(packers), function(sum, n) return sum + n end, 0)
parcels:close()
local weight, seen = books:await()
print("packed", packed)
print("weight", weight)
print("orders", table.concat(seen, " "))
