"""JSON text: positions of errors, limits, and numbers that stay what they are."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.base.jsontext import dumps, loads
from llmspell.errors import InvalidArgument, MalformedData, UnsupportedType, ValidationError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES)
def test_what_was_written_is_read_back_with_the_same_types(value):
    again = loads(dumps(value))
    assert again == value
    assert repr(again) == repr(value) or isinstance(value, dict | list)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 1, 1),
        ("[1,\n 2,]", 2, 4),
        ('{"a":}', 1, 6),
        ("1 2", 1, 3),
        ('["NaN",\n NaN]', 2, 2),
        ("-Infinity", 1, 1),
        ('"a\\ud800b"', 1, 3),
        ('"\\udc00"', 1, 2),
        ("\x00", 1, 1),
        ("'a'", 1, 1),
        ("[1", 1, 3),
    ],
)
def test_a_parse_error_names_line_and_column(text, line, column):
    with pytest.raises(MalformedData, match=rf"^JSON parse error: .* at line {line} column {column}$") as caught:
        loads(text)
    assert (caught.value.details["line"], caught.value.details["column"]) == (line, column)


def test_a_surrogate_pair_is_one_character_and_an_escaped_backslash_is_none():
    assert loads('"\\ud83d\\ude00"') == "😀"
    assert loads('"\\\\ud800"') == "\\ud800"


def test_depth_is_limited_even_for_a_hostile_text_and_quickly():
    assert loads("[" * 128 + "]" * 128)
    start = time.monotonic()
    for text in ("[" * 129 + "]" * 129, "[" * 10**6, '{"a":' * 10**5, '"' + '\\"' * 10**6 + "[" * 200):
        with pytest.raises(MalformedData):
            loads(text)
    assert time.monotonic() - start < 3
    assert loads('["' + "[" * 500 + '"]')
    with pytest.raises(InvalidArgument):
        loads("[]", max_depth=10**6)


def test_integers_beyond_64_bits_become_floats_and_floats_stay_floats():
    assert repr(loads("[9223372036854775807, 9223372036854775808, -9223372036854775809, 1.0, 1e2]")) == (
        "[9223372036854775807, 9.223372036854776e+18, -9.223372036854776e+18, 1.0, 100.0]"
    )
    assert loads("1" * 5000) == float("inf")
    assert dumps([1, 1.0, 1e300]) == "[1,1.0,1e+300]"


def test_the_last_of_repeated_keys_wins_and_keys_are_sorted():
    assert dumps(loads('{"b":1,"a":2,"b":3}')) == '{"a":2,"b":3}'
    assert dumps({"b": [1, {}], "a": []}, indent=2) == '{\n  "a": [],\n  "b": [\n    1,\n    {}\n  ]\n}'


def test_text_without_a_json_form_is_refused_with_its_path():
    with pytest.raises(ValidationError, match=r"\$\.a\[1\]"):
        dumps({"a": [1, float("nan")]})
    with pytest.raises(UnsupportedType, match=r'\$\["odd key"\]'):
        dumps({"odd key": b"\xff"})
    assert dumps([float("inf"), {"a": float("nan")}], nan="null") == '[null,{"a":null}]'
    assert dumps("é", ascii_only=True) == '"\\u00e9"'
    with pytest.raises(MalformedData, match="invalid UTF-8 at line 1 column 3"):
        loads(b'"a\xff"')
