-- Finds failures in a folder of logs, pulls their fields out by a regular expression, and counts them by component.
-- Run: llmspell run log_search.lua data/logs
local found = Tool.execute("file-search", {
  path = ARGS[1], pattern = [[ (ERROR|FATAL) ]], use_regex = true, recursive = true, context_lines = 0,
  include_extensions = { "log" },
})

local by_component = {}
for _, match in ipairs(found.result.matches) do
  local parts = Tool.execute("regex", {
    pattern = [[^(?P<day>\S+)T\S+ (?P<level>\w+) (?P<component>\w+) \w+=(?P<id>\d+) (?P<what>.+)$]],
    input = match.line_content,
  }).result
  if parts.matched then
    local fields = parts.match.named
    by_component[fields.component] = (by_component[fields.component] or 0) + 1
    print(fields.day, fields.level, fields.component, "#" .. fields.id, fields.what)
  else
    print("not understood:", match.line_content)
  end
end
print(JSON.stringify { files = found.result.summary.files_searched, failures = by_component })
