"""Utils: text and tables in Lua, encodings and time in Python."""

import re
from types import SimpleNamespace

import pytest
from companion_runtime import run

from llmspell.errors import InvalidArgument, ValidationError
from llmspell.lua.globals.utils import Global

SETUP = """
api.write = function(s) lib.written = (lib.written or "") .. s end
lib.globals.Utils = api
lib.globals.Async = {sleep = function(ms) lib.slept = (lib.slept or 0) + ms end}
local show
function show(t)
  local parts = {}
  for _, v in ipairs(t) do parts[#parts + 1] = type(v) == "table" and "{" .. show(v) .. "}" or tostring(v) end
  return table.concat(parts, "|")
end
"""


def lua(expression):
    return run("utils", f"return {expression}", SETUP)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("api.trim('  a b\\n ')", "a b"),
        ("api.trim('   ')", ""),
        ("show(api.split('a,b,,c', ','))", "a|b||c"),
        ("show(api.split('a1b22c', '%d+', false))", "a|b|c"),
        ("show(api.split('aé', ''))", "a|é"),
        ("#api.split('', ',')", 1),
        ("api.join(api.split('a,b', ','), '-')", "a-b"),
        ("api.join({1, 2.0, true})", "12.0true"),
        ("api.starts_with('abc', 'ab') and api.ends_with('abc', 'bc') and api.ends_with('a', '')", True),
        ("api.contains('a.c', '.') and api.contains({1, {2}}, {2}) and not api.contains('abc', 'a.c')", True),
        ("api.pad_left('é', 3) .. '|' .. api.pad_right('a', 4, 'xy')", "  é|axyx"),
        ("api.truncate('ééééé', 4) .. api.truncate('abc', 3) .. api.truncate('abcdef', 2)", "é...abc.."),
        ("show(api.lines('a\\r\\n\\nb\\n'))", "a||b"),
        ("api.equals({1, {2}}, {1, {2}}) and not api.equals({1}, {1, 2}) and not api.equals({a = 1}, {})", True),
        ("show(api.merge({a = {x = 1}, 1, 2}, {a = {y = 2}}).a) .. api.merge({a = {x = 1}}, {a = {y = 2}}).a.y", "2"),
        ("show(api.keys({b = 1, a = 2, [2] = 3, [1] = 4}))", "1|2|a|b"),
        ("show(api.values({b = 1, a = 2}))", "2|1"),
        ("show(api.map({1, 2}, function(v, i) return v * 10 + i end))", "11|22"),
        ("show(api.filter({1, 2, 3}, function(v) return v % 2 == 1 end))", "1|3"),
        ("api.reduce({1, 2, 3}, function(a, v) return a + v end) + api.reduce({}, print, 4)", 10),
        ("show(api.slice({1, 2, 3, 4}, 2, -2)) .. show(api.slice({1, 2}, 3))", "2|3"),
        (
            "show(api.range(1, 5, 2)) .. '/' .. show(api.range(3)) .. '/' .. show(api.range(2, 1, -1))",
            "1|3|5/1|2|3/2|1",
        ),
        ("api.is_empty({}) and api.is_empty('') and api.is_empty(nil) and not api.is_empty({1})", True),
        ("api.template('hi {{n}} {{ a.b }} {{l.1}}{{zz}}!', {n = 1, a = {b = 'x'}, l = {'y'}})", "hi 1 x y!"),
        ("api.template('{{a}}', {a = '%1{{b}}', b = 2})", "%1{{b}}"),
    ],
)
def test_text_and_tables(expression, expected):
    assert lua(expression) == expected


def test_sorted_pairs_visits_in_order_and_deep_copy_keeps_cycles_apart():
    script = """
    local out = ''
    for k, v in api.sorted_pairs{b = 2, a = 1} do out = out .. k .. v end
    local t = {x = {1}}; t.me = t
    local c = api.deep_copy(t)
    return out, c ~= t and c.me == c and c.x ~= t.x and c.x[1] == 1, rawequal(api.deep_copy(lib.null), lib.null)
    """
    assert run("utils", script, SETUP) == ("a1b2", True, True)


def test_retry_waits_longer_each_time_and_gives_the_last_error():
    script = """
    local n = 0
    local a, b = api.retry(function() n = n + 1; if n < 3 then error('no', 0) end; return n, 'x' end)
    local slept = lib.slept
    local ok, e = pcall(api.retry, function() error({1}, 0) end, {max_attempts = 2, backoff_ms = 0})
    local tries = 0
    pcall(api.retry, function() tries = tries + 1; lib.raise('cancelled', 'stop') end)
    pcall(api.retry, function() tries = tries + 1; error('x') end, {retry_if = function() return false end})
    return a, b, slept, ok, e[1], tries
    """
    assert run("utils", script, SETUP) == (3, "x", 300, False, 1, 2)


