"""`Tool` as spells see it."""

from __future__ import annotations

import pytest

from llmspell import library
from llmspell.config.model import Config


async def values(tmp_path, source: str, sandbox: str = "safe"):
    async with library.open(Config(), home=tmp_path / "home", cwd=tmp_path) as app:
        outcome = await library.run(source, app=app, sandbox=sandbox)
    assert outcome.error is None, outcome.error
    return outcome.values


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return Tool == Tools, Tool.calculator == Tool.get('calculator'), Tool['calculator'] == Tool.calculator", [True] * 3),
        ("return Tool.nope, Tool['web-scraper-of-nobody'], Tool.get('nope')", [None, None, None]),
        ("local t = Tool.calculator; return t.name, t.category, t.security_level, tostring(t), 'x' .. t, #t",
         ["calculator", "utility", "safe", "calculator", "xcalculator", 10]),
        ("return Tool.calculator{input = '1+1'}.data, Tool.calculator:execute{input = '2'}.data, Tool.call('calculator', {input = '3'}).data",
         [2, 2, 3]),
        ("local r = Tool.calculator{input = '7'}; return tostring(r), r .. '!', r.duration_ms == r.execution_time_ms, #r.media, r.nope",
         ["7", "7!", True, 0, None]),
        ("return JSON.parse(Tool.calculator{input = '7'}._raw_text).result.result", [7]),
        ("local s = Tool.get_schema('calculator'); return s.name, s.input_schema.type, #s.parameters > 3, Tool.getSchema('zz')",
         ["calculator", "object", True, None]),
        ("return Tool.calculator.schema.name, Tool.calculator:getSchema().name", ["calculator", "calculator"]),
        ("return Tool.exists('base64'), Tool.exists('zz'), Tool.is_available('calculator'), Tool.is_available('file-operations')",
         [True, False, True, False]),
        ("return Tool.categories()[1], #Tool.categories()", ["communication", 9]),
        ("return Tool.list()[1].name < Tool.list()[2].name, Tool.list{category = 'data'}[1].category, #Tool.discover{query = 'uuid'}",
         [True, "data", 1]),
        ("return Tool.getInfo('calculator').limits.timeout_ms, Tool.get_info('zz')", [5000, None]),
        ("Tool.calculator{input = '1'}; return Tool.stats('calculator').calls, Tool.metrics().calculator.calls, Tool.calculator:stats().calls",
         [1, 1, 1]),
        ("return Tool.spawn('calculator', {input = '3'}):await().data, Tool.calculator:spawn{input = '4'}:await().data", [3, 4]),
        ("return Tool.execute('base64', {operation = 'encode', input = '\\xff\\xfe'}).text", ["//4="]),
        ("local r = Tool.execute('calculator', {input = '2+*'}); return r.success, r.error.code, r.error .. '', tostring(r) == r.error.message, r.text",
         [False, "parse_error", "Parse error at position 2: unexpected '*'", True, None]),
    ],
)  # fmt: skip
async def test_a_spell_uses_tools(tmp_path, source, expected):
    assert await values(tmp_path, source) == expected


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        ("Tool.execute('calc', {})", "tool", "Tool 'calc' not found"),
        (
            "Tool.execute('calculator', 5)",
            "validation",
            "bad argument #2 to 'Tool.execute' (table expected, got number)",
        ),
        ("Tool.execute()", "validation", "bad argument #1 to 'Tool.execute'"),
        (
            "Tool.execute('calculator', {})",
            "validation",
            "Missing required parameter 'input': Evaluate operation requires it",
        ),
        ("Tool.execute('calculator', {input = print})", "validation", "cannot convert function"),
        ("Tool.execute('calculator', {input = '1'}, {retyr = 1})", "validation", "retyr"),
        ("Tool.execute('file-operations', {operation = 'read', path = 'x'})", "security", "needs security level"),
        ("Tool.create('zz')", "tool", "Tool 'zz' not found"),
        ("Tool.register('calculator', print)", "tool", "exists already"),
        ("Tool.register('a b', print)", "validation", "bad tool name"),
        ("Tool.register('x', 5)", "validation", "function expected, got number"),
        ("Tool.register{name = 'x', execute = print, level = 'root'}", "validation", "security_level must be one of"),
        ("Tool.register{name = 'x', execute = print, timeout_ms = 0}", "validation", "timeout_ms"),
        ("Tool.unregister('calculator')", "security", "cannot be removed"),
        ("Tool.batch({{}})", "validation", "op 1"),
        ("Tool.batch({}, {max_concurrency = 0})", "validation", "max_concurrency"),
        ("Tool.stats('zz')", "tool", "not found"),
    ],
)
async def test_misuse_is_raised_with_its_kind(tmp_path, call, kind, words):
    found = await values(tmp_path, f"local ok, e = pcall(function() return {call} end); return ok, e.kind, e.message")
    assert found[:2] == [False, kind]
    assert words in found[2]


