-- First chunk of a state: opens the guard, runs the other chunks, returns what the host calls. The host function is
-- an argument here and nowhere else; the guard keeps it in the registry, which no script can reach.
local path, entry, address, host, profile, script_bytes, package_path, host_methods = ...
local P = { profile = profile, script_bytes = script_bytes, package_path = package_path, host_methods = {} }
P.C = assert(package.loadlib(path, entry))(address)
P.C.set_host(host)
for name, number in host_methods:gmatch("(%w[%w_]*)=(%d+)") do P.host_methods[name] = tonumber(number) end
-- The prelude has globals of its own. Were they the script's, `error = function() end` would disarm every refusal here.
local env = {}
for key, value in next, _G do
  if type(value) == "table" and value ~= _G then
    local copy = {}
    for field, item in next, value do copy[field] = item end
    value = copy
  end
  env[key] = value
end
P.env, P.real = env, _G

-- Chunks run without line numbers, so that an error's position is the script's line and never one of ours. What was
-- compiled once is kept by the host for the states after this one: then `chunk` is binary.
local dump, load, assert, byte, fresh = string.dump, load, assert, string.byte, {}
function P.compile(name, chunk)
  if byte(chunk) ~= 27 then
    chunk = dump(assert(load(chunk, "=[" .. name .. "]", "t")), true)
    if P.host then P.host.keep_compiled(name, chunk) else fresh[name] = chunk end
  end
  return load(chunk, "=[llmspell]", "b", env)
end
for i = 9, select("#", ...), 2 do
  local name, chunk = select(i, ...)
  P.compile(name, chunk)(P)
end
for name, chunk in next, fresh do P.host.keep_compiled(name, chunk) end
P.build_files()
local root = P.C.root
return function(reference, arguments) return root(reference, arguments) end, P.references()
