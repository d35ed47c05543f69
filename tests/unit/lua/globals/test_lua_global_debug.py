"""`Debug`, `Logger` and `Metrics` as scripts see them, in a real interpreter."""

import io

import pytest

from llmspell.app import App
from llmspell.config.model import Config
from llmspell.lua.engine import Interpreter


@pytest.fixture
def run(tmp_path):
    async def run(source, *, errors=None):
        app = App(Config(), home=tmp_path)
        out, err = io.BytesIO(), io.BytesIO()
        interpreter = Interpreter(app, profile="safe", stdout=out, stderr=err)
        outcome = await interpreter.run(source, "=spell")
        await interpreter.close()
        await app.close()
        assert outcome.error is None, outcome.error
        if errors is not None:
            errors.append(err.getvalue().decode())
        return out.getvalue().decode().rstrip("\n")

    return run


async def test_entries_go_to_standard_error_by_the_level_of_logging_and_never_to_standard_output(run):
    errors = []
    assert await run('Debug.info("quiet") Debug.warn("loud", "m") Logger.error("bad", {n = 1})', errors=errors) == ""
    lines = errors[0].splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "WARN script_runtime log loud module=m",
        "ERROR script_runtime log bad n=1",
    ]


async def test_debug_and_logger_share_one_log_and_mask_secrets(run):
    assert await run("""
        local log = Logger.get("app"):with{job = 7}
        log:info("started", {n = 3}) log.warn("token=sk-abcdefghijklmnopqrstuv") Logger.child("c"):fatal({})
            Debug.logWithData("error", 5, {password = "hunter2hunter2"}, "m")
        for _, e in ipairs(Debug.getCapturedEntries()) do print(e.level, (e.message:gsub("%x%x%x%x%x%x%x%x", "H")),
            e.module, e.metadata and e.metadata.n) end
        print((Debug.getCapturedEntries(1)[1].metadata.password:gsub("%x+%]", "H]")), #Debug.getCapturedEntries(2))
        Logger.setLevel("off") print(Debug.getLevel(), Logger.isEnabled("error"), Debug.set_level("TRACE"),
            Logger.get_level())
        Debug.setEnabled(false) Debug.error("no") print(Debug.isEnabled(), Logger.is_enabled("error"))
            Debug.setEnabled(true)
        print(select(2, pcall(Debug.log, "loud", "x")).kind, select(2, pcall(Logger.info, "x", 5)).kind)
        Debug.clearCaptured() print(#Debug.get_captured_entries())
    """) == (
        "INFO\tstarted\tapp\t3\nWARN\ttoken=[REDACTED:H]\tapp\tnil\nFATAL\ttable: 1\tc\tnil\nERROR\t5\tm\tnil\n"
        "[REDACTED:H]\t2\nOFF\tfalse\ttrue\tTRACE\nfalse\tfalse\nvalidation\tvalidation\n0"
    )


async def test_filters_say_which_modules_log(run):
    assert (
        await run("""
        Debug.addModuleFilter("app", false) Debug.addModuleFilter("app.db*", true)
        for _, m in ipairs{"app", "app.x", "app.db", "other"} do Debug.info(m, m) end
        local names = {} for _, e in ipairs(Debug.getCapturedEntries()) do names[#names + 1] = e.module end
        print(table.concat(names, ","), Debug.removeModuleFilter("app"), Debug.removeModuleFilter("app"))
        print(Debug.addAdvancedFilter("(", "regex", true), Debug.addAdvancedFilter("a", "magic", true),
            Debug.addAdvancedFilter("^a", "regex", true))
        Debug.setDefaultFilterEnabled(false) print(Debug.getFilterSummary().total_rules,
            Debug.getFilterSummary().default_enabled)
        Debug.clearModuleFilters() print(#Debug.getFilterSummary().rules)
    """)
        == "app.db,other\ttrue\tfalse\nfalse\tfalse\ttrue\n2\tfalse\n0"
    )


async def test_dumps_have_sorted_keys_limits_and_cycles(run):
    assert await run("""
        print(Debug.dump({1, "a\\n\\0", k = true, ["x y"] = 2.5, [10] = {}}, "v"))
        local t = {} t.me = t print(Debug.dumpCompact(t), Debug.dumpCompact({{{{1}}}}), Debug.dumpCompact(nil),
            Debug.dumpCompact("é"))
        local long = {} for i = 1, 60 do long[i] = i end
        print(Debug.dumpCompact(long)) print(Debug.dumpWithOptions(long, {max_array_elements = 2,
            compact_mode = true, show_types = false}))
        print(Debug.dumpCompact(("é"):rep(60)), Debug.dumpCompact({f = print, n = JSON.null,
            api_key = "0123456789abcdef"}):gsub("%x%x%x%x%x%x%x%x", "H"))
        local shared = {1} print(Debug.dumpCompact({shared, shared}), select(2, pcall(Debug.dumpWithOptions, 1,
            {max_depth = "x"})).kind)
        print(Debug.dumpWithOptions({a = {b = 1}}, {indent_size = 1, show_types = false, max_depth = 1}))
    """) == "\n".join([
        "v: (table) {", "  [1] = (number) 1,", '  [2] = (string) "a\\n\\x00",', "  [10] = (table) {},",
            "  k = (boolean) true,",
        '  ["x y"] = (number) 2.5', "}",
        '{me = <cycle>}\t{{{{...}}}}\tnil\t"é"',
        "{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... (50 more elements)}", "{1, 2, ... (58 more elements)}",
        '"' + "é" * 25 + '..."\t{api_key = "[REDACTED:H]", f = <function>, n = null}\t1',
        "{{1}, {1}}\tvalidation", "{", " a = {...}", "}",
    ])  # fmt: skip


