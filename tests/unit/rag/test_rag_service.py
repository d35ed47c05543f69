"""`Rag`: places, ingestion, search options, sessions, statistics, saving."""

import time

import pytest

from llmspell.config import load
from llmspell.errors import (
    ConfigurationError,
    EmbedderMismatch,
    InvalidArgument,
    InvalidScope,
    LimitExceeded,
    ToolError,
    ValidationError,
)
from llmspell.rag import Rag

DOCS = [
    {"id": "lua", "content": "Lua is a small scripting language", "metadata": {"kind": "code", "year": 1993}},
    {"id": "bread", "text": "Bread needs flour and water", "metadata": {"kind": "food", "year": 2001}},
    {"id": "c", "content": "The language C is close to the machine", "metadata": {"kind": "code", "year": 1972}},
]


def make(home, *sets):
    config = load(sets=list(sets), environ={}, cwd=home, home=home).config
    return Rag(config.rag, home=home)


@pytest.fixture
def rag(tmp_path):
    found = make(tmp_path)
    yield found
    found.close()


@pytest.fixture
def later(monkeypatch):
    """Set the clock ahead by seconds."""
    real = time.time
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: real() + seconds)


def ids(result):
    return [item.id for item in result.results]


async def test_documents_are_counted_and_found(rag):
    done = await rag.ingest(DOCS)
    assert (done.documents_processed, done.chunks_created, done.vectors_created, done.ids) == (
        3,
        3,
        3,
        ["lua", "bread", "c"],
    )
    assert done.total_tokens > 0
    for mode in ("hybrid", "vector", "keyword"):
        assert ids(await rag.search("scripting language", mode=mode))[0] == "lua", mode
    assert rag.get_stats()["total_documents"] == 3
    assert rag.get_stats()["searches_performed"] == 3


async def test_equal_documents_are_skipped_and_changed_ones_replaced(rag):
    await rag.ingest(DOCS)
    again = await rag.ingest(DOCS)
    assert (again.documents_processed, again.documents_unchanged, again.chunks_created) == (3, 3, 0)
    changed = await rag.ingest([{**DOCS[0], "metadata": {"kind": "new"}}, {**DOCS[1], "text": "Rye bread"}])
    assert changed.documents_unchanged == 0
    assert rag.get("lua")["metadata"] == {"kind": "new"}
    assert rag.get_stats()["total_documents"] == 3


async def test_the_last_of_two_documents_with_one_id_stays(rag):
    await rag.ingest([{"id": "a", "content": "first"}, {"id": "a", "content": "second"}])
    assert rag.get("a")["content"] == "second"


async def test_long_documents_become_chunks_with_numbers(rag):
    text = "".join(f"Sentence number {n} about topic{n % 7}. " for n in range(400))
    done = await rag.ingest({"id": "long", "content": text}, chunking={"chunk_size": 60, "overlap": 10})
    assert done.chunks_created > 10
    found = await rag.search("topic3", k=3)
    assert all(item.id == f"long#{item.chunk_index}" and item.document_id == "long" for item in found.results)
    assert rag.get("long")["content"] == text


@pytest.mark.parametrize(
    "docs",
    [
        {"id": "x"},
        [{"content": 5}],
        [3],
        7,
        None,
        {"content": "x", "metadata": {"f": print}},
        b"x",
        ["ok", {"metadata": {}}],
    ],
)
async def test_documents_without_text_are_refused_before_anything_is_stored(rag, docs):
    with pytest.raises(ValidationError):
        await rag.ingest(docs)
    assert rag.get_stats()["total_documents"] == 0


async def test_failures_are_listed_when_they_are_to_be_skipped(rag):
    done = await rag.ingest([DOCS[0], {"id": "bad", "source": "s"}], on_error="skip")
    assert done.documents_processed == 1
    assert done.errors[0]["source"] == "s"
    assert "no text" in done.errors[0]["reason"]