async def test_an_unknown_option_is_warned_of_once_and_otherwise_ignored(tmp_path):
    source = """
    for _ = 1, 3 do Tool.list{categroy = 'data'} end
    Tool.register{name = 'x', execute = function() return 1 end, oops = 1}
    local said = Debug.getCapturedEntries()
    return #said, said[1].message, said[2].message, Tool.execute('x').result
    """
    count, first, second, result = await values(tmp_path, source)
    assert (count, result) == (2, 1)
    assert "did you mean 'category'" in first
    assert "unknown option 'oops'" in second


async def test_try_never_raises(tmp_path):
    source = """
    local a, b, c = Tool.try('zz'), Tool.try('calculator', {}), Tool.try('file-operations', {operation = 'read', path = 'x'})
    return a.success, a.error.kind, b.error.code, c.error.kind, Tool.calculator:try{input = '1'}.success
    """
    assert await values(tmp_path, source) == [False, "tool", "schema_violation", "security", True]


async def test_a_tool_written_in_lua_has_a_handle_defaults_and_a_context(tmp_path):
    source = """
    local t = Tool.register{name = 'join-it', description = 'Joins', version = '2.1', category = 'mine', tags = {'words'},
      parameters = {{name = 'a', type = 'string', required = true}, {name = 'b', type = 'integer', default = 7}},
      execute = function(p, ctx) return p.a .. p.b .. ctx.tool .. #ctx.correlation_id end}
    return t.name, t.version, t.category, t{a = 'x'}.text, Tool.join_it{a = 'y', b = 1.0}.text, Tool.try(t, {a = 1}).error.kind,
      Tool.discover{tag = 'words'}[1] == t, Tool.unregister('join_it'), Tool.get('join-it')
    """
    expected = ["join-it", "2.1", "mine", "x7join-it36", "y1join-it36", "validation", True, True, None]
    assert await values(tmp_path, source) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 'text'", [True, "text", "text"]),
        ("return {result = 5}", [True, 5, "Operation 't' completed successfully"]),
        ("return {a = 1}", [True, {"a": 1}, "Operation 't' completed successfully"]),
        ("return nil", [True, None, "Operation 't' completed successfully"]),
        ("return {success = false, error = 'no', text = 'part'}", [False, "no", "part"]),
        ("error('bad', 0)", [False, "bad", None]),
        ("error({x = 1})", [False, "(error object)", None]),
        ("Tool.execute('zz')", [False, "Tool 'zz' not found", None]),
        ("return print", [False, "cannot convert function: the result of a tool is plain data", None]),
    ],
)
async def test_what_a_handler_returns_or_raises(tmp_path, body, expected):
    source = f"""
    Tool.register('t', function() {body} end)
    local r = Tool.execute('t')
    return r.success, r.success and r.result or (r.error and r.error.message), r.text
    """
    found = await values(tmp_path, source)
    assert found[0] is expected[0]
    assert found[2] == expected[2]
    if expected[1] != "(error object)":
        assert found[1] == expected[1]


async def test_a_handler_that_waits_too_long_is_a_timeout_and_the_script_goes_on(tmp_path):
    source = """
    Tool.register('slow', function() Async.sleep(2000) return 1 end)
    local r = Tool.execute('slow', {}, {timeout_ms = 20})
    return r.success, r.error.kind, Tool.calculator{input = '1'}.data
    """
    assert await values(tmp_path, source) == [False, "timeout", 1]


async def test_batches_of_lua_tools_run_together(tmp_path):
    source = """
    local running, most = 0, 0
    Tool.register('w', function(p) running = running + 1; most = math.max(most, running); Async.sleep(5); running = running - 1; return p.n end)
    local r = Tool.batch({{tool = 'w', params = {n = 1}}, {tool = 'w', params = {n = 2}}, {tool = 'w', params = {n = 3}}}, {max_concurrency = 2})
    return most, r[1].result, r[2].result, r[3].result
    """
    assert await values(tmp_path, source) == [2, 1, 2, 3]


async def test_a_tool_that_calls_itself_ends(tmp_path):
    source = """
    local n = 0
    Tool.register('again', function() n = n + 1; return Tool.execute('again').error or 'end' end)
    local r = Tool.execute('again')
    return n, r.success
    """
    assert await values(tmp_path, source) == [10, True]


async def test_a_handler_calls_tools_with_the_level_it_was_called_with(tmp_path):
    source = """
    Tool.register('reads', function() return Tool.try('file-operations', {operation = 'exists', path = 'x'}) end)
    return Tool.execute('reads').success, Tool.is_available('file-operations')
    """
    assert await values(tmp_path, source) == [False, False]
    assert await values(tmp_path, source, "standard") == [True, True]


async def test_a_stopped_run_is_not_caught_by_a_tool(tmp_path):
    source = "Tool.register('spin', function() while true do end end); Tool.execute('spin'); print('never')"
    async with library.open(Config(), home=tmp_path / "home", cwd=tmp_path) as app:
        outcome = await library.run(source, app=app, limits={"instructions": 1_000_000})
    assert outcome.error.kind == "resource_limit"
    assert outcome.stdout == ""
