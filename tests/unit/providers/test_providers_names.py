import re

from hypothesis import given
from hypothesis import strategies as st

from llmspell.providers._names import reversed_names, simplify, wire_names


@given(st.lists(st.text(min_size=1, max_size=90), max_size=8))
def test_wire_names_fit_are_unique_and_can_be_reversed(names):
    mapping = wire_names(names)
    assert set(mapping) == set(names)
    assert len(set(mapping.values())) == len(mapping)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", wire) for wire in mapping.values())
    back = reversed_names(mapping)
    assert all(back.get(wire, wire) == own for own, wire in mapping.items())


def test_separators_become_two_underscores_and_fitting_names_stay():
    assert wire_names(["mcp:x/y.z", "plain"]) == {"mcp:x/y.z": "mcp__x__y__z", "plain": "plain"}


def test_references_are_inlined_and_recursion_ends():
    schema = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    }
    assert simplify(schema) == {
        "type": "object",
        "properties": {"n": {"type": "object", "properties": {"next": {"description": "a value of type node"}}}},
    }


def test_a_strict_schema_requires_everything_and_tells_what_it_cannot_say():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^x"}, "b": {"type": "integer", "enum": [1]}},
        "required": ["a"],
    }
    strict = simplify(schema, strict=True)
    assert strict["required"] == ["a", "b"]
    assert strict["additionalProperties"] is False
    assert strict["properties"]["a"] == {"type": "string", "description": "pattern: ^x"}
    assert strict["properties"]["b"] == {"type": ["integer", "null"], "enum": [1, None]}


def test_a_property_named_like_a_keyword_is_kept():
    schema = {"type": "object", "properties": {"format": {"type": "string"}, "default": {"type": "string"}}}
    assert simplify(schema) == schema
    assert set(simplify(schema, strict=True)["properties"]) == {"format", "default"}
