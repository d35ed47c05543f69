-- First chunk of a state: opens the guard, runs the other chunks, returns what the host calls. The host function is
-- an argument here and nowhere else; the guard keeps it in the registry, which no script can reach.
local path, entry, address, host, profile, script_bytes, package_path, host_methods, chunks = ...
local P = { profile = profile, script_bytes = script_bytes, package_path = package_path, host_methods = {} }
P.C = assert(package.loadlib(path, entry))(address)
P.C.set_host(host)
for name, number in host_methods:gmatch("(%w[%w_]*)=(%d+)") do P.host_methods[name] = tonumber(number) end
-- Chunks run without line numbers, so that an error's position is the script's line and never one of ours.
local dump, load, assert = string.dump, load, assert
local function compile(name, chunk) return load(dump(assert(load(chunk, "=[" .. name .. "]", "t")), true), "=[llmspell]", "b") end
P.compile = compile
local function run(name, chunk) compile(name, chunk)(P) end
for name, chunk in chunks:gmatch("(%w+)\n(.-)\0") do run(name, chunk) end
P.build_files()
local root = P.C.root
return function(reference, arguments) return root(reference, arguments) end, P.references()
