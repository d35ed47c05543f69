"""The Agent global as scripts see it: one script per case, its output compared line by line."""

import io

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.lua.engine import Interpreter


@pytest.fixture
def run(tmp_path):
    async def go(code, profile="standard"):
        sets = ["runtime.state_persistence.backend_type=memory"]
        app = App(load(sets=sets, environ={}, cwd=tmp_path, home=tmp_path / "home").config, home=tmp_path / "home")
        out = io.BytesIO()
        interp = Interpreter(app, profile=profile, stdout=out, stderr=io.BytesIO())
        outcome = await interp.run(code, "=case")
        await interp.close()
        await app.close()
        assert outcome.error is None, outcome.error
        return out.getvalue().decode().splitlines()

    return go


CASES = {
    "a_builder_takes_both_call_styles_and_is_not_consumed": (
        """
        local b = Agent.builder("x"):model("echo/upper").temperature(0):tool("calculator"):capability("math")
        local a = b:build()
        print(a.name, a.model, a:execute("hi"), a:has_tool("calculator"), a:get_config().temperature)
        print((pcall(b.build, b)), b:name("y"):build().name, #Agent.discover_by_capability("math"))""",
        ["x\techo/upper\tHI\ttrue\t0.0", "false\ty\t2"],
    ),
    "an_agent_is_one_handle_that_reads_as_its_name": (
        """
        local a = Agent.create{name = "a", model = "echo/x"}
        print(a == Agent.get("a"), tostring(a), "n:" .. a, Agent.get("zz"), Agent.execute(a, "q").text)""",
        ["true\ta\tn:a\tnil\tq"],
    ),
    "agents_and_inline_tables_are_tools": (
        """
        local u = Agent.create{name = "u", model = "echo/upper"}
        local own = {name = "inc", parameters = {n = {type = "integer"}}}
        function own.execute(p) return {result = p.n + 1} end
        local a = Agent.create{name = "a", model = "scripted/t", tools = {own, u}, replies = {{tool_calls = {
          {name = "inc", arguments = {n = 1}}, {name = "u_tool", arguments = {input = "hey"}}}}, "done"}}
        local r = a:execute("go"); print(r, r.tool_calls[1].result, r.tool_calls[2].result)
        a:destroy(); print(Tool.exists("inc"), (pcall(a.get_state, a)))""",
        ["done\t2\tHEY", "false\tfalse"],
    ),
    "tools_outside_the_list_are_denied_to_scripts_too": (
        """
        local a = Agent.create{name = "a", model = "echo/x", tools = {"calculator"}}
        print(a:invokeTool("calculator", {input = "1+1"}).result.result)
        print(select(2, pcall(a.invokeTool, a, "base64-encoder", {})).kind)""",
        ["2", "security"],
    ),
    "callbacks_see_chunks_and_their_errors_cross_unchanged": (
        """
        local a = Agent.create{name = "a", model = "echo/x"}
        local s = ""; local r = a:invokeStream("a b", function(c) s = s .. c end)
        print(s, r.success, r.chunks_received)
        print(a:invokeStream("a b", function(c) return c.type ~= "text" end).finish_reason)
        print(select(2, pcall(a.invokeStream, a, "x", function() error("boom", 0) end)), a:get_state())""",
        ["a b\ttrue\t5", "cancelled", "boom\tReady"],
    ),
    "a_stream_holds_its_result_after_the_end_and_can_be_closed": (
        """
        local a = Agent.create{name = "a", model = "echo/x"}
        local s = a:stream("q w"); for _ in s do end; print(s.result.text)
        local t = a:stream("1 2"); t:next(); print(a:get_state()); t:close(); print(a:get_state(), t:next())""",
        ["q w", "Running", "Ready\tnil"],
    ),
    "chunks_that_came_together_are_alike": (
        """
        local a = Agent.create{name = "e", model = "echo/x"}
        local alone, indexes, texts = nil, {}, {}
        for c in a:stream("q w e") do
          indexes[#indexes + 1] = c.index
          if c.type == "text" then
            alone = alone or c.stream_id
            assert(c.stream_id == alone and c.model == "x" and c.is_final == false)
            assert(not pcall(setmetatable, c, {}) and c .. "" == c.text)
            texts[#texts + 1] = tostring(c)
          end
        end
        print(table.concat(indexes, ","), table.concat(texts, "|"))""",
        ["0,1,2,3,4,5\tq |w |e"],
    ),
    "leaving_a_loop_early_closes_the_stream": (
        """
        local a = Agent.create{name = "a", model = "echo/x"}
        for c in a:stream("1 2 3") do if c.type == "text" then break end end
        print(a:get_state(), a:execute("next").text, a:conversation_length(), a:get_metrics().requests_failed)""",
        ["Ready\tnext\t2\t0"],
    ),
    "tasks_queue_on_one_conversation_and_can_be_cancelled": (
        """
        local replies = {{text = "ok", delay_ms = 5}}
        local a = Agent.create{name = "a", model = "scripted/t", settings = {loop = true}, replies = replies}
        local t = {}; for i = 1, 3 do t[i] = a:execute_async("q") end
        for i = 1, 3 do t[i]:await() end; print(#a:get_history())
        local z = a:execute_async("z"); Async.sleep(1); print(z:cancel(), (pcall(z.await, z)), a:get_state())""",
        ["6", "true\tfalse\tReady"],
    ),
    "state_is_saved_restored_and_seen_by_the_state_global": (
        """
        local a = Agent.create{name = "a", model = "echo/x"}; a:execute("hi"); a:set_state{k = {1, 2}}
        print(#State.load("agent:a", "k"), a:save_state()); a:clear_history()
        print(#a:get_history(), a:load_state(), #a:get_history(), a:delete_state(), a:load_state())
        a:reset(); print(a:get_state_data("k"), a:conversation_length())""",
        ["2\ttrue", "0\ttrue\t2\ttrue\tfalse", "nil\t0"],
    ),
    "a_function_agent_gives_text_or_a_table_or_its_own_error": (
        """
        local function handler(i, c) return {text = i .. c.agent, data = {1}} end
        local r = Agent.create{name = "f", type = "function", handler = handler}:execute("x"); print(r, r.data[1])
        local g = Agent.create{name = "g", type = "function", handler = function() error("hm", 0) end}
        print(select(2, pcall(g.execute, g, "x")))""",
        ["xf\t1", "hm"],
    ),
    "errors_say_what_was_wrong": (
        """
        print((tostring(select(2, pcall(Agent.create, {name = "a"}))):gsub(":.*: n", "> n")))
        local e = select(2, pcall(Agent.create, {model = "echo/x", tools = {"calculater"}}))
        print(e.kind, e.details.suggestions[1])
        local ok, e = pcall(Agent.create, {model = "echo/x", temperature = "hot"}); print(e.kind, e.details.field)
        local a = Agent.create{name = "a", model = "echo/x", budget = {tokens = 10}}
        local ok, e = pcall(a.execute, a, "q"); print(e.kind, e.details.resource, e.component)""",
        [
            "configuration error> name one, or set providers.default_model or providers.default_provider",
            "tool\tcalculator",
            "validation\ttemperature",
            "resource_limit\tbudget_tokens\tagent:a",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_script(run, name):
    code, expected = CASES[name]
    assert await run(code) == expected


async def test_the_level_of_the_profile_binds_the_tools_of_agents(run):
    code = """
    local a = Agent.create{name = "a", model = "scripted/t", tools = {"file-operations"}, replies = {
      {tool_calls = {{name = "file-operations", arguments = {operation = "read", path = "x"}}}}, "end"}}
    local r = a:execute("go"); print(r.text, r.tool_calls[1].success, r.tool_calls[1].error.kind)"""
    assert await run(code, "safe") == ["end\tfalse\tsecurity"]
