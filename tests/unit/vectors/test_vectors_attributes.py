"""What the index judges by attributes, it judges as the predicate of the filter does; what it cannot, it does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell._core import VectorIndex
from llmspell.vectors import Query, compile_filter
from llmspell.vectors.attributes import MAX_FIELDS, Columns, Row

NAMES = ["p", "q", "r", "r.x", "r.x.y", "s", "a.b"]
PLAIN = [True, False, 0, 1, 1.0, 2, 2.5, -3, "", "a", "ab", "b", "\u00e9"]
ODD = [
    None,
    ["a", "b"],
    ["ab"],
    [],
    [1],
    {"x": 1},
    {"x": {"y": "a"}},
    {"x.y": 1},
    10**17,
    "long" * 2000,
    float(1 << 60),
]
METADATA = st.one_of(
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(PLAIN), max_size=4),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(PLAIN + ODD), max_size=4),
)
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne", "$eq", "contains", "prefix", "exists"]), st.sampled_from(PLAIN + ODD)),
    st.tuples(st.sampled_from(["gt", "gte", "$lt", "lte"]), st.sampled_from([1, 2.0, "a", 0])),
    st.tuples(st.sampled_from(["in", "nin"]), st.lists(st.sampled_from([*PLAIN, None, 10**17]), max_size=3)),
).map(lambda pair: {pair[0]: pair[1]})
LEAVES = st.dictionaries(
    st.sampled_from([*NAMES, "a.b.x", "unknown"]),
    st.one_of(OPERATORS, st.sampled_from(PLAIN), st.lists(st.sampled_from(PLAIN), max_size=2)),
    max_size=2,
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda word, items: {word: items}, st.sampled_from(["and", "$or"]), st.lists(inner, max_size=2)),
        st.builds(lambda item: {"not": item}, inner),
    ),
    max_leaves=4,
)


def found(rows, columns, query, *, expiring=False):
    index = VectorIndex(4)
    vectors = np.random.default_rng(1).normal(size=(len(rows), 4)).astype(np.float32)
    index.add(np.arange(len(rows)), vectors, attrs=[columns.attributes(row) for row in rows])
    conditions = columns.conditions(query, 100.0, expiring=expiring)
    if conditions is None:
        return None
    spec = {"$and": conditions} if conditions else None
    return set(index.search(np.ones(4, np.float32), 100, filter=spec).keys.tolist())


@settings(max_examples=300, deadline=None)
@given(st.lists(METADATA, min_size=1, max_size=12), FILTERS)
def test_a_filter_means_the_same_to_the_index_and_to_the_predicate(metadata, spec):
    rows = [Row(item, None, 1.0, None) for item in metadata]
    try:
        matches = compile_filter(spec)
    except Exception:
        return
    got = found(rows, Columns(), Query(k=1, filters=spec))
    if got is not None:
        assert got == {at for at, item in enumerate(metadata) if matches(item)}


@pytest.mark.parametrize(
    ("metadata", "spec"),
    [
        ({"a": None}, {"a": {"exists": True}}),
        ({"a": ["x", "y"]}, {"a": "x"}),
        ({"a": {"b": 1}}, {"a": {"exists": True}}),
        ({"a": 1 << 60}, {"a": (1 << 60) + 1}),
        ({"a": "x" * 5000}, {"a": {"prefix": "x"}}),
        ({"a": 1}, {"a": None}),
    ],
)
def test_what_the_index_would_judge_otherwise_is_left_to_the_rows(metadata, spec):
    columns = Columns()
    columns.attributes(Row(metadata, None, 1.0, None))
    assert columns.conditions(Query(k=1, filters=spec), 0.0, expiring=False) is None


@pytest.mark.parametrize("spec", [{"a": 1}, {"a.b": "x"}, {"tags": {"contains": "x"}}, {"not": {"a": {"gt": 2}}}])
def test_ordinary_filters_are_judged_by_the_index(spec):
    columns = Columns()
    columns.attributes(Row({"a": 1, "tags": ["x"]}, None, 1.0, None))
    columns.attributes(Row({"a.b": "x", "n": {"m": 2}}, None, 1.0, None))
    assert columns.conditions(Query(k=1, filters=spec), 0.0, expiring=False)


def test_a_path_does_not_lead_through_a_key_with_a_dot():
    rows = [Row({"a.b": {"x": 1}}, None, 1.0, None), Row({"a": {"b": {"x": 1}}}, None, 1.0, None)]
    assert found(rows, Columns(), Query(k=1, filters={"a.b.x": 1})) == {1}


def test_times_and_expiry_are_attributes():
    rows = [Row({}, 10.0, 1.0, None), Row({}, 20.0, 2.0, 100.0), Row({}, None, 3.0, 101.0)]
    assert found(rows, Columns(), Query(k=1, event_time=(10.0, 20.0))) == {0}
    assert found(rows, Columns(), Query(k=1, event_time=(None, 21.0))) == {0, 1}
    assert found(rows, Columns(), Query(k=1, ingested=(2.0, None))) == {1, 2}
    assert found(rows, Columns(), Query(k=1), expiring=True) == {0, 2}
    assert found(rows, Columns(), Query(k=1, expired=True), expiring=True) == {0, 1, 2}


def test_more_fields_than_the_index_takes_are_left_to_the_rows():
    columns = Columns()
    rows = [Row({f"f{at}": at for at in range(MAX_FIELDS + 9)}, None, 1.0, None)]
    assert found(rows, columns, Query(k=1, filters={"f3": 3})) == {0}
    assert columns.conditions(Query(k=1, filters={f"f{MAX_FIELDS + 3}": 1}), 0.0, expiring=False) is None
    for at in range(200):
        columns.attributes(Row({f"g{at}": at}, None, 1.0, None))
    assert columns.conditions(Query(k=1, filters={"g199": 199}), 0.0, expiring=False) is None
