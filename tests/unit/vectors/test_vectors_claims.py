"""Totals of scopes and claims of reservations equal the rows, whatever changes them."""

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.vectors import claims
from llmspell.vectors.collection import Collection
from llmspell.vectors.records import Part, Recorded, Stored

RECORDED = Recorded(embedder="builtin", embedder_id="x", dimensions=4, metric="cosine", created=0.0)
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "expire", "clear", "metadata"]), st.sampled_from("ab"), st.integers(0, 4),
              st.integers(0, 3)),
    max_size=12,
)  # fmt: skip


def entry(ident, parts, *, expires=None):
    return Stored(
        id=str(ident),
        parts=[Part(f"word{number} é", number, 1) for number in range(parts)],
        vectors=np.ones((parts, 4), np.float32),
        digest=b"",
        ingested=1.0,
        expires=expires,
    )


def rows(collection, scope):
    with collection.reading() as connection:
        return connection.execute(
            "SELECT count(*), coalesce(sum(chunks), 0), coalesce(sum(bytes), 0) FROM documents"
            " WHERE scope = (SELECT id FROM scopes WHERE name = ?)",
            (scope,),
        ).fetchone()


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 12))
def test_totals_equal_the_rows_from_whenever_they_are_kept(steps, when):
    collection = Collection("c", ":memory:", recorded=RECORDED)
    try:
        for number, (step, scope, ident, parts) in enumerate(steps):
            if number == when:
                claims.tally_of(collection, "a")
            if step == "put":
                collection.put(scope, [entry(ident, parts)])
            elif step == "expire":
                collection.put(scope, [entry(ident, parts, expires=time.time() - 1)])
                collection.sweep()
            elif step == "delete":
                collection.delete(scope, [str(ident)])
            elif step == "metadata":
                collection.set_metadata(scope, str(ident), {"n": 1}, event_time=None, expires=None)
            else:
                collection.delete_scope(scope)
        for scope in "ab":
            counts, _ = claims.tally_of(collection, scope)
            assert tuple(counts.values()) == rows(collection, scope)
    finally:
        collection.close()


def test_a_claim_grows_with_the_rows_and_is_forgotten(tmp_path):
    collection = Collection("c", str(tmp_path / "data.db"), recorded=RECORDED)
    collection.put("a", [entry(1, 2)], claim="r")
    collection.put("a", [entry(2, 3), entry(3, 0)], claim="r")
    counts, claimed = claims.tally_of(collection, "a")
    assert claimed == {"r": counts}
    assert (counts["documents"], counts["vectors"]) == (3, 5)
    assert claims.weigh(collection, "a", ["1", "9"])["vectors"] == 2
    claims.forget(collection, "r")
    assert claims.tally_of(collection, "a")[1] == {}
    collection.close()
