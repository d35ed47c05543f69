"""Searching: arms, weights, groups, other orders, kept answers, and queries that mean harm."""

import asyncio
import time

import pytest

from llmspell.config import load
from llmspell.errors import ComponentError, InvalidArgument, ToolError, ValidationError
from llmspell.errors import TimeoutError as Late
from llmspell.rag import Rag
from llmspell.rag.retrieve import ALIASES

DAY = 86_400
DOCS = [
    {"id": "lua", "content": "Lua is a small scripting language", "metadata": {"kind": "code", "by": {"team": "rio"}}},
    {"id": "bread", "content": "Bread needs flour, water and patience", "metadata": {"kind": "food"}, "source": "book"},
    {"id": "c", "content": "The language C is close to the machine", "metadata": {"kind": "code", "by": {"team": "bell"}}},
    {"id": "rolls", "content": "Small rolls need less patience than bread", "metadata": {"kind": "food"}, "source": "book"},
]  # fmt: skip


def make(home, *sets):
    return Rag(load(sets=list(sets), environ={}, cwd=home, home=home).config.rag, home=home)


@pytest.fixture
async def rag(tmp_path):
    opened = make(tmp_path, "rag.embedding.cache_enabled=false")
    await opened.ingest(DOCS)
    yield opened
    opened.close()


@pytest.fixture
def asked(rag, monkeypatch):
    """The queries that reach the embedder."""
    seen = []
    embedder = rag.embedder().embedder
    embed = embedder.embed

    async def noted(texts, **options):
        seen.extend(texts)
        return await embed(texts, **options)

    monkeypatch.setattr(embedder, "embed", noted, raising=False)
    return seen


def ids(result):
    return [item.id for item in result.results]


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
async def test_a_search_embeds_its_query_once(rag, asked, mode):
    found = await rag.search("small language", mode=mode, rerank="mmr", group_by="kind")
    assert asked == ["small language"]
    assert found.embedding_tokens > 0
    assert (await rag.search("small language", mode="keyword")).embedding_tokens == 0
    assert asked == ["small language"]


async def test_scores_tell_what_each_arm_said(rag):
    hybrid = (await rag.search("small language", k=4)).results
    assert {"vector", "keyword", "fused"} == set(hybrid[0].scores)
    assert all(0 <= item.score <= 1 and item.score == item.scores["fused"] for item in hybrid)
    only = (await rag.search("small language", k=4, mode="vector")).results
    assert all(item.score == item.scores["vector"] and "keyword" not in item.scores for item in only)
    assert {item.id: item.scores["vector"] for item in hybrid} == {item.id: item.scores["vector"] for item in only}


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
async def test_options_have_aliases(rag, alias, name):
    value = {"k": 2, "threshold": 0.2, "filters": {"kind": "food"}}[name]
    assert ids(await rag.search("small bread", **{alias: value})) == ids(
        await rag.search("small bread", **{name: value})
    )
    other = {"k": 3, "threshold": 0.3, "filters": {}}[name]
    with pytest.raises(InvalidArgument, match="twice"):
        await rag.search("small bread", **{alias: value, name: other})


async def test_weights_decide_which_arm_counts(rag):
    for arm in ("vector", "keyword"):
        alone = await rag.search("patience small bread", mode=arm, k=4)
        fused = await rag.search("patience small bread", weights={arm: 1}, k=4)
        assert ids(fused)[0] == ids(alone)[0]
        assert fused.results[0].score == pytest.approx(1)


async def test_weighted_fusion_counts_words_of_the_metadata(rag):
    found = (await rag.search("rio language", fusion="weighted", k=4)).results
    assert {item.id: item.scores["metadata"] for item in found if item.id in ("lua", "c")} == {"lua": 0.5, "c": 0.0}
    lone = await rag.search("language bell", weights={"metadata": 1}, k=2)
    assert (ids(lone)[0], lone.results[0].score) == ("c", pytest.approx(1))


