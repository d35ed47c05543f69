"""The one converter: what goes from Lua to Python and back is the same value; what has no form is refused with its path."""

import io
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.app import App
from llmspell.config import Config
from llmspell.lua.engine import Interpreter

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, -1, 127, 128, -32, -33, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)]),
    st.floats(allow_nan=False),
    st.text(max_size=40),
    st.binary(max_size=40).filter(lambda data: not is_text(data)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=6)),
    max_leaves=30,
)


def is_text(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.fixture(scope="module")
def interp(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return Interpreter(App(Config(), home=home, cwd=home), profile="full", stdout=io.BytesIO(), stderr=io.BytesIO())


def back(interp, value):
    interp.set_global("value", value)
    outcome = interp.begin("return value")
    assert outcome.error is None, outcome.error
    return outcome.value


def result(interp, source):
    outcome = interp.begin(source)
    assert outcome.error is None, outcome.error
    return outcome.value


def refusal(interp, source):
    outcome = interp.begin(source)
    assert outcome.error is None, outcome.error
    assert outcome.unconvertible is not None
    assert outcome.unconvertible.kind == "validation"
    return outcome.unconvertible


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return bool(a == b)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_a_value_comes_back_as_it_went(interp, value):
    assert same(back(interp, value), value)


@pytest.mark.parametrize(
    "value",
    [
        math.inf,
        -math.inf,
        -0.0,
        5.0,
        5e-324,
        [],
        {},
        [[]],
        [{}],
        {"": ""},
        "\0",
        "a\0b",
        b"\xff\0",
        [None],
        {"a": None},
    ],
)
def test_an_edge_comes_back_as_it_went(interp, value):
    assert same(back(interp, value), value)


def test_not_a_number_stays_one_and_bigger_integers_become_floats(interp):
    assert math.isnan(back(interp, math.nan))
    assert same(back(interp, 2**64), float(2**64))
    assert same(back(interp, -(2**70)), float(-(2**70)))
    assert same(back(interp, 2**63), float(2**63))


def test_bulk_comes_back_as_it_went(interp):
    text = "ä" * 5_000_000
    assert back(interp, text) == text
    assert back(interp, list(range(100_000))) == list(range(100_000))
    assert back(interp, {str(i): i for i in range(70_000)}) == {str(i): i for i in range(70_000)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return {}", {}),
        ("return JSON.array()", []),
        ("return JSON.array({1, 2})", [1, 2]),
        ("return JSON.object({1, 2})", {"1": 1, "2": 2}),
        ("return {1, nil, 3}", {"1": 1, "3": 3}),
        ("return {1, 2, x = 3}", {"1": 1, "2": 2, "x": 3}),
        ("return {[1.5] = 'f', [true] = 't', [-1] = 'n'}", {"1.5": "f", "true": "t", "-1": "n"}),
        ("return {JSON.null, 1}", [None, 1]),
        ("return JSON.null", None),
        ("return setmetatable({}, {__tojson = function() return {7} end})", [7]),
        ("return {a = setmetatable({}, {__tojson = function() return nil end})}", {"a": None}),
        ("return setmetatable({5}, {__index = {6}, __len = function() return 9 end, __pairs = error})", [5]),
        ("local s = {1} return {s, s}", [[1], [1]]),
        ("return {Tool.get('calculator')}", ["calculator"]),
        ("local t = {} for i = 1, 10 do t[i] = i end for i = 6, 10 do t[i] = nil end return t", [1, 2, 3, 4, 5]),
        ("local t = 1 for i = 1, 128 do t = {t} end local n = 0 for _ in JSON.stringify(t):gmatch('%[') do n = n + 1 end return n", 128),
    ],
)  # fmt: skip
def test_a_table_becomes_what_the_rules_say(interp, source, expected):
    assert same(result(interp, source), expected)


@pytest.mark.parametrize(
    ("source", "message", "path"),
    [
        ("return {a = {b = print}}", "cannot convert function at $.a.b", "$.a.b"),
        ("return {1, {print}}", "cannot convert function at $[1][0]", "$[1][0]"),
        ("return {x = coroutine.create(print)}", "cannot convert thread at $.x", "$.x"),
        ("local t = {a = {}} t.a.b = t return t", "cycle at $.a.b", "$.a.b"),
        ("local t = 1 for i = 1, 129 do t = {t} end return t", "nested deeper than 128 levels", None),
        ("return {['1'] = 1, [1] = 2}", "two keys have the same text", None),
        ("return {[1.0 / 4] = 1, ['0.25'] = 2}", "two keys have the same text", None),
        ("return {[{}] = 1}", "cannot convert a key of type table", None),
        ("return {['\\xff'] = 1}", "cannot convert a key that is not UTF-8", None),
        ("return setmetatable({}, {__tojson = function(t) return t end})", "cycle", None),
    ],
)
def test_what_has_no_form_is_refused_with_its_path(interp, source, message, path):
    error = refusal(interp, source)
    assert message in str(error)
    assert path is None or error.details["path"] == path


def test_an_error_inside_tojson_is_the_error_of_the_call(interp):
    source = """
    local bomb = setmetatable({}, {__tojson = function() JSON.stringify({1}) error({code = 7}, 0) end})
    local list = {}
    for i = 1, 100 do
      local ok, e = pcall(JSON.stringify, {bomb})
      list[e.code] = (list[e.code] or 0) + 1
    end
    return list[7], JSON.stringify({1})
    """
    outcome = interp.begin(source)
    assert outcome.values == [100, "[1]"]


def test_tojson_may_call_the_host_while_a_value_is_packed(interp):
    source = """
    local inner = setmetatable({}, {__tojson = function() return JSON.parse(JSON.stringify({("x"):rep(5000)})) end})
    return #JSON.stringify({inner, inner, {inner}})
    """
    assert result(interp, source) == 3 * 5004 + 6


def test_two_keys_with_one_text_are_refused_whatever_their_order(interp):
    for first, second in (
        ("[1]", "['1']"),
        ("['true']", "[true]"),
        ("[0.1]", "[0.1 + 2^-54]"),
        ("[0.3 + 2^-53]", "[0.3 - 2^-53]"),
    ):
        assert "same text" in str(refusal(interp, f"return {{{first} = 1, {second} = 2}}"))