async def test_nothing_is_nothing(rag):
    assert (await rag.ingest([])).documents_processed == 0
    assert (await rag.ingest("")).chunks_created == 0
    found = await rag.search("x", collection="none")
    assert (found.total, found.exhausted) == (0, True)
    assert [entry["name"] for entry in rag.list_collections()] == ["default"]


async def test_places_never_see_each_other(rag):
    await rag.ingest("secret plan", tenant_id="t1")
    await rag.ingest("secret plan", collection="other")
    for place in ({}, {"tenant_id": "t2"}, {"session_id": "t1"}, {"scope": "tenant", "scope_id": "t"}):
        assert (await rag.search("secret plan", **place)).total == 0
    for place in ({"scope": "tenant:t1"}, {"scope": "tenant", "scope_id": "t1"}, {"tenant_id": "t1"}):
        found = await rag.search("secret plan", **place)
        assert found.results[0].scope == "tenant:t1"
    assert rag.cleanup_scope("tenant", "t1") == 1
    assert rag.get_stats(collection="other")["total_documents"] == 1


def test_ways_of_naming_a_place_that_contradict_are_refused(rag):
    with pytest.raises(InvalidScope):
        rag.place(tenant_id="a", session_id="b")
    for empty in ({"scope": "tenant"}, {"tenant_id": ""}, {"session_id": ""}, {"scope": "tenant", "scope_id": ""}):
        with pytest.raises(InvalidScope):
            rag.place(**empty)


@pytest.mark.parametrize(
    "options",
    [
        {"k": 0},
        {"k": 1.5},
        {"k": True},
        {"k": "3"},
        {"mode": "x"},
        {"threshold": "a"},
        {"filters": {"a": {"like": 1}}},
        {"weights": {"x": 1}},
        {"weights": {"vector": -1}},
        {"rerank": "best"},
        {"rerank": {"type": "mmr", "lambda": 3}},
        {"fusion": "x"},
        {"event_time_range": {"from": "never"}},
        {"candidates": 0},
    ],
)
async def test_impossible_options_are_refused(rag, options):
    with pytest.raises(InvalidArgument):
        await rag.search("x", **options)


async def test_exactly_k_results_or_exhausted(rag):
    await rag.ingest([{"id": f"d{n}", "content": f"text {n} language", "metadata": {"n": n}} for n in range(30)])
    for k, filters, want in (
        (5, None, (5, False)),
        (30, None, (30, True)),
        (99, None, (30, True)),
        (10, {"n": {"lt": 4}}, (4, True)),
        (4, {"n": {"lt": 5}}, (4, False)),
    ):
        for mode in ("hybrid", "vector", "keyword"):
            found = await rag.search("language text", k=k, filters=filters, mode=mode)
            assert (found.total, found.exhausted) == want, (k, mode)
            assert all(0 <= item.score <= 1 for item in found.results)
            assert [item.score for item in found.results] == sorted(
                (item.score for item in found.results), reverse=True
            )


async def test_a_threshold_cuts_what_is_not_alike(rag):
    await rag.ingest(DOCS)
    assert ids(await rag.search("small scripting language", threshold=0.5)) == ["lua"]
    assert (await rag.search("zzz qqq", threshold=0.3)).total == 0


async def test_event_times_and_life_come_from_metadata(rag, later):
    await rag.ingest(
        [
            {"id": "a", "content": "one note", "metadata": {"timestamp": "2024-01-01T00:00:00Z"}},
            {"id": "b", "content": "one note more", "event_time": 1_750_000_000},
            {"id": "c", "content": "one note again", "metadata": {"timestamp": "yesterday"}, "ttl": 50},
        ]
    )
    assert ids(await rag.search("note", event_time_range={"from": "2024-01-01", "to": 1_710_000_000})) == ["a"]
    assert ids(await rag.search("note", ingestion_time_range=(None, time.time() - 60))) == []
    later(60)
    assert sorted(ids(await rag.search("note"))) == ["a", "b"]
    assert "c" in ids(await rag.search("note", exclude_expired=False))