async def test_weighted_fusion_prefers_the_recent(rag):
    now = time.time()
    documents = [{"id": f"n{age}", "content": "news of the day", "event_time": now - age * DAY} for age in range(5)]
    await rag.ingest(documents, collection="news")
    found = await rag.search("news", collection="news", fusion="weighted")
    assert ids(found) == ["n0", "n1", "n2", "n3", "n4"]
    assert [item.scores["recency"] for item in found.results] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert {item.scores["fused"] for item in (await rag.search("news", collection="news")).results} == {1.0}


@pytest.mark.parametrize(
    "weights",
    [{"vector": -1}, {"vector": True}, {"vector": "1"}, {"other": 1}, {"vector": float("nan")}, 5, {"vector": 0}],
)
async def test_weights_that_are_none_are_refused(rag, weights):
    with pytest.raises(InvalidArgument, match="weights"):
        await rag.search("x", weights=weights)


async def test_a_threshold_is_a_similarity_whatever_the_rank(rag):
    everything = {item.id: item for item in (await rag.search("flour", k=10)).results}
    least = everything["bread"].scores["vector"] - 0.01
    assert ids(await rag.search("flour", threshold=least)) == ["bread"]
    assert ids(await rag.search("flour", threshold=0.99)) == []
    keyword = (await rag.search("flour", mode="keyword")).results[0].scores["keyword"]
    assert ids(await rag.search("flour", mode="keyword", threshold=keyword + 0.01)) == []


async def test_groups_give_the_best_of_each(rag):
    by_kind = await rag.search("small bread language", group_by="kind", k=10)
    assert {item.metadata["kind"] for item in by_kind.results} == {"code", "food"}
    assert (by_kind.total, by_kind.exhausted) == (2, True)
    assert len((await rag.search("language", group_by="by.team", k=10)).results) == 4
    assert (await rag.search("bread", group_by="kind", k=1)).exhausted is False
    by_source = await rag.search("bread", group_by="source", k=10, mode="vector")
    assert sorted(ids(by_source)) in (["bread", "c", "lua"], ["c", "lua", "rolls"])


async def test_groups_look_as_deep_as_they_must(rag):
    long = [{"id": "long", "content": "bread and salt. " * 4000}, {"id": "short", "content": "bread"}]
    await rag.ingest(long, collection="books", chunking={"chunk_size": 20, "overlap": 0})
    found = await rag.search("bread and salt", collection="books", group_by="document_id", k=2)
    assert [item.document_id for item in found.results] == ["long", "short"]


async def test_filters_hold_in_both_arms_and_give_k_or_all(rag):
    await rag.ingest([{"id": f"x{n}", "content": "small language of code", "metadata": {"n": n}} for n in range(300)])
    for mode in ("hybrid", "vector", "keyword"):
        found = await rag.search("small language", mode=mode, filters={"n": {"gte": 297}}, k=5)
        assert (sorted(ids(found)), found.exhausted) == (["x297", "x298", "x299"], True)
        assert (await rag.search("small language", mode=mode, filters={"n": {"gte": 290}}, k=5)).total == 5


async def test_a_reranking_function_orders_scores_and_drops(rag):
    seen = []

    async def order(query, hits):
        seen.append((query, len(hits)))
        return [{"id": hit["id"], "score": number} for number, hit in enumerate(reversed(hits[:3]))]

    found = await rag.search("bread", rerank=order, k=2)
    assert seen == [("bread", 4)]
    assert [item.scores["rerank"] for item in found.results] == [0.0, 1.0]
    assert [item.score for item in found.results] == [0.0, 1.0]
    assert ids(await rag.search("bread", rerank=lambda query, hits: [hits[2]["id"], 5, None, "unknown"])) == [
        ids(await rag.search("bread"))[2]
    ]


def slow(query, hits):
    return asyncio.sleep(60)


