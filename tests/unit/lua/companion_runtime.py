"""A small Lua state that runs the companion of one global with a plain table of methods and a small library."""

from pathlib import Path

import lupa.lua54

import llmspell.lua.globals as globals_package

LIBRARY = r"""
local arrays = setmetatable({}, {__mode = "k"})
local lib, handles = {}, {}
lib.null = setmetatable({}, {__tostring = function() return "null" end, __metatable = false})
function lib.array(t) t = t or {}; arrays[t] = "array"; return t end
function lib.object(t) t = t or {}; arrays[t] = "object"; return t end
function lib.is_array(t)
  if arrays[t] then return arrays[t] == "array" end
  local n = 0
  for _ in next, t do n = n + 1 end
  return n > 0 and n == #t
end
function lib.is_callable(v) return type(v) == "function" end
function lib.raise(kind, message, details)
  error({kind = kind, message = message, details = details, retryable = false}, 0)
end
function lib.check(v, want, index, name)
  if type(v) ~= want then
    lib.raise("validation", ("bad argument #%d to '%s' (%s expected, got %s)"):format(index, name, want, type(v)))
  end
end
function lib.handle_methods(kind) handles[kind] = handles[kind] or {}; return handles[kind] end
lib.globals = {}
function lib.global(name) return lib.globals[name] end
return lib, handles
"""


def run(name, script, setup=""):
    """Run `setup` (locals api, lib, handles), the companion of `name`, then `script`; return its results."""
    lua = lupa.lua54.LuaRuntime(unpack_returned_tuples=True)
    companion = (Path(globals_package.__file__).parent / f"{name}.lua").read_text()
    program = (
        f"local lib, handles = (function() {LIBRARY} end)()\nlocal api = {{}}\n{setup}\n"
        f"local function companion(...)\n{companion}\nend\ncompanion(api, lib)\n{script}"
    )
    return lua.execute(program)
