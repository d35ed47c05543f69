"""Scripts cannot tell our prelude from stock Lua 5.4: same results, same error texts, same positions."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stock import Pair

SNIPPETS = Path(__file__).with_name("stock_snippets.txt").read_text().splitlines()
PROXY = (
    "setmetatable({}, {__index = function(_, k) if k < 4 then return k * 10 end end, __len = function() return 3 end})"
)
VALUES = (
    "nil", "true", "1", "1.5", "'x'", "{}", "print", "coroutine.create(print)", "''", "'10'", "-1", "0",
    "math.maxinteger", "math.mininteger", "2^53", "{1, 2, 3}", PROXY,
)  # fmt: skip
ONE = [
    "table.insert",
    "table.remove",
    "table.concat",
    "table.unpack",
    "table.sort",
    "string.find",
    "string.match",
    "string.gmatch",
    "string.gsub",
    "string.format",
    "tostring",
    "tonumber",
    "setmetatable",
    "load",
    "pcall",
    "xpcall",
    "coroutine.create",
    "coroutine.wrap",
    "coroutine.resume",
    "coroutine.status",
    "coroutine.close",
    "coroutine.running",
    "select",
    "rawlen",
    "rawget",
    "rawset",
    "rawequal",
    "next",
    "ipairs",
    "pairs",
    "type",
    "assert",
    "warn",
    "string.sub",
    "string.byte",
    "string.char",
    "string.len",
    "string.reverse",
    "string.upper",
    "string.pack",
    "string.unpack",
    "string.packsize",
    "utf8.char",
    "utf8.codepoint",
    "utf8.offset",
    "math.floor",
    "math.tointeger",
    "table.pack",
    "print",
]
MANY = [
    "table.insert",
    "table.remove",
    "table.concat",
    "table.unpack",
    "table.sort",
    "string.find",
    "string.match",
    "string.gmatch",
    "string.gsub",
    "string.format",
    "setmetatable",
    "select",
    "rawget",
    "pcall",
    "xpcall",
    "load",
    "tonumber",
]
SUBJECTS = ("{1, 2, 3}", "'abc'", "nil", "5", "setmetatable({1, 2, 3}, {})", PROXY)
FURTHER = ("nil", "1", "1.5", "'x'", "{}", "{3, 1, 2}", "print", "-1", "math.maxinteger", "'2'")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return Pair(tmp_path_factory.mktemp("home"))


def differences(pair, sources):
    found = []
    for source in sources:
        stock, ours = pair.stock(source), pair.ours(source)
        if stock != ours:
            found.append((source, stock, ours))
    return found


@pytest.mark.parametrize("source", SNIPPETS, ids=lambda s: s[:70])
def test_a_snippet_gives_what_stock_lua_gives(pair, source):
    assert pair.ours(source) == pair.stock(source)


def test_a_call_with_any_one_argument_answers_or_fails_as_in_stock_lua(pair):
    calls = [f"return {name}({value})" for name in ONE for value in ("", *VALUES)]
    assert differences(pair, calls) == []


def test_a_call_with_any_further_argument_answers_or_fails_as_in_stock_lua(pair):
    pairs = itertools.product(MANY, SUBJECTS, FURTHER)
    assert differences(pair, [f"local t = {a} return t, {name}(t, {b})" for name, a, b in pairs]) == []


def test_three_arguments_of_any_type_answer_or_fail_as_in_stock_lua(pair):
    names = ("table.insert", "table.concat", "table.unpack", "string.find", "string.gsub", "table.sort")
    calls = itertools.product(names, ("{1, 2, 3}", "'abc'", "setmetatable({1, 2, 3}, {})"), FURTHER, FURTHER)
    assert differences(pair, [f"local t = {a} return t, {name}(t, {b}, {c})" for name, a, b, c in calls]) == []


def test_moves_and_ranges_of_any_type_answer_or_fail_as_in_stock_lua(pair):
    few = [value for value in FURTHER if value != "math.maxinteger"]
    calls = [
        text
        for b, c, d in itertools.product(few, few, few)
        for text in (
            f"return table.move({{1, 2, 3}}, {b}, {c}, {d})",
            f"return table.concat({{1, 2, 3}}, {b}, {c}, {d})",
            f"return string.gsub('abcab', {b}, {c}, {d})",
        )
    ]
    assert differences(pair, calls) == []


ITEMS = st.sampled_from(
    ["a", "b", ".", "%a", "%d", "%w", "%S", "%p", "%g", "%x", "%u", "%%", "%.", "[ab]", "[^a]", "[a-c]", "[%w_]", "[]]", "[^]]",
     "()", "%b()", "%bxy", "%f[%w]", "%f[^%a]", "%1", "%2", "$", "^", "-", "*", "+", "?", "(", ")", "[", "]", "%", "\0", "é"]
)  # fmt: skip
SUFFIX = st.sampled_from(["", "", "", "*", "+", "-", "?"])
PATTERNS = st.lists(st.tuples(ITEMS, SUFFIX).map("".join), max_size=6).map("".join)
GROUPED = st.tuples(st.sampled_from(["", "^"]), PATTERNS, PATTERNS, st.sampled_from(["", "$"])).map(
    lambda parts: f"{parts[0]}({parts[1]}){parts[2]}{parts[3]}"
)
TEXTS = st.text(alphabet="abcxy01 .()-_]é\0A", max_size=12)


def quoted(text):
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


@settings(max_examples=250, deadline=None)
@given(pattern=st.one_of(PATTERNS, GROUPED), subject=TEXTS, init=st.integers(-14, 14))
def test_any_pattern_matches_what_stock_lua_matches(pair, pattern, subject, init):
    p, s = quoted(pattern), quoted(subject)
    every = f"local list = {{}} for a, b, c in string.gmatch({s}, {p}, {init}) do list[#list + 1] = {{a, b, c}} end return list"
    for source in (
        f"return string.find({s}, {p}, {init})",
        f"return string.match({s}, {p}, {init})",
        f"return string.find({s}, {p}, {init}, true)",
        every,
    ):
        assert pair.ours(source) == pair.stock(source), source


REPLACEMENTS = st.one_of(
    st.lists(st.sampled_from(["x", "%0", "%1", "%2", "%%", "%", "%9", "-"]), max_size=4).map(lambda parts: quoted("".join(parts))),
    st.sampled_from(
        ["{a = 1, b = false, ab = 'X'}", "setmetatable({}, {__index = function(_, k) return k end})", "7", "2.5",
         "function(...) return select('#', ...) end", "function(a, b) return b end", "function() return false end"]
    ),
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(
    pattern=st.one_of(PATTERNS, GROUPED),
    subject=TEXTS,
    repl=REPLACEMENTS,
    most=st.sampled_from(["", ", 0", ", 1", ", 2", ", -1"]),
)
def test_any_gsub_replaces_what_stock_lua_replaces(pair, pattern, subject, repl, most):
    source = f"return string.gsub({quoted(subject)}, {quoted(pattern)}, {repl}{most})"
    assert pair.ours(source) == pair.stock(source), source


@settings(max_examples=150, deadline=None)
@given(
    form=st.lists(
        st.tuples(st.sampled_from(["%", "%", "x"]), st.text("-+ #0", max_size=2), st.sampled_from(["", "5", "12", "200"]),
                  st.sampled_from(["", ".", ".3", ".99", ".100"]), st.sampled_from(list("diuoxXcaAeEfgGsq%y"))).map("".join),
        max_size=3,
    ),
    values=st.lists(st.sampled_from(["1", "-5", "2.5", "'ab'", "'7'", "nil", "true", "1/0", "2^40", "'a\\0b'"]), max_size=4),
)  # fmt: skip
def test_any_format_prints_what_stock_lua_prints(pair, form, values):
    source = f"return string.format({', '.join([quoted(''.join(form)), *values])})"
    assert pair.ours(source) == pair.stock(source), source


@settings(max_examples=100, deadline=None)
@given(items=st.lists(st.integers(-20, 20), max_size=40), reverse=st.booleans())
def test_sort_orders_as_stock_lua_does(pair, items, reverse):
    order = "function(a, b) return a > b end" if reverse else "nil"
    source = f"local t = {{{', '.join(map(str, items))}}} table.sort(t, {order}) return t"
    assert pair.ours(source) == pair.stock(source)
