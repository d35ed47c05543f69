"""The filter language: each operator, missing fields, types, refusals."""

import pytest

from llmspell.errors import InvalidArgument
from llmspell.vectors import compile_filter
from llmspell.vectors.filters import required_texts

ITEM = {
    "lang": "en",
    "year": 2020,
    "tags": ["a", "b"],
    "deep": {"x": {"y": 1}},
    "dot.ted": 5,
    "flag": True,
    "half": 0.5,
}


@pytest.mark.parametrize(
    "spec",
    [
        {"lang": "en"},
        {"lang": ["de", "en"]},
        {"year": {"gte": 2020}},
        {"year": {"gt": 2019, "lt": 2021}},
        {"year": {"$in": [1, 2020]}},
        {"year": 2020.0},
        {"year": {"ne": 1}},
        {"none": {"ne": 1}},
        {"none": {"nin": [1]}},
        {"none": {"exists": False}},
        {"lang": {"exists": True}},
        {"tags": {"contains": "a"}},
        {"lang": {"contains": "n"}},
        {"deep.x.y": 1},
        {"dot.ted": 5},
        {"or": [{"lang": "de"}, {"year": 2020}]},
        {"and": [{"lang": "en"}, {"flag": True}]},
        {"not": {"lang": "de"}},
        {"$not": {"none": 1}},
        {"lang": {"prefix": "e"}},
        {"lang": {"lte": "en"}},
        {},
        {"half": {"lt": 1}},
    ],
)
def test_a_filter_matches(spec):
    assert compile_filter(spec)(ITEM)


@pytest.mark.parametrize(
    "spec",
    [
        {"lang": "de"},
        {"flag": 1},
        {"year": True},
        {"year": "2020"},
        {"none": 1},
        {"none": {"gt": 0}},
        {"lang": []},
        {"year": {"gt": 2020}},
        {"lang": {"gt": 1}},
        {"tags": "a"},
        {"tags": {"contains": "c"}},
        {"deep.x.z": 1},
        {"lang": "en", "year": 1},
        {"or": []},
        {"flag": {"gt": 0}},
        {"lang": {"nin": ["en"]}},
        {"year": {"contains": 2}},
    ],
)
def test_a_filter_does_not_match(spec):
    assert not compile_filter(spec)(ITEM)


@pytest.mark.parametrize(
    "spec",
    [
        {"a": {"like": 1}},
        {"and": 1},
        {"a": {"in": 3}},
        {"a": {}},
        {"a": {"gt": None}},
        {"not": 1},
        {f"k{i}": 1 for i in range(300)},
    ],
)
def test_a_wrong_filter_is_refused(spec):
    with pytest.raises(InvalidArgument, match="filters"):
        compile_filter(spec)


def test_a_filter_nested_too_deep_is_refused():
    spec = {"a": 1}
    for _ in range(20):
        spec = {"not": spec}
    with pytest.raises(InvalidArgument, match="deeper"):
        compile_filter(spec)


def test_texts_that_matching_items_must_hold_are_known():
    spec = {"a": "x", "b": {"eq": 'q"'}, "c": ["y"], "d": 5, "or": [{"e": "z"}], "f": {"ne": "n"}}
    assert required_texts(spec) == ["x", 'q"']
