-- A conversation that survives its process: history, own data and counters are saved and loaded by name.
-- Run: llmspell run memory.lua
local function build()
  return Agent.create {
    name = "tutor", model = "scripted/tutor", system_prompt = "You teach owls.",
    settings = { loop = true },
    replies = { function(request)
      local questions = 0
      for _, message in ipairs(request.messages) do
        if message.role == "user" then questions = questions + 1 end
      end
      return ("That is question %d."):format(questions)
    end },
  }
end

local tutor = build()
print(tutor:execute("Why do we see at night?").text)
print(tutor:execute("And why not by day?").text)
tutor:set_state { level = "beginner" }
tutor:save_state()
tutor:destroy()

local again = build()
print("found", again:load_state())
print(again:execute("One more?").text)
print("messages", again:conversation_length(), "level", again:get_state_data("level"))
for _, message in ipairs(again:get_history()) do print("  " .. message.role .. ": " .. message.content) end
again:delete_state()