def test_write_takes_strings_and_numbers_only():
    script = """
    api.write('a', 1, 2.0).write('\\n')
    local ok, e = pcall(api.write, 'x', nil)
    return lib.written, ok, e.message
    """
    assert run("utils", script, SETUP) == ("a12.0\n", False, "bad argument #2 to 'write' (string expected, got nil)")


def test_is_error_tells_errors_from_tables():
    script = """
    local _, e = pcall(api.error, 'timeout', 'late', {a = 1})
    return api.is_error(e), api.is_error(e, 'timeout'), api.is_error(e, 'tool'), api.is_error({}), api.is_error('x')
    """
    assert run("utils", script, SETUP) == (True, True, False, False, False)


def make(profile="standard"):
    written = []
    lane = SimpleNamespace(profile=profile, write=lambda stream, data: written.append((stream, data)))
    return Global(SimpleNamespace(), lane), written


def test_digests_and_encodings_round_trip_any_bytes():
    utils, _ = make()
    assert utils.hash("a", "md5") == "0cc175b9c0f1b6a831c399e269772661"
    assert len(utils.hash(b"\xff")) == 64
    for data in (b"", b"\xff\x00a b/+%", "né".encode()):
        assert utils.base64_decode(utils.base64_encode(data)) == data
        assert utils.hex_decode(utils.hex_encode(data)) == data
        assert utils.url_decode(utils.url_encode(data)) == data
    assert utils.url_encode("a b&é") == "a%20b%26%C3%A9"


@pytest.mark.parametrize(
    ("method", "bad"),
    [
        ("base64_decode", "a"),
        ("base64_decode", "a==="),
        ("base64_decode", "YQ==!"),
        ("hex_decode", "abc"),
        ("hex_decode", "zz"),
        ("url_decode", "%zz"),
        ("url_decode", "a%"),
        ("hash", None),
        ("parse_duration", "1x"),
        ("parse_duration", ""),
        ("parse_duration", -1),
        ("parse_duration", "1h-2m"),
        ("parse_time", "soon"),
        ("format_time", 1e300),
        ("random_id", 0),
        ("format_bytes", float("nan")),
    ],
)
def test_bad_input_raises_validation(method, bad):
    utils, _ = make()
    with pytest.raises(ValidationError):
        getattr(utils, method)(bad)


def test_lengths_of_time_and_sizes():
    utils, _ = make()
    assert utils.parse_duration("1m30s") == 90000
    assert utils.parse_duration("1.5h 2ms") == 5400002
    assert [utils.format_duration(ms) for ms in (0, 250, 90000, 5400000, 1500)] == [
        "0ms",
        "250ms",
        "1m30s",
        "1h30m",
        "1.5s",
    ]
    assert [utils.format_bytes(n) for n in (512, 1536, 1048576, 1023.99)] == ["512 B", "1.5 KB", "1 MB", "1 KB"]


def test_times_are_utc():
    utils, _ = make()
    assert utils.parse_time("1970-01-01T00:00:10Z") == 10.0
    assert utils.parse_time("1970-01-01T01:00:00+01:00") == 0.0
    assert utils.parse_time("Thu, 01 Jan 1970 00:00:05 GMT") == 5.0
    assert utils.format_time(0) == "1970-01-01T00:00:00.000Z"
    assert utils.format_time(86400, "%Y/%m/%d") == "1970/01/02"
    with pytest.raises(InvalidArgument):
        utils.format_time(0, "%999999999d")


def test_the_safe_profile_has_a_coarse_clock_and_ids_are_random():
    safe, _ = make("safe")
    assert safe.monotonic_ms().is_integer()
    assert re.fullmatch("[0-9a-f]{16}", safe.random_id())
    assert safe.uuid() != safe.uuid()
    assert (safe.count_tokens(""), safe.count_tokens("abcde"), safe.count_tokens("日本")) == (0, 2, 2)
    assert set(safe.platform()) == {"os", "arch"}
    assert safe.capabilities()["files"] is False


def test_write_passes_bytes_unchanged():
    utils, written = make()
    utils.write("a", b"\xff", 1)
    assert written == [("stdout", b"a\xff1")]
