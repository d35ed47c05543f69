"""The expression grammar: what it gives, what it refuses, and that it always ends."""

import time

import pytest

from llmspell.base.expression import Expression
from llmspell.errors import LLMSpellError, ValidationError
from llmspell.errors import TimeoutError as TimedOut

DATA = {
    "steps": {"a": {"output": 5, "text": "Hello World"}, "my-step": {"success": True}},
    "shared": {"go": True, "l": [1, 2]},
    "x": 3, "s": "Rome", "n": 2.5, "empty": "", "zero": 0,
}  # fmt: skip


def value(text):
    return Expression(text).evaluate(lambda name, dollar: DATA["shared"].get(name) if dollar else DATA.get(name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps.a.output > 3 and shared.go", True),
        ('steps["my-step"].success', True),
        ("shared.l[0] + shared.l[-1]", 3),
        ("shared.l[7]", None),
        ("$go", True),
        ("2 + 3 * 4 - 6 / 4 % 2", 12.5),
        ("-x + - -2", -1),
        ("(2 + 3) * 4", 20),
        ("1 - 2 - 3", -4),
        ("'a' .. 1 .. \"b\"", "a1b"),
        ("'a\\n\\'b'", "a\n'b"),
        ("x == 3 && s == 'Rome' || false", True),
        ("!true or not false", True),
        ("not x == 3", False),
        ("zz == nil", True),
        ("zz != nil", False),
        ("x != nil", True),
        ("zz != 5", False),
        ("zz < 5", False),
        ("x == '3'", False),
        ("x ~= '3'", True),
        ("1 == true", False),
        ("1 == 1.0", True),
        ("zz or 'd'", "d"),
        ("zero and 'yes'", "yes"),
        ("x in [1, 2, 3] and 'a' not in ['b']", True),
        ("'ell' in steps.a.text and steps.a.text contains 'World'", True),
        ("s matches '^R.*e$' and s starts_with 'Ro' and s ends_with 'me'", True),
        ("len(s) + len(shared.l) + len(zz)", 6),
        ("upper(lower('Ab')) .. trim(' x ')", "ABx"),
        ("int('7') + float('0.5') + number('2') + abs(-1)", 10.5),
        ("int('x')", None),
        ("min(3, 1, 2) + max([4, 9])", 10),
        ("round(2.567, 2) + round(1.4)", 3.57),
        ("exists(x) and not exists(zz) and empty('') and empty(zz) and not empty(s)", True),
        ("type(x) .. type(s) .. type(shared.l) .. type(nil)", "numberstringlistnil"),
        ("default(zz, 4) + default(x, 9)", 7),
        ("str(1.0) .. string(shared.l)", "1.0[1,2]"),
        ("now() > 1000000000", True),
        ("not not x", True),
        ("s < 'Z'", True),
    ],
)
def test_an_expression_gives(text, expected):
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text",
    ["", "1 +", "a b", "x = 1", "print(1)", "x.", "1 < 2 < 3", "(1", "[1", "'a", "a.b()", "x[1", "@", "$", "x not 3",
     "__import__('os')", "1 2", "a; b", "(" * 40 + "1" + ")" * 40, "-" * 40 + "1", "!" * 40 + "1", "1+" * 1500 + "1"],
)  # fmt: skip
def test_what_is_no_expression_is_refused_with_a_position(text):
    with pytest.raises(ValidationError) as caught:
        Expression(text)
    assert caught.value.code == "bad_expression"
    assert "position" in caught.value.details


@pytest.mark.parametrize(
    "text", ["1 < 'a'", "true < false", "s + 1", "zz + 1", "1 / 0", "1 % 0", "len()", "len(1, 2)", "1 matches 2",
             "s contains [1]", "min(1, 'a')", "-s", "1e308 * 10 * [1]"],
)  # fmt: skip
def test_values_that_do_not_fit_are_an_error(text):
    with pytest.raises(LLMSpellError) as caught:
        value(text)
    assert caught.value.code == "expression_error"


def test_a_long_sum_is_evaluated_without_recursion():
    assert value("+".join(["1"] * 900)) == 900


def test_a_hostile_pattern_or_a_growing_text_ends():
    start = time.monotonic()
    with pytest.raises(TimedOut):
        Expression("a matches '(b|bb)+$'").evaluate(lambda *_: "b" * 400 + "c", limit_s=0.2)
    with pytest.raises(ValidationError):
        Expression("..".join(["a"] * 400)).evaluate(lambda *_: "x" * 1_000_000)
    with pytest.raises(TimedOut):
        Expression("1 + 1").evaluate(lambda *_: None, limit_s=-1)
    assert time.monotonic() - start < 4


def test_objects_of_the_host_are_never_reached():
    for text in ("s.__class__", "shared.l.append", 'x["__class__"]', "shared.__class__.__mro__"):
        assert value(text) is None


def test_the_names_of_an_expression_are_known():
    assert Expression("a.b + c[d] and len(e) in [f]").names() == {"a", "c", "d", "e", "f"}
