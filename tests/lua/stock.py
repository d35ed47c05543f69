"""The same snippet in a bare Lua 5.4 and in an interpreter of ours, each answer as one text that can be compared."""

import io
import re

from lupa import lua54

from llmspell.app import App
from llmspell.config import Config
from llmspell.lua.engine import Interpreter

# Shows every result, integers and floats apart, tables by content; uses nothing that our prelude replaces but `format`.
SHOW = r"""
local type, mtype, fmt, select, next, pcall, load = type, math.type, string.format, select, next, pcall, load
local function show(v, seen)
  local t = type(v)
  if t == "nil" or t == "boolean" then return v == nil and "nil" or v and "true" or "false" end
  if t == "number" then
    if mtype(v) == "integer" then return "i" .. fmt("%d", v) end
    return v ~= v and "nan" or "f" .. fmt("%.17g", v)
  end
  if t == "string" then return fmt("%q", v) end
  if t ~= "table" then return "<" .. t .. ">" end
  if seen[v] then return "<again>" end
  seen[v] = true
  local keys, n, out = {}, 0, ""
  for k, item in next, v do
    n = n + 1
    keys[n] = show(k, seen) .. "=" .. show(item, seen)
  end
  for i = 1, n do
    for j = i + 1, n do if keys[j] < keys[i] then keys[i], keys[j] = keys[j], keys[i] end end
  end
  for i = 1, n do out = out .. keys[i] .. "," end
  return "{" .. out .. "}"
end
return function(source)
  local chunk, failure = load(source, "=s")
  if not chunk then return "SYNTAX " .. failure end
  return (function(ok, ...)
    local text = ok and "OK" or "ERROR"
    for i = 1, select("#", ...) do text = text .. " " .. show((select(i, ...)), {}) end
    return text
  end)(pcall(chunk))
end
"""
ADDRESS = re.compile(r"\b(table|function|thread|builtin): (0x[0-9a-f]+|\d+)")


class Pair:
    """One state of each kind, used for many snippets."""

    def __init__(self, home, profile="full"):
        self._bare = lua54.LuaRuntime(encoding=None)
        self._bare.execute(b"print = function() end os.exit = nil")
        self._show = self._bare.execute(SHOW.encode())
        self._ours = Interpreter(App(Config(), home=home, cwd=home), profile=profile, stdout=io.BytesIO())

    def stock(self, source):
        """Return the answer of the bare state."""
        return ADDRESS.sub(r"\1: #", self._show(source.encode()).decode("latin1"))

    def ours(self, source):
        """Return the answer of our state."""
        quoted = "".join(f"\\{byte:03d}" for byte in source.encode())
        outcome = self._ours.begin(f'return (function() {SHOW} end)()("{quoted}")', "=harness")
        assert outcome is not None, "the snippet waits"
        if outcome.error is not None:
            return f"ENDED {outcome.error}"
        value = outcome.values[0]
        raw = value.encode() if isinstance(value, str) else value
        return ADDRESS.sub(r"\1: #", raw.decode("latin1"))
