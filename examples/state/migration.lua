-- Brings stored values to a new shape, with a backup before and a way back.
-- Run: llmspell run migration.lua
State.save("custom:people", "p1", { name = "Ada Moor", mail = "ada@example.com", vip = "yes" })
State.save("custom:people", "p2", { name = "Ben Okafor", mail = "ben@example.com" })

State.register_schema("1.1.0", {
  scope = "custom:people",
  fields = { mail = { rename = "email" }, active = { default = true } },
})
State.register_schema("2.0.0", {
  scope = "custom:people",
  migrate = function(_, person)
    local first, last = person.name:match("^(%S+) (%S+)$")
    return { first = first, last = last, email = person.email, active = person.active, vip = person.vip == "yes" }
  end,
})

local backup = State.create_backup("before the change")
local report = State.migrate("2.0.0")
print(report.success, report.from_version .. " -> " .. report.to_version, report.items_migrated .. " values")
for _, key in ipairs(State.keys("custom:people")) do
  print(key, JSON.stringify(State.load("custom:people", key)))
end

print("backup is whole", State.validate_backup(backup.id).is_valid)
State.restore_backup(backup.id)
print("and back", State.load("custom:people", "p2").name)
