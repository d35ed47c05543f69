-- Errors are values: a kind to decide by, a message to show, details to look into. Plain Lua errors stay as they are.
-- Run: llmspell run errors.lua
local function attempt(title, fn, ...)
  local ok, e = pcall(fn, ...)
  if ok then
    print(title, "fine")
  elseif type(e) == "table" then
    print(title, e.kind, e.message)
  else
    print(title, "plain", e)
  end
end

attempt("unknown tool", Tool.execute, "calculatr", {})
attempt("wrong parameter", Tool.execute, "calculator", { input = {} })
attempt("wrong type", Utils.pad_left, "7", "three")
attempt("outside the folder", io.open, "/etc/passwd")
attempt("too late", Async.timeout, 20, sleep, 10000)
attempt("own kind", Utils.error, "rate_limit", "come back later", { code = "busy" })
attempt("plain Lua", function() local t = nil; return t.field end)

-- A job that ran and failed is no exception: look at `success`.
local r = Tool.execute("file-operations", { operation = "read", path = "no-such-file.txt" })
print("missing file", r.success, r.error.kind, r.error.code)

-- `Tool.try` turns everything into such a result.
local denied = Tool.try("file-operations", { operation = "read", path = "/etc/passwd" })
print("denied", denied.success, denied.error.kind)

-- What is open is closed, whatever happens.
local ok = pcall(function()
  local guard <close> = setmetatable({}, { __close = function() print("closed in time") end })
  error("half way")
end)
print("went well", ok)