async def test_weights_choose_the_arm(rag):
    await rag.ingest(DOCS)
    found = await rag.search("language", weights={"keyword": 1, "vector": 0}, k=3)
    assert {"lua", "c"} == set(ids(found)[:2])


async def test_mmr_prefers_what_is_different(rag):
    same = [{"id": f"s{n}", "content": "small scripting language " + "lua " * (n + 1)} for n in range(4)]
    await rag.ingest([*same, {"id": "odd", "content": "scripting of theatre plays"}])
    plain = ids(await rag.search("small scripting language", k=2))
    diverse = ids(await rag.search("small scripting language", k=2, rerank={"type": "mmr", "lambda": 0.3}))
    assert "odd" not in plain
    assert diverse[1] == "odd"


async def test_a_function_may_order_and_drop(rag):
    await rag.ingest(DOCS)
    found = await rag.search(
        "language", rerank=lambda query, items: [{"id": "bread", "score": 9}, {"id": "made up"}, {"id": "c"}]
    )
    assert ids(found) == ["bread", "c"]
    assert found.results[0].scores["rerank"] == 9


async def test_a_failing_function_keeps_the_order_and_warns(rag):
    await rag.ingest(DOCS)

    async def broken(query, items):
        raise ToolError("no luck")

    found = await rag.search("scripting language", rerank=broken)
    assert ids(found)[0] == "lua"
    assert "no luck" in found.warnings[0]


async def test_a_collection_refuses_another_dimension_and_metric(rag):
    rag.create_collection("small", dimensions=64, metric="l2")
    assert rag.create_collection("small")["created"] is False
    await rag.ingest(DOCS, collection="small")
    assert ids(await rag.search("scripting language", collection="small"))[0] == "lua"
    with pytest.raises(EmbedderMismatch):
        await rag.ingest("x", collection="small", dimensions=128)
    with pytest.raises(InvalidArgument):
        rag.create_collection("small", metric="cosine")
    assert await rag.drop_collection("small") == 3
    assert await rag.drop_collection("small") == 0


async def test_metadata_can_be_changed_and_documents_removed(rag):
    await rag.ingest(DOCS)
    assert rag.update_metadata("lua", {"year": 2024}) is True
    assert rag.get("lua")["metadata"] == {"kind": "code", "year": 2024}
    assert rag.update_metadata("none", {}) is False
    assert ids(await rag.search("language", filters={"year": 2024})) == ["lua"]
    assert await rag.delete(["lua", "none"]) == 1
    assert [row["id"] for row in rag.list_documents()] == ["bread", "c"]
    assert [row["id"] for row in rag.list_documents(after="bread", limit=1)] == ["c"]


async def test_sessions_have_a_life_a_limit_and_a_collection_name(rag, later):
    made = rag.create_session_collection("s1", 200, max_vectors=2)
    assert (made["namespace"], made["created"]) == ("session_s1", True)
    await rag.ingest(DOCS[:2], session_id="s1")
    assert ids(await rag.search("scripting language", collection="session_s1"))[0] == "lua"
    with pytest.raises(LimitExceeded):
        await rag.ingest("one more", session_id="s1")
    later(300)
    assert (await rag.search("scripting language", session_id="s1")).total == 0
    assert rag.get_stats("session", "s1")["total_vectors"] == 0


async def test_a_session_that_does_not_persist_ends_with_the_process(tmp_path):
    first = make(tmp_path)
    first.configure_session("gone", persist=False)
    first.configure_session("stays", vector_ttl=100)
    for session in ("gone", "stays"):
        await first.ingest(DOCS, session_id=session)
    first.close()
    second = make(tmp_path)
    assert (await second.search("language", session_id="gone")).total == 0
    assert (await second.search("language", session_id="stays")).total == 3
    second.close()


