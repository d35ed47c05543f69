"""Differences and patches of JSON values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.base.jsondiff import apply_patch, differences, patch, same
from llmspell.errors import ValidationError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", "~/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b/c", "~d", "0"]), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_the_patch_turns_one_value_into_the_other(a, b):
    assert same(apply_patch(a, patch(a, b)), b)
    assert (differences(a, b) == []) == same(a, b)


def test_each_kind_of_difference_is_named_with_its_path():
    found = differences({"a": 1, "b": [1], "d": 1}, {"a": 2, "b": [1, 2], "c": True, "d": "x"})
    assert [(item["path"], item["kind"]) for item in found] == [
        ("$.a", "changed"),
        ("$.b[1]", "added"),
        ("$.c", "added"),
        ("$.d", "type"),
    ]
    assert "left" not in found[1]
    assert found[1]["right"] == 2


def test_true_is_not_one_and_one_is_one_point_zero():
    assert not same(True, 1)
    assert same([1], [1.0])


@pytest.mark.parametrize(
    ("value", "operation", "expected"),
    [
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({"a": [1]}, {"op": "add", "path": "/a/0", "value": 2}, {"a": [2, 1]}),
        ({"a": 1}, {"op": "move", "from": "/a", "path": "/b"}, {"b": 1}),
        ({"a": 1}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": 1, "b": 1}),
        ({"a": 1}, {"op": "test", "path": "/a", "value": 1}, {"a": 1}),
        ({"a": 1}, {"op": "replace", "path": "", "value": 3}, 3),
    ],
)
def test_patch_operations(value, operation, expected):
    assert apply_patch(value, [operation]) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/zz"},
        {"op": "add", "path": "/a/5", "value": 1},
        {"op": "add", "path": "/a/01"},
        {"op": "test", "path": "/a", "value": 9},
        {"op": "nope", "path": ""},
        {"path": ""},
        5,
        {"op": "replace", "path": "/a/-", "value": 1},
        {"op": "move", "from": "/a", "path": "/a/0"},
        {"op": "add", "path": "a", "value": 1},
    ],
)
def test_an_operation_that_does_not_fit_fails_and_changes_nothing(operation):
    value = {"a": [1]}
    with pytest.raises(ValidationError) as caught:
        apply_patch(value, [{"op": "add", "path": "/a/-", "value": 2}, operation])
    assert caught.value.details["operation"] == 1
    assert value == {"a": [1]}
