"""JSON: identity and tags in Lua, text and queries in Python."""

from types import SimpleNamespace

import pytest
from companion_runtime import run

from llmspell.errors import ValidationError
from llmspell.lua.globals.json import Global


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("return api.is_null(nil), api.is_null(api.null), api.is_null(0)", (True, True, False)),
        ("return api.is_array({1, 2}), api.is_array({}), api.is_array(api.array()), api.is_array(5)",
         (True, False, True, False)),
        ("return api.equals({1, {a = 1.0}}, {1, {a = 1}}), api.equals({}, api.array()), api.equals({a = api.null}, {})",
         (True, False, True)),
        ("return api.equals({1}, {1, 2}), api.equals('1', 1), api.equals(nil, api.null)", (False, False, True)),
        ("local t = {a = {1, lib.null}} local c = api.copy(t) return c.a ~= t.a, api.equals(c, t), c.a[2] == lib.null",
         (True, True, True)),
        ("local t = {a = {{b = 1}}, ['x/y'] = 2, ['m~n'] = 3}; return api.get(t, '/a/0/b'), api.get(t, '/x~1y'), "
         "api.get(t, '/m~0n'), api.get(t, '') == t, api.get(t, '/a/9'), api.get(t, '/a/b')",
         (1, 2, 3, True, None, None)),
        ("local t = {a = {1}}; local r = api.set(t, '/a/-', 2); api.set(t, '/b/c', 3); api.set(t, '/a/0', 9); "
         "return r == t, t.a[1], t.a[2], t.b.c", (True, 9, 2, 3)),
        ("return api.set({}, '', 5), (pcall(api.set, {a = {1}}, '/a/7', 1)), (pcall(api.get, {}, 'a')), "
         "(pcall(api.set, {a = 1}, '/a/b', 1))", (5, False, False, False)),
        ("local a, b = {}, {}; a.x, b.x = a, b; return pcall(api.equals, a, b)", None),
    ],
)  # fmt: skip
def test_tags_and_pointers(script, expected):
    found = run("json", script)
    if expected is None:
        assert found[0] is False
        assert found[1]["kind"] == "validation"
    else:
        assert found == expected


def make():
    return Global(SimpleNamespace(), SimpleNamespace())


def test_text_is_written_and_read():
    json = make()
    assert json.stringify({"b": [], "a": None, "n": 1, "f": 1.0}) == '{"a":null,"b":[],"f":1.0,"n":1}'
    assert json.stringify(None) == "null"
    assert json.pretty({"b": 1, "a": {}}) == '{\n  "a": {},\n  "b": 1\n}'
    assert json.stringify([1], {"pretty": True, "indent": 4}) == "[\n    1\n]"
    assert json.stringify(float("nan"), {"nan": "null"}) == "null"
    assert json.parse('[null,{"a":null,"b":1}]', {"null": "nil"}) == [None, {"b": 1}]
    assert json.parse('{"a":null}', {"null": False}) == {"a": False}
    for call in (
        lambda: json.stringify(float("inf")), lambda: json.parse("[[1]]", {"max_depth": 1}), lambda: json.parse("{"),
        lambda: json.stringify(1, {"indent": 99}), lambda: json.stringify(1, {"indent": "x"}),
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            call()


async def test_queries_answer_at_once_or_wait():
    json = make()
    assert json.query({"items": [{"v": 1}, {"v": 2}]}, ".items[].v") == [1, 2]
    assert json.query('{"a":[]}', ".a | length") == [0]
    assert await json.query([1, 2], "map(.+1)") == [[2, 3]]
    assert await json.query_one([1], ".[] | select(. > 5)") is None
    with pytest.raises(ValidationError):
        json.query("not json", ".")
    with pytest.raises(ValidationError):
        await json.query({}, ".[")


def test_schema_patch_and_differences():
    json = make()
    assert json.validate(1, {"type": "integer"}) == (True, [])
    ok, errors = json.validate({"a": "x"}, {"properties": {"a": {"type": "integer"}}})
    assert not ok
    assert errors[0]["path"] == "$.a"
    assert json.merge_patch({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"d": 3}}) == {"b": {"c": 2, "d": 3}}
    assert json.merge_patch([1], {"a": 1}) == {"a": 1}
    assert json.diff({"a": 1}, {"a": 2})[0]["kind"] == "changed"
