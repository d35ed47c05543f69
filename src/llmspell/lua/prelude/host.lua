-- Functions of the host that the prelude itself calls, by the names the host gave them numbers for.
local P = ...
P.host = {}
for name, number in next, P.host_methods do P.host[name] = P.C.api(number, nil, false) end
P.write = P.host.write