async def test_stacks_show_the_script_and_nothing_of_the_product(run):
    text = await run("""
        local function inner() local password, n = "hunter2hunter2", 5; return Debug.stackTrace("trace"),
            Debug.stackTrace({include_source = false}) end
        local a, b = inner() print(a) print(b) print(Debug.traceback("why"))
        print(JSON.parse(Debug.stackTraceJson())[1].line, Debug.stackTrace{max_depth = 1}:find("\\n%s+1:"))
    """)
    assert text.startswith("Stack trace:\n  0: inner at spell:2\n")
    assert "local n = 5" in text
    assert "hunter2" not in text
    assert "?" not in text
    assert "python" not in text
    assert "  0: inner\n  1: main chunk\nwhy\nstack traceback:\n\tspell:4: in main chunk\n5\tnil" in text


async def test_timers_events_reports_and_memory(run):
    assert await run("""
        local t = Debug.timer("x") print(t:lap("l"), t:elapsed() >= 0, Debug.recordEvent(t, "e", {n = 1}),
            Debug.recordEvent(t.id, "f"))
        print(t:stop() >= 0, t:stop(), t:lap("z"), t:laps()[1].name, #t:laps(), t.name, Debug.recordEvent(t,
            "late"), t:elapsed() == t:elapsed())
        print(Debug.profile(function(a) Debug.timer("in"):stop() Async.sleep(1) return a, nil, 3 end, 1))
        print(Debug.flameGraph():find("profile;in %d+") ~= nil, Debug.performanceReport():find("x +count 1") ~= nil)
        local r = JSON.parse(Debug.jsonReport()) print(r.timers.x.count, r.events[1].name, r.memory.used_bytes > 0)
        local m = Debug.memoryStats() print(m.used_bytes > 1000, m.resident_bytes > 1000000, m.allocated_bytes > 0,
            math.type(m.collections))
        print(Debug.memorySnapshot().active_trackers, select(2, pcall(Debug.profile, function() error("mine", 0)
            end)))
    """) == "\n".join([
        "true\ttrue\ttrue\ttrue", "true\tnil\tfalse\tl\t1\tx\tfalse\ttrue", "1\tnil\t3", "true\ttrue", "1\te\ttrue",
        "true\ttrue\ttrue\tinteger", "0\tmine",
    ])  # fmt: skip


async def test_metrics_have_handles_labels_and_exports(run):
    assert await run("""
        local c = Metrics.counter("jobs", {kind = "x"}) c:inc() c:inc(2) print(c:value(), Metrics.get("jobs",
            {kind = "x"}), Metrics.get("jobs"), Metrics.get("no"))
        print(c == Metrics.counter("jobs", {kind = "x"}), tostring(c), select(2, pcall(c.inc, c, -1)).kind)
        local g = Metrics.gauge("level") g:set(1.5) g:inc() g:dec(0.5) print(g:value(), Metrics.get("level"))
        Metrics.increment("n") Metrics.increment("n", 2, {a = 1}) Metrics.set("s", 4) Metrics.observe("h", 2)
            print(Metrics.get("n"), Metrics.get("n", {a = 1}), Metrics.get("s"), Metrics.get("h").p50)
        local t = Metrics.timer("t") print(t:stop() >= 0, t:stop(), Metrics.timer("t"):time(function(a)
            Async.sleep(1) return a, 2 end, 1))
        print(Metrics.get("t").count, pcall(function() Metrics.timer("t"):time(error, "mine", 0) end))
        print(Metrics.export():find('jobs{kind="x"} 3', 1, true) ~= nil,
            JSON.parse(Metrics.export("json")).jobs.kind, Metrics.snapshot().s.series[1].value)
        for _, f in ipairs{function() Metrics.counter("1") end, function()
            Metrics.increment("llmspell_tool_calls_total") end, function() Metrics.reset("llmspell_errors_total") end,
            function() Metrics.gauge("jobs") end, function() Metrics.export("xml") end, function()
                Metrics.histogram("b", nil, {buckets = {2, 1}}) end} do
            local ok, e = pcall(f) print(ok, e.kind)
        end
        Metrics.reset() print(Metrics.get("jobs", {kind = "x"}), Metrics.get("llmspell_errors_total"),
            #Metrics.list() > 5)
        c:inc() print(c:value())
    """) == "\n".join([
        "3\t3\tnil\tnil", "true\tjobs\tvalidation", "2.0\t2.0", "1\t2\t4\t2", "true\tnil\t1\t2", "2\tfalse\tmine",
            "true\tcounter\t4",
        *["false\tvalidation"] * 6, "nil\tnil\ttrue", "1",
    ])  # fmt: skip


async def test_any_number_of_timers_may_be_made_one_after_the_other(run):
    source = """
        local first = Metrics.timer("t") for i = 1, 10500 do Metrics.timer("t"):stop() end print(Metrics.get("t").count)
        print(first:stop(), select(2, pcall(first.time, first, print)).kind)
    """
    assert await run(source) == "10500\nnil\tvalidation"
