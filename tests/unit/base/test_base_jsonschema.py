"""Schemas of callers: drafts, paths, and nothing fetched."""

import time

import pytest

from llmspell.base.jsonschema import Checker
from llmspell.errors import ValidationError


def test_a_violation_has_path_keyword_and_message():
    schema = {"properties": {"a": {"items": {"type": "integer"}}}, "required": ["b"]}
    found = Checker(schema).violations({"a": [1, "x"]})
    assert {(item["path"], item["keyword"]) for item in found} == {("$.a[1]", "type"), ("$", "required")}
    assert Checker(schema).violations({"a": [1], "b": None}) == []


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/x", "file:///etc/passwd", "https://example.org/s.json"])
def test_a_reference_outside_is_refused(uri):
    with pytest.raises(ValidationError, match="bad JSON schema"):
        Checker({"$ref": uri})


@pytest.mark.parametrize("schema", [{"type": "nope"}, [], "x", {"pattern": "("}, {"minimum": "a"}])
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(ValidationError) as caught:
        Checker(schema)
    assert caught.value.code == "bad_schema"


def test_a_hostile_pattern_returns_soon():
    start = time.monotonic()
    checker = Checker({"pattern": "^(?=a)(a+)+\\1$"})
    assert checker.violations("a" * 40 + "b")
    assert time.monotonic() - start < 3


def test_the_draft_follows_the_schema_and_formats_are_checked():
    assert Checker({"format": "email"}).violations("x")
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": True}
    assert Checker(draft4).violations(3)
