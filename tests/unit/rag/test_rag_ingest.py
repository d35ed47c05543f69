"""Ingestion: what is embedded, told, skipped, passed over and kept when it stops."""

import asyncio
import time

import numpy as np
import pytest

from llmspell.config import load
from llmspell.embedders._source import PROBE
from llmspell.errors import InvalidArgument, LimitExceeded, NetworkError, ProviderError, ValidationError
from llmspell.rag import Rag, ingest


@pytest.fixture
def rag(tmp_path):
    sets = ["rag.embedding.cache_enabled=false"]
    opened = Rag(load(sets=sets, environ={}, cwd=tmp_path, home=tmp_path).config.rag, home=tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def embedded(rag, monkeypatch):
    """The texts that reach the embedder."""
    seen = []
    embedder = rag.embedder().embedder
    embed = embedder.embed

    async def noted(texts, **options):
        seen.extend(text for text in texts if text != PROBE)
        return await embed(texts, **options)

    monkeypatch.setattr(embedder, "embed", noted, raising=False)
    return seen


async def test_equal_texts_are_embedded_once_and_stored_each(rag, embedded):
    done = await rag.ingest([{"id": str(number), "content": f"text {number % 3}"} for number in range(30)])
    assert sorted(embedded) == ["text 0", "text 1", "text 2"]
    assert done.vectors_created == 30
    found = await rag.search("text 1", mode="vector", k=30)
    assert {item.text for item in found.results[:10]} == {"text 1"}


async def test_what_is_there_is_not_embedded_again(rag, embedded):
    documents = [{"id": str(number), "content": f"text {number}", "metadata": {"n": number}} for number in range(20)]
    await rag.ingest(documents[:12])
    embedded.clear()
    again = await rag.ingest(documents)
    assert (again.documents_unchanged, again.documents_processed, again.chunks_created) == (12, 20, 8)
    assert sorted(embedded) == sorted(f"text {number}" for number in range(12, 20))
    embedded.clear()
    await rag.ingest([{**documents[0], "metadata": {"n": 99}}])
    assert embedded == ["text 0"]
    assert rag.get("0")["metadata"] == {"n": 99}


class Stop(Exception):
    pass


async def test_raising_from_progress_stops_and_the_same_call_resumes(rag, embedded, monkeypatch):
    monkeypatch.setattr(ingest, "BATCH_DOCUMENTS", 5)
    documents = [{"id": f"{number:02}", "content": f"text {number}"} for number in range(30)]

    def stop(progress):
        if progress.documents_done >= 15:
            raise Stop

    with pytest.raises(Stop):
        await rag.ingest(documents, on_progress=stop)
    kept = [document["id"] for document in rag.list_documents()]
    assert kept == [f"{number:02}" for number in range(15)]
    embedded.clear()
    resumed = await rag.ingest(documents)
    assert (resumed.documents_unchanged, resumed.chunks_created) == (15, 15)
    assert len(embedded) == 15
    assert rag.get_stats()["total_documents"] == 30


async def test_progress_tells_counts_rate_and_time_left(rag, monkeypatch):
    monkeypatch.setattr(ingest, "BATCH_DOCUMENTS", 4)
    told = []
    await rag.ingest([f"text {number}" for number in range(20)], on_progress=told.append)
    assert {step.stage for step in told} >= {"chunk", "embed", "store", "done"}
    assert [step.documents_done for step in told] == sorted(step.documents_done for step in told)
    last = told[-1]
    assert (last.stage, last.documents_done, last.documents_total, last.chunks_done) == ("done", 20, 20, 20)
    assert last.tokens > 0
    assert last.rate > 0
    assert last.eta == 0
    assert told[0].eta is None


async def test_progress_is_told_while_a_step_takes_long(rag, monkeypatch):
    monkeypatch.setattr(ingest, "TELL_EVERY_S", 0.001)
    told = []
    told_twice = asyncio.Event()

    async def slow(texts, **options):
        await told_twice.wait()
        return np.ones((len(texts), 384), np.float32)

    def tell(progress):
        told.append(progress.stage)
        if told.count("embed") >= 2:
            told_twice.set()

    monkeypatch.setattr(rag.embedder().embedder, "embed", slow, raising=False)
    await rag.ingest("text", on_progress=tell)
    assert told.count("embed") >= 2


def failing(rag, monkeypatch, error, when=lambda text: "bad" in text):
    embedder = rag.embedder().embedder
    embed = embedder.embed

    async def fails(texts, **options):
        if any(when(text) for text in texts):
            raise error
        return await embed(texts, **options)

    monkeypatch.setattr(embedder, "embed", fails, raising=False)


async def test_a_failing_document_costs_itself_alone(rag, monkeypatch):
    failing(rag, monkeypatch, ProviderError("too long", retryable=False))
    documents = [{"id": f"d{number}", "content": "bad" if number == 3 else f"good {number}"} for number in range(8)]
    done = await rag.ingest([*documents, {"id": "empty"}, 7], on_error="skip")
    assert done.errors[2] == {"id": "d3", "source": "d3", "reason": "too long"}
    assert [error.get("id") for error in done.errors][:2] == ["empty", None]
    assert (done.documents_failed, done.documents_processed, done.vectors_created) == (3, 7, 7)
    assert "d3" not in done.ids
    assert rag.get_stats()["total_documents"] == 7


async def test_an_embedder_that_is_down_is_not_asked_for_every_document(rag, monkeypatch):
    calls = []
    failing(rag, monkeypatch, NetworkError("down"), when=lambda text: calls.append(text) or True)
    done = await rag.ingest([f"text {number}" for number in range(8)], on_error="skip")
    assert (done.documents_failed, len(calls)) == (8, 1)
    with pytest.raises(NetworkError):
        await rag.ingest("text")
    assert rag.get_stats()["total_documents"] == 0


async def test_what_progress_raises_is_no_failure_to_pass_over(rag):
    told = []

    def stop_once(progress):
        told.append(progress.stage)
        if told == ["chunk"]:
            raise ValidationError("enough")

    with pytest.raises(ValidationError, match="enough"):
        await rag.ingest(["a", "b"], on_progress=stop_once, on_error="skip")
    assert told == ["chunk"]


@pytest.mark.parametrize(
    "bad",
    [
        7, None, b"text", [None], [["a"]], {"id": "x"}, {"content": 5}, {"content": "\ud800"}, "\udfff",
        {"content": "x", "id": "a\nb"}, {"content": "x", "id": "\ud800"}, {"content": "x", "id": "i" * 300},
        {"content": "x", "id": True}, {"content": "x", "metadata": "text"}, {"content": "x", "metadata": {"a": float("nan")}},
        {"content": "x", "metadata": {"a": "y" * 70_000}}, {"content": "x", "metadata": {"\ud800": 1}},
        {"content": "x", "ttl": -1}, {"content": "x", "ttl": "1h"}, {"content": "x", "ttl_seconds": float("inf")},
        {"content": "x", "expires_in": 0},
    ],
)  # fmt: skip
async def test_a_bad_document_is_named_and_nothing_is_stored(rag, bad):
    documents = [{"id": "good", "content": "good"}, bad] if not isinstance(bad, list) else bad
    with pytest.raises(ValidationError):
        await rag.ingest(documents if bad is not None else None)
    assert rag.list_documents() == []


async def test_metadata_nested_without_end_is_refused(rag):
    deep = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(ValidationError, match="deeper"):
        await rag.ingest({"content": "x", "metadata": deep})


async def test_ids_that_look_the_same_are_the_same(rag):
    await rag.ingest({"id": "caf\u00e9", "content": "one"})
    await rag.ingest({"id": "cafe\u0301", "content": "two"})
    assert rag.get("cafe\u0301")["content"] == rag.get("caf\u00e9")["content"] == "two"
    assert rag.update_metadata("cafe\u0301", {"a": 1})
    assert await rag.delete("cafe\u0301") == 1


@pytest.mark.parametrize("key", ["event_time", "timestamp", "created_at"])
@pytest.mark.parametrize("inside", [True, False])
async def test_event_time_has_three_names_and_two_places(rag, key, inside):
    stated = {key: "2020-01-02T03:04:05Z"}
    await rag.ingest({"id": "a", "content": "text", **({"metadata": stated} if inside else stated)})
    assert rag.get("a")["event_time"] == 1577934245.0
    found = await rag.search("text", event_time_range={"from": "2020-01-01T00:00:00Z", "to": "2020-02-01T00:00:00Z"})
    assert found.total == 1
    assert (await rag.search("text", event_time_range={"from": "2020-02-01T00:00:00Z"})).total == 0


@pytest.mark.parametrize("key", ["ttl", "ttl_seconds", "expires_in"])
@pytest.mark.parametrize("inside", [True, False])
async def test_life_has_three_names_and_ends_at_once(rag, monkeypatch, key, inside):
    now = time.time()
    await rag.ingest({"id": "a", "content": "text", **({"metadata": {key: 60}} if inside else {key: 60})})
    assert (await rag.search("text")).total == 1
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert (await rag.search("text")).total == 0
    assert (await rag.search("text", mode="keyword")).total == 0
    assert rag.get("a") is None
    assert rag.list_documents() == []
    assert (await rag.search("text", exclude_expired=False)).total == 1
    rag.save()
    assert (await rag.search("text", exclude_expired=False)).total == 0


@pytest.mark.parametrize("given", [5, "2020", [1, 2, 3], {"from": "x"}, [None, "y"]])
async def test_a_time_range_that_is_none_is_refused(rag, given):
    with pytest.raises(InvalidArgument, match="range"):
        await rag.search("text", event_time_range=given)


async def test_a_session_may_be_full_and_what_is_replaced_makes_room(rag):
    rag.create_session_collection("s", max_vectors=2)
    await rag.ingest([{"id": "a", "content": "one"}, {"id": "b", "content": "two"}], session_id="s")
    await rag.ingest({"id": "a", "content": "another"}, session_id="s")
    assert rag.get("a", session_id="s")["content"] == "another"
    with pytest.raises(LimitExceeded):
        await rag.ingest({"id": "c", "content": "three"}, session_id="s")
    assert [document["id"] for document in rag.list_documents(session_id="s")] == ["a", "b"]