def raises(error):
    def function(query, hits):
        raise error

    return function


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (raises(RuntimeError("broken")), RuntimeError),
        (raises(ToolError("broken")), ToolError),
        (lambda query, hits: "text", ComponentError),
        (slow, Late),
    ],
)
async def test_a_reranker_that_fails_leaves_the_order_and_a_warning_unless_it_is_required(tmp_path, function, kind):
    rag = make(tmp_path, "rag.retrieval.timeout_seconds=0.01")
    await rag.ingest(DOCS)
    plain = await rag.search("bread")
    found = await rag.search("bread", rerank=function)
    assert ids(found) == ids(plain)
    assert len(found.warnings) == 1
    assert "the fused order is kept" in found.warnings[0]
    with pytest.raises(kind):
        await rag.search("bread", rerank=function, rerank_required=True)
    rag.close()


async def test_mmr_prefers_what_is_different(rag):
    await rag.ingest([{"id": f"s{n}", "content": f"bread bread bread recipe {n}"} for n in range(5)])
    near = ids(await rag.search("bread recipe flour", k=3, mode="vector"))
    assert len({ident[0] for ident in near}) < 3
    for rerank in ("mmr", {"type": "mmr", "lambda": 0.3}):
        found = await rag.search("bread recipe flour", k=3, mode="vector", rerank=rerank)
        assert len({item.id[0] for item in found.results}) > len({ident[0] for ident in near})
        assert found.results[0].id == near[0]
        assert [item.scores["rerank"] for item in found.results] == sorted(
            (item.scores["rerank"] for item in found.results), reverse=True
        )
    assert ids(await rag.search("bread recipe flour", k=3, mode="vector", rerank={"type": "mmr", "lambda": 1})) == near
    assert (await rag.search("bread", mode="keyword", rerank="mmr")).warnings


@pytest.mark.parametrize(
    "rerank", ["other", {"type": "other"}, {}, 5, {"type": "mmr", "lambda": 2}, {"type": "mmr", "lambda": "x"}, {"type": "mmr", "x": 1}]
)  # fmt: skip
async def test_an_unknown_order_is_refused(rag, rerank):
    with pytest.raises(InvalidArgument):
        await rag.search("bread", rerank=rerank)


async def test_an_answer_is_kept_until_something_is_written_there(rag, asked):
    first = await rag.search("bread", k=2)
    again = await rag.search("bread", k=2)
    assert asked == ["bread"]
    assert again.results == first.results
    assert (again.total, again.exhausted, again.embedding_tokens) == (first.total, first.exhausted, 0)
    again.results[0].metadata["spoilt"] = True
    assert (await rag.search("bread", k=2)).results == first.results
    assert asked == ["bread"]

    writes = [
        lambda: rag.ingest({"id": "new", "content": "bread bread"}),
        lambda: rag.delete("new"),
        lambda: asyncio.to_thread(rag.update_metadata, "bread", {"kind": "loaf"}),
        lambda: asyncio.to_thread(rag.cleanup_scope, "global"),
    ]
    for write in writes[:-1]:
        await write()
        asked.clear()
        await rag.search("bread", k=2)
        await rag.search("bread", k=2)
        assert asked == ["bread"]
    await writes[-1]()
    assert (await rag.search("bread")).total == 0


async def test_every_option_tells_answers_apart(rag):
    await rag.ingest({"id": "t", "content": "bread of the tenant"}, tenant_id="t")
    options = [
        {}, {"k": 1}, {"mode": "vector"}, {"mode": "keyword"}, {"filters": {"kind": "food"}}, {"filters": {"kind": "code"}},
        {"threshold": 0.5}, {"weights": {"vector": 1}}, {"weights": {"keyword": 1}}, {"rerank": "mmr"}, {"group_by": "kind"},
        {"include_vector": True}, {"include_content": False}, {"tenant_id": "t"}, {"event_time_range": {"from": 5}},
    ]  # fmt: skip
    fresh = [(await rag.search("bread", cache=False, **option)).results for option in options]
    for _ in range(2):
        assert [(await rag.search("bread", **option)).results for option in options] == fresh


