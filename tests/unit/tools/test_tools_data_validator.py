"""data-validator: every rule, both forms, and rules that are none."""

import time

import pytest
from pure_tools import make, run_cases

from llmspell.base.rules import compile_rules
from llmspell.errors import TimeoutError as TimedOut
from llmspell.errors import ValidationError


def messages(value, *rules):
    return [failure[3] for failure in compile_rules(list(rules))(value, "")]


async def test_the_self_tests_pass(tmp_path):
    assert await run_cases(tmp_path, "data-validator") == []


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("required", [0, False, "x"], [None, ""]),
        ({"type": "type", "expected": "integer"}, [1, 2.0], [True, "1", 1.5, None]),
        ({"type": "type", "expected": "number"}, [1, 1.5], [False, "1"]),
        ({"type": "length", "min": 2, "max": 3}, ["é😀", [1, 2], None], ["a", "abcd", 5]),
        ({"type": "range", "min": 1, "max": 2.5}, [1, 2.5], [0, 3, "1", float("nan"), True]),
        ({"type": "pattern", "regex": "^a+$"}, ["aa"], ["b", 1]),
        ({"type": "enum", "values": [1, "a"]}, [1, "a"], [True, "b"]),
        ("email", ["a.b+c@d.example"], ["a@b", "a b@c.de", "@b.de", "a@-b.de", "a@b.1", "a" * 70 + "@b.de", 5]),
        ("url", ["https://a.example/x?y#z"], ["a.example", "javascript:x", "http://", "http://a b", "http://a:99999"]),
        ("ip", ["127.0.0.1", "::1"], ["256.1.1.1", "x"]),
        ("date", ["2025-01-31", "2025-01-31T10:00:00Z"], ["2025-02-31", "soon"]),
        ({"type": "date", "format": "%d.%m.%Y"}, ["31.01.2025"], ["2025-01-31"]),
        ({"type": "custom", "name": "phone"}, ["+49 30 1234567"], ["123", "12345678x"]),
        ({"type": "custom", "name": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"], ["123"]),
        ({"type": "custom", "name": "credit_card"}, ["4111 1111 1111 1111"], ["4111111111111112"]),
        ({"type": "custom", "name": "slug"}, ["a-b-1"], ["A-b", "a--b", "-a"]),
        ({"type": "custom", "name": "json"}, ["[1]"], ["[1"]),
        ({"type": "custom", "name": "base64"}, ["aGk="], ["aGk", "a"]),
        ({"type": "custom", "name": "iban"}, ["DE89 3704 0044 0532 0130 00"], ["DE88370400440532013000"]),
        ({"type": "array", "min_items": 1, "max_items": 2, "unique": True}, [[1, "1"]], [[], [1, 1], [1, 2, 3], {}]),
        ({"type": "not", "rule": {"type": "enum", "values": [1]}}, [2], [1]),
        ({"type": "any_of", "rules": ["email", {"type": "type", "expected": "null"}]}, ["a@b.de", None], ["x"]),
    ],
)
def test_each_rule_accepts_and_refuses(rule, good, bad):
    check = compile_rules(rule)
    assert [value for value in good if list(check(value, ""))] == []
    assert [value for value in bad if not list(check(value, ""))] == []


def test_messages_are_the_documented_ones():
    assert messages("a", {"type": "length", "min": 2}) == ["must be at least 2 characters"]
    assert messages([1, 2], {"type": "length", "max": 1}) == ["must be at most 1 items"]
    assert messages("c", {"type": "enum", "values": ["a", "b"]}) == ["must be one of a, b"]
    assert messages([1, 1], {"type": "array", "unique": True}) == ["items must be unique"]
    assert messages({}, {"type": "object", "required": ["x"]}) == ["Missing required field 'x'"]


def test_errors_inside_name_their_field():
    rule = {
        "type": "object",
        "properties": {"list": {"type": "array", "item_rules": ["email"]}, "n": [{"type": "range", "max": 1}]},
        "additional_properties": False,
    }
    found = list(compile_rules({"rules": [rule]})({"list": ["a@b.de", "x"], "n": 2, "odd": 1}, ""))
    assert [failure[0] for failure in found] == ["list[1]", "n", "odd"]


@pytest.mark.parametrize(
    "rules",
    [["nope"], [{"type": "range"}], [{"type": "pattern", "regex": "("}], [{"type": "enum", "values": []}], [5],
     [{"type": "length", "min": "x"}], [{"type": "range", "min": 1, "maximum": 2}], [{"type": "custom", "name": "x"}],
     [{"type": "type", "expected": "x"}], [{"type": "not"}], [{"type": "any_of"}], [{"min": 1}],
     [{"type": "array", "item_rules": [{"type": "nope"}]}]],
)  # fmt: skip
async def test_a_bad_rule_raises_schema_violation(tmp_path, rules):
    with pytest.raises(ValidationError) as caught:
        await make(tmp_path).call("data-validator", {"input": 1, "rules": rules})
    assert caught.value.code == "schema_violation"


async def test_schemas_limits_and_own_messages(tmp_path):
    call = make(tmp_path).call
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    found = (await call("data_validation", {"data": {"a": [1, "x", "y"]}, "schema": schema}))["result"]
    assert [(item["field"], item["value"], item["rule"]) for item in found["errors"]] == [
        ("a[1]", "x", "type"), ("a[2]", "y", "type"),
    ]  # fmt: skip
    rules = [{"type": "array", "item_rules": ["email"]}]
    first = await call("data-validator", {"input": ["x", "y"], "rules": rules, "fail_fast": True})
    assert first["metadata"]["error_count"] == 1
    own = await call("data-validator", {"input": "x", "rules": ["email"], "custom_messages": {"email": "no mail"}})
    assert own["result"]["errors"][0]["message"] == "no mail"
    for params in ({"input": 1}, {"input": 1, "rules": [], "schema": {}}, {"input": 1, "schema": {"type": "x"}}):
        with pytest.raises(ValidationError):
            await call("data-validator", params)


async def test_a_hostile_pattern_or_schema_returns_soon(tmp_path):
    start = time.monotonic()
    check = compile_rules({"type": "pattern", "regex": "^(a|aa)+$"})
    with pytest.raises(TimedOut):
        list(check("a" * 400 + "b", ""))
    with pytest.raises(ValidationError):
        await make(tmp_path).call("data-validator", {"input": 1, "schema": {"$ref": "http://127.0.0.1:1/x"}})
    assert time.monotonic() - start < 3
