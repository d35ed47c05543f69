-- Metrics: timing a function, which may wait.
local api, lib = ...
local error = error
local pack, unpack = table.pack, table.unpack
local protected = lib.C.pcall
local methods = lib.handle_methods("metric_timer")
local restart = methods.restart
methods.restart, api.series = nil, nil

function methods.time(self, fn, ...)
  lib.check(fn, "function", 1, "metric_timer:time")
  restart(self)
  local results = pack(protected(fn, ...))
  methods.stop(self)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, results.n)
end