async def test_a_kept_answer_does_not_outlive_what_it_holds(rag, monkeypatch):
    now = time.time()
    await rag.ingest({"id": "brief", "content": "bread", "ttl": 60})
    assert "brief" in ids(await rag.search("bread"))
    assert "brief" in ids(await rag.search("bread"))
    assert rag.get("brief") == rag.get("brief")
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert "brief" not in ids(await rag.search("bread"))
    assert rag.get("brief") is None


async def test_a_kept_answer_sees_what_another_process_wrote(rag, tmp_path):
    await rag.search("bread")
    assert rag.get("bread") == rag.get("bread")
    other = make(tmp_path)
    await other.ingest([{"id": "bread", "content": "bread from elsewhere"}])
    other.close()
    assert (await rag.search("elsewhere")).results[0].text == "bread from elsewhere"
    assert "bread from elsewhere" in {item.text for item in (await rag.search("bread")).results}
    assert rag.get("bread")["content"] == "bread from elsewhere"


async def test_answers_are_not_kept_where_that_is_switched_off(tmp_path, monkeypatch):
    rag = make(tmp_path, "rag.cache.search_cache_enabled=false", "rag.embedding.cache_enabled=false")
    await rag.ingest(DOCS)
    asked = []
    embed = rag.embedder().embedder.embed

    async def noted(texts, **options):
        asked.extend(texts)
        return await embed(texts, **options)

    monkeypatch.setattr(rag.embedder().embedder, "embed", noted, raising=False)
    await rag.search("bread")
    await rag.search("bread")
    assert asked == ["bread", "bread"]
    rag.close()


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
@pytest.mark.parametrize(
    "query",
    ['"a OR * (', "NEAR(a b)", "text:bread", "bread' OR 1=1 --", "a\0bread", "^bread*", "{bread}", '""""', "* * *", "\u200b", "-bread", "\u202ebread", "AND", "bread " * 200_000],
)  # fmt: skip
async def test_a_query_is_never_syntax(rag, mode, query):
    found = await rag.search(query, mode=mode)
    assert found.total <= 4
    if "bread" in query and len(query) < 100:
        assert "bread" in ids(found)


@pytest.mark.parametrize("query", ["", "  \n", None, 5, b"bread", ["bread"], "\ud800", "bread \udfff"])
async def test_a_query_that_is_no_text_is_refused(rag, query):
    with pytest.raises(ValidationError):
        await rag.search(query)


@pytest.mark.parametrize("k", [0, -1, 2**31, 2**63, 1e308, float("nan"), float("inf"), 1.5, True, "5", [5]])
@pytest.mark.parametrize("name", ["k", "candidates"])
async def test_numbers_of_results_that_cannot_be_are_refused(rag, name, k):
    with pytest.raises(InvalidArgument, match=name):
        await rag.search("bread", **{name: k})


def nested(depth):
    filters = {"kind": "food"}
    for _ in range(depth):
        filters = {"not": filters}
    return filters


@pytest.mark.parametrize(
    "filters",
    [
        nested(5000), {"a": {"near": 1}}, {"a": {}}, {"and": 5}, {"a": {"in": 5}}, {"or": [5]}, {"a": {"gt": True}},
        {str(n): n for n in range(500)}, [1], "kind", {"kind": "\ud800"},
    ],
)  # fmt: skip
async def test_filters_that_cannot_be_are_refused(rag, filters):
    with pytest.raises(ValidationError):
        await rag.search("bread", filters=filters)


async def test_a_deep_but_allowed_filter_works(rag):
    assert sorted(ids(await rag.search("bread", filters=nested(8)))) == ["bread", "rolls"]
