"""calculator: the language, its limits, its errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import LLMSpellError
from llmspell.tools import calculator
from llmspell.tools._base import ToolFailure


def value(text: str, **options):
    return calculator.evaluate_expression(text, **options)["result"]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("2^3^2", 512),
        ("-2^2", -4),
        ("2**-1", 0.5),
        ("7//2", 3),
        ("-7//2", -3),
        ("-7%3", -1),
        ("mod(-7, 3)", 2),
        ("10/4", 2.5),
        ("10/5", 2),
        ("0x1F + 1e2 + .5", 131.5),
        ("3 > 2", 1),
        ("3 <= 2", 0),
        ("1 == 1.0", 1),
        ("!0 && !1 || 1", 1),
        ("not 0 and 1", 1),
        ("0 && (1/0 == 2)", 0),
        ("1 || undefined_is_not_reached == 0 || 1", None),
        ("sqrt(16)", 4),
        ("cbrt(-27)", -3),
        ("log(100)", 2),
        ("log(2, 8)", 3),
        ("log2(1024) + log10(1000) + ln(1)", 13),
        ("round(2.5) + round(-2.5)", 0),
        ("round(2.345, 1)", 2.3),
        ("ceil(1.2) + floor(1.8) + trunc(-1.5) + int(9.9)", 11),
        ("min(3,1,2) + max(3,1,2) + sum(1,2,3) + avg(1,2)", 11.5),
        ("gcd(12,18) + lcm(4,6)", 18),
        ("factorial(5) + hypot(3,4) + pow(2,5) + sign(-3) + abs(-2)", 158),
        ("atan2(0, 1) + sin(0) + cos(0) + tan(0)", 1),
        ("degrees(pi)", 180),
        ("pi() - pi + e - e() + tau - 2*pi", 0),
        ("sqrt(sqrt(16))+factorial(10)", 3628802),
    ],
)
def test_an_expression_has_its_value(text, result):
    if result is None:
        with pytest.raises(ToolFailure, match="Undefined variables: undefined_is_not_reached"):
            value(text)
    else:
        assert value(text) == pytest.approx(result)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("1/0", "Infinity"),
        ("-1/0", "-Infinity"),
        ("0/0", "NaN"),
        ("1 % 0", "NaN"),
        ("9**9**9", "Infinity"),
        ("exp(1000)", "Infinity"),
    ],
)
def test_special_results_are_words(text, result):
    answer = calculator.evaluate_expression(text)
    assert (answer["result"], answer["result_type"]) == (result, "special")


@pytest.mark.parametrize(
    ("text", "code", "position"),
    [
        ("2+*", "parse_error", 2),
        ("", "parse_error", 0),
        ("(1", "parse_error", 2),
        ("1 $ 2", "parse_error", 2),
        ("f(1)", "parse_error", 0),
        ("sqrt(1,2)", "parse_error", 0),
        ("min()", "parse_error", 0),
        ("max(1,)", "parse_error", 6),
        ("1 2", "parse_error", 2),
        ("__import__('os')", "parse_error", 11),
        ("(1).__class__", "parse_error", 3),
        ("sqrt(-1)", "domain_error", None),
        ("asin(2)", "domain_error", None),
        ("factorial(171)", "domain_error", None),
        ("factorial(1.5)", "domain_error", None),
        ("log(0)", "domain_error", None),
        ("(0-8)^0.5", "domain_error", None),
        ("gcd(1/0, 2)", "domain_error", None),
        ("(" * 65 + "1" + ")" * 65, "limit", None),
        ("-" * 65 + "1", "limit", None),
        ("1" + "+1" * 501, "limit", None),
        ("1" * 4097, "limit", None),
    ],
)
def test_a_bad_expression_fails_with_its_code(text, code, position):
    with pytest.raises(ToolFailure) as caught:
        calculator.evaluate_expression(text)
    assert caught.value.code == code
    assert caught.value.details.get("position") == position


def test_variables_hide_constants_and_must_be_numbers():
    assert value("pi + x", variables={"pi": 1, "x": 2.5}) == 3.5
    for wrong in ("1", None, [1], True):
        with pytest.raises(ToolFailure) as caught:
            value("x", variables={"x": wrong})
        assert caught.value.code == "domain_error"
    assert value("1", variables={"unused": "text"}) == 1
    with pytest.raises(ToolFailure, match="Undefined variables: a, b"):
        value("a + b + a")
    with pytest.raises(ToolFailure) as caught:
        value("1", variables={f"v{n}": n for n in range(101)})
    assert caught.value.code == "limit"


def test_angles_may_be_degrees_and_results_be_rounded():
    assert value("sin(90)", angle="degrees") == 1
    assert value("asin(1)", angle="degrees") == 90
    assert value("1/3", precision=2) == 0.33


def test_integers_are_exact_up_to_4096_bits():
    assert value("2^4095") == 2**4095
    assert value("2^4097") == "Infinity"
    assert value("x", variables={"x": -(2**63)}) == -(2**63)
    assert value("x + 1", variables={"x": 2**63 - 1}) == 2**63


def test_long_chains_are_evaluated_without_recursion():
    assert value("+".join(["1"] * 500)) == 500


def test_validate_tells_where_and_functions_lists_all():
    assert calculator.validate("1+1") == {"input": "1+1", "valid": True}
    assert calculator.validate("1+")["position"] == 2
    assert "x" in calculator.validate("x")["error"]
    lists = calculator.functions()
    assert {"arithmetic", "comparison", "logical", "trigonometric", "mathematical", "hyperbolic"} <= set(lists)
    assert lists["examples"]
    assert lists["constants"] == ["e", "pi", "tau"]
    for example in lists["examples"].values():
        calculator.evaluate_expression(example, variables={"x": 1, "y": 2})


numbers = st.integers(-100, 100).map(str) | st.floats(0, 1e6, allow_nan=False).map(repr)
expressions = st.recursive(
    numbers,
    lambda inner: st.builds(lambda a, op, b: f"({a} {op} {b})", inner, st.sampled_from(["+", "-", "*"]), inner),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(expressions)
def test_arithmetic_agrees_with_python(text):
    expected = eval(text)
    assert math.isclose(value(text), expected, rel_tol=1e-12, abs_tol=1e-9)


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.eEx+-*/%^()<>=!&|, abcpisqrtlogfactorialpow", max_size=40))
def test_any_text_gives_a_value_or_a_failure(text):
    try:
        outcome = calculator.evaluate_expression(text, variables={"a": 1e308, "b": math.nan, "c": -(2**63)})[
            "result_type"
        ]
    except LLMSpellError as error:
        outcome = error.code
    assert outcome in ("integer", "float", "special", "parse_error", "undefined_name", "domain_error", "limit")