async def test_turns_are_kept_where_a_session_wants_them(rag, caplog):
    turn = {"agent": "a", "asked": "Why?", "answered": "Because."}
    assert not await rag.keep_turn("s", ident="1", **turn)
    assert rag.configure_session("s", auto_ingest=True)["auto_ingest"]
    assert await rag.keep_turn("s", ident="1", **turn)
    assert rag.get("1", session_id="s")["content"] == "Why?\n\nBecause."
    rag.configure_session("s", auto_ingest=True, max_vectors=1)
    assert not await rag.keep_turn("s", ident="2", **turn)
    assert "not kept" in caplog.text
    assert len(rag.list_documents(session_id="s")) == 1


async def test_what_was_stored_is_there_for_the_next_process(tmp_path):
    first = make(tmp_path)
    await first.ingest(DOCS)
    first.save()
    first.close()
    second = make(tmp_path)
    assert ids(await second.search("scripting language", k=1)) == ["lua"]
    second.close()


async def test_collections_in_memory_are_written_only_by_save(tmp_path):
    first = make(tmp_path, "rag.vector_storage.backend=memory")
    await first.ingest(DOCS)
    assert not list(tmp_path.rglob("data.db"))
    first.save()
    first.close()
    second = make(tmp_path, "rag.vector_storage.backend=memory")
    assert (await second.search("language")).total == 0
    second.load()
    assert ids(await second.search("scripting language", k=1)) == ["lua"]
    second.close()


async def test_progress_is_told_and_may_stop(rag):
    told = []
    await rag.ingest([f"text {n}" for n in range(1200)], on_progress=told.append)
    assert [step.documents_done for step in told] == sorted(step.documents_done for step in told)
    assert (told[-1].stage, told[-1].documents_done, told[-1].documents_total) == ("done", 1200, 1200)
    assert len(told) > 6

    def stop(step):
        raise ToolError("enough")

    with pytest.raises(ToolError, match="enough"):
        await rag.ingest("more", on_progress=stop)


async def test_a_name_without_a_scope_gives_the_collection(rag):
    await rag.ingest(DOCS, collection="docs")
    await rag.ingest("x", collection="docs", tenant_id="a")
    assert rag.get_stats("docs")["total_documents"] == 4
    assert rag.get_stats("docs")["namespace_count"] == 2
    assert rag.get_stats("nothing")["total_documents"] == 0
    assert rag.get_stats("tenant:a", collection="docs")["total_documents"] == 1


async def test_retrieval_can_be_switched_off(tmp_path):
    rag = make(tmp_path, "rag.enabled=false")
    with pytest.raises(ConfigurationError):
        await rag.search("x")
    with pytest.raises(ConfigurationError):
        await rag.ingest("x")


def test_chunks_tell_their_places(rag):
    text = "\u00e9\u4eca sentence one. " * 100
    raw = text.encode()
    for piece in rag.chunk(text, chunk_size=50, overlap=10):
        assert raw[piece.byte_offset : piece.byte_offset + piece.byte_length].decode() == piece.content
        assert text[piece.char_offset :].startswith(piece.content)


@pytest.mark.parametrize(
    "settings", [{"chunk_size": 0}, {"overlap": 600}, {"strategy": "x"}, {"size": 5}, {"chunk_size": "a"}]
)
def test_impossible_chunking_is_refused(rag, settings):
    with pytest.raises(InvalidArgument):
        rag.chunk("text", **settings)


@pytest.mark.parametrize(
    "value", ['quo"te', "back\\slash", "gr\u00fc\u00dfe \U0001f600", "line\nbreak", "</x>", "\u2028", "\x7f\x1f"]
)
async def test_a_filter_finds_any_text_it_equals(rag, value):
    await rag.ingest(
        [{"id": "a", "content": "one text", "metadata": {"deep": {"v": value}}}, {"id": "b", "content": "one text"}]
    )
    assert ids(await rag.search("text", filters={"deep.v": value})) == ["a"]
    assert ids(await rag.search("text", mode="keyword", filters={"deep.v": {"eq": value}})) == ["a"]


async def test_filters_reach_the_metadata_of_chunks(rag):
    text = "# Cats\n\n" + "They purr. " * 40 + "\n\n# Dogs\n\n" + "They bark. " * 40
    await rag.ingest({"id": "m", "content": text}, chunking={"strategy": "markdown", "chunk_size": 120})
    found = await rag.search("they", filters={"headings": {"contains": "Dogs"}})
    assert found.total > 0
    assert all("Dogs" in item.metadata["headings"] for item in found.results)


async def test_texts_with_any_character_are_stored_found_and_replaced(rag):
    text = "a\0b zebra \u2028 \U0001f600 \ufffe end\r\n\tlast"
    await rag.ingest({"id": "odd", "content": text})
    assert rag.get("odd")["content"] == text
    assert ids(await rag.search("last", mode="keyword")) == ["odd"]
    await rag.ingest({"id": "odd", "content": "plain"})
    assert ids(await rag.search("zebra last", mode="keyword")) == []


async def test_many_tasks_may_ingest_and_search_at_once(rag):
    import asyncio

    async def work(number):
        await rag.ingest([{"id": f"{number}-{n}", "content": f"worker {number} text {n}"} for n in range(50)])
        return (await rag.search(f"worker {number}", k=50)).total

    assert set(await asyncio.gather(*(work(number) for number in range(6)))) == {50}
    assert rag.get_stats()["total_documents"] == 300


async def test_a_collection_keeps_the_way_its_documents_are_cut(rag):
    text = "Some words in a sentence. " * 100
    made = rag.create_collection("small", chunking={"strategy": "sentence", "chunk_size": 40, "overlap": 0})
    assert made["created"]
    few = (await rag.ingest(text, collection="small", chunking={"chunk_size": 400})).chunks_created
    many = (await rag.ingest(text, collection="small")).chunks_created
    assert many > 3 * few
    assert (await rag.ingest(text, collection="small", tenant_id="t")).chunks_created == many
    assert not rag.create_collection("small", chunking={"strategy": "sentence", "chunk_size": 40, "overlap": 0})[
        "created"
    ]
    with pytest.raises(InvalidArgument, match="chunking"):
        rag.create_collection("small", chunking={"chunk_size": 41})
    with pytest.raises(InvalidArgument):
        rag.create_collection("other", chunking={"chunk_size": 0})


async def test_settings_change_what_calls_fall_back_on(rag):
    found = rag.configure(
        {"k": 1, "collection": "c", "chunk_size": 20, "overlap": 2, "mode": "vector", "threshold": 0.01, "cache": False}
    )
    assert (found["k"], found["collection"], found["chunking"]["chunk_size"], found["cache"]) == (1, "c", 20, False)
    assert (await rag.ingest("Some words in a sentence. " * 40)).chunks_created > 5
    result = await rag.search("words")
    assert (result.total, result.mode, result.results[0].collection) == (1, "vector", "c")
    assert rag.get_stats()["cache_hits"] == rag.get_stats()["cache_misses"] == 0
    for wrong in (
        {"k": 0},
        {"k": "x"},
        {"mode": "x"},
        {"chunk_size": 0},
        {"other": 1},
        {"collection": ""},
        {"cache": "x"},
    ):
        with pytest.raises(InvalidArgument):
            rag.configure(wrong)
    assert rag.configure({})["k"] == 1


async def test_the_service_works_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSPELL_HOME", str(tmp_path))
    alone = Rag()
    await alone.ingest("a text")
    assert (await alone.search("text")).total == 1
    alone.close()
    assert (tmp_path / "vectors" / "default").is_dir()
