"""Documents leave and come back whole: deleted by what they are, exported, imported, embedded anew, handed over."""

import base64
import json
import shutil
import stat
import time

import pytest

from llmspell.config import load
from llmspell.errors import (
    ConfigurationError,
    EmbedderMismatch,
    InvalidArgument,
    NotFound,
    StorageFailure,
    ValidationError,
    VersionMismatch,
)
from llmspell.rag import Rag
from llmspell.vectors import swap

DOCS = [
    {"id": "a", "content": "Owls hunt at night. " * 60, "metadata": {"kind": "bird", "n": 1}, "source": "x.md"},
    {"id": "b", "content": "Bats hunt at night.", "metadata": {"kind": "mammal"}, "source": "x.md", "ttl": 5000},
    {"id": "c", "content": "Bees dance at noon.", "metadata": {"kind": "insect"}, "event_time": 1.5e9},
]
CUT = {"chunk_size": 60, "overlap": 10}


def make(home, *sets):
    return Rag(load(sets=list(sets), environ={}, cwd=home, home=home).config.rag, home=home)


@pytest.fixture
async def rag(tmp_path):
    opened = make(tmp_path / "home")
    await opened.ingest(DOCS, chunking=CUT)
    yield opened
    opened.close()


def ids(rag, **place):
    return [document["id"] for document in rag.list_documents(**place)]


def whole(rag, **place):
    documents = [rag.get(ident, **place) for ident in ids(rag, **place)]
    return [{name: value for name, value in document.items() if name != "created_at"} for document in documents]


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"ids": "a"}, ["b", "c"]),
        ({"ids": ["a", "c", "x"]}, ["b"]),
        ({"source": "x.md"}, ["c"]),
        ({"filters": {"kind": ["bird", "insect"]}}, ["b"]),
        ({"ids": ["a", "c"], "source": "x.md"}, ["b", "c"]),
        ({"source": "x.md", "filters": {"n": {"exists": False}}}, ["a", "c"]),
        ({"ids": []}, ["a", "b", "c"]),
    ],
)
async def test_documents_are_deleted_by_what_they_are(rag, asked, left):
    assert await rag.delete(**asked) == 3 - len(left)
    assert ids(rag) == left
    assert {item.document_id for item in (await rag.search("hunt dance", k=50)).results} == set(left)


async def test_deleting_needs_a_condition(rag):
    for asked in ({}, {"filters": {}}, {"filters": {"a": {"near": 1}}}):
        with pytest.raises(InvalidArgument):
            await rag.delete(**asked)
    assert await rag.delete("a", collection="absent") == 0
    assert ids(rag) == ["a", "b", "c"]


async def test_what_is_exported_comes_back_without_embedding(rag, tmp_path, monkeypatch):
    file = tmp_path / "out.jsonl"
    counts = await rag.export(file)
    assert counts == {"documents": 3, "vectors": rag.get_stats()["total_vectors"]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = make(tmp_path / "other")

    async def never(*args, **options):
        raise AssertionError("embedded")

    monkeypatch.setattr(other.embedder().embedder, "embed", never)
    assert await other.import_documents(file) == counts
    assert whole(other) == whole(rag)
    monkeypatch.undo()
    found, again = await rag.search("hunt at night", k=9), await other.search("hunt at night", k=9)
    assert [(item.id, item.score) for item in found.results] == [(item.id, item.score) for item in again.results]
    assert (await other.ingest(DOCS, chunking=CUT)).documents_unchanged == 3
    other.close()


async def test_an_import_goes_where_it_is_told(rag, tmp_path):
    await rag.ingest({"id": "t", "content": "of the tenant"}, tenant_id="t")
    await rag.export(tmp_path / "t", tenant_id="t")
    await rag.import_documents(tmp_path / "t", tenant_id="u")
    await rag.import_documents(tmp_path / "t", collection="copy")
    assert (ids(rag, tenant_id="u"), ids(rag, collection="copy", tenant_id="t")) == (["t"], ["t"])
    assert ids(rag, collection="copy") == []


async def test_an_import_refuses_another_embedder_unless_it_may_embed(rag, tmp_path):
    await rag.export(tmp_path / "file")
    other = make(tmp_path / "other", "rag.embedding.dimensions=64", "rag.vector_storage.dimensions=64")
    await other.ingest("something")
    with pytest.raises(EmbedderMismatch):
        await other.import_documents(tmp_path / "file", collection="default")
    assert len(ids(other)) == 1
    await other.import_documents(tmp_path / "file", collection="default", reembed=True)
    assert (await other.search("bees dance", k=1)).results[0].document_id == "c"
    other.close()


def spoilt(change):
    def spoil(lines):
        document = json.loads(lines[2])
        change(document)
        return [*lines[:2], json.dumps(document), *lines[3:]]

    return spoil


NAN = base64.b64encode(b"\0\0\xc0\x7f" * 384).decode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [],
        lambda lines: ["text"],
        lambda lines: lines[1:],
        lambda lines: [lines[0].replace("rag/1", "rag/9"), *lines[1:]],
        lambda lines: [lines[0].replace("384", "0"), *lines[1:]],
        lambda lines: [lines[0].replace("384", "383"), *lines[1:]],
        lambda lines: [*lines[:2], lines[2][:50]],
        lambda lines: [*lines, "{}"],
        lambda lines: [*lines, "\x00"],
        spoilt(lambda document: document.update(id="a\nb")),
        spoilt(lambda document: document.update(id="i" * 300)),
        spoilt(lambda document: document.update(scope="tenant:")),
        spoilt(lambda document: document.update(vectors=NAN)),
        spoilt(lambda document: document.update(vectors="")),
        spoilt(lambda document: document.update(metadata={"a": "x" * 70_000})),
        spoilt(lambda document: document.update(ingested="now")),
        spoilt(lambda document: document.update(chunks=[])),
    ],
)
async def test_a_file_that_is_not_whole_stores_nothing(rag, tmp_path, spoil):
    file = tmp_path / "file"
    await rag.export(file)
    file.write_text("\n".join(spoil(file.read_text().splitlines())))
    with pytest.raises((ValidationError, VersionMismatch)):
        await rag.import_documents(file, collection="fresh")
    assert ids(rag, collection="fresh") == []


async def test_files_that_cannot_be_are_named(rag, tmp_path):
    with pytest.raises(NotFound, match="no file"):
        await rag.import_documents(tmp_path / "absent")
    with pytest.raises(NotFound, match="no collection"):
        await rag.export(tmp_path / "file", collection="absent")
    with pytest.raises(StorageFailure):
        await rag.export(tmp_path / "no" / "folder")
    assert list(tmp_path.glob("*tmp*")) == []


async def test_reindexing_changes_the_embedder_and_nothing_else(rag, tmp_path):
    await rag.ingest({"id": "t", "content": "of the tenant"}, tenant_id="t")
    rag.create_session_collection("s", 1000)
    await rag.ingest({"id": "s", "content": "of the session"}, session_id="s")
    before, counts = whole(rag), rag.get_stats(collection="default")
    done = await rag.reindex(dimensions=64)
    assert (done["documents"], done["vectors"], done["dimensions"]) == (5, counts["total_vectors"], 64)
    assert whole(rag) == before
    assert (ids(rag, tenant_id="t"), ids(rag, collection="session_s")) == (["t"], ["s"])
    assert rag.get_stats(collection="default")["dimensions"] == 64
    assert (await rag.search("bees dance", k=1)).results[0].document_id == "c"
    assert (await rag.search("tenant", tenant_id="t", k=1)).results[0].id == "t"
    assert (await rag.ingest(DOCS, chunking=CUT)).documents_unchanged == 3
    with pytest.raises(EmbedderMismatch):
        await rag.ingest("x", dimensions=384)
    rag.close()
    again = make(tmp_path / "home")
    assert (whole(again), again.get_stats(collection="default")["dimensions"]) == (before, 64)
    again.close()


async def test_reindexing_serves_a_collection_in_memory(tmp_path):
    rag = make(tmp_path, "rag.vector_storage.backend=memory")
    await rag.ingest(DOCS)
    assert (await rag.reindex(dimensions=64))["documents"] == 3
    assert (await rag.search("bees dance", k=1)).results[0].document_id == "c"
    with pytest.raises(NotFound):
        await rag.reindex("absent")
    rag.close()


async def test_what_is_written_during_reindexing_is_not_lost(rag, monkeypatch):
    source = rag.embedder(dimensions=64).embedder
    embed, changed = source.embed, []

    async def noted(texts, **options):
        if not changed:
            changed.append(True)
            await rag.ingest({"id": "d", "content": "Ants build a hill."})
            await rag.delete("b")
            rag.update_metadata("c", {"kind": "bee"})
        return await embed(texts, **options)

    monkeypatch.setattr(source, "embed", noted)
    assert (await rag.reindex(dimensions=64))["documents"] == 3
    assert ids(rag) == ["a", "c", "d"]
    assert rag.get("c")["metadata"] == {"kind": "bee"}


async def test_reindexing_reaches_more_tenants_than_may_be_open(tmp_path):
    rag = make(tmp_path, "rag.vector_storage.max_open_tenants=1")
    for number in range(12):
        await rag.ingest({"id": "t", "content": f"text of tenant {number}"}, tenant_id=f"t{number}")
    assert (await rag.reindex(dimensions=64))["documents"] == 12
    found = [(await rag.search("text", tenant_id=f"t{number}")).results for number in range(12)]
    assert [[item.text for item in items] for items in found] == [[f"text of tenant {number}"] for number in range(12)]
    rag.close()


async def test_ingestion_may_embed_a_collection_anew(rag):
    with pytest.raises(EmbedderMismatch, match="reindex"):
        await rag.ingest("another", dimensions=64)
    done = await rag.ingest([*DOCS, "another"], dimensions=64, chunking=CUT, reembed=True)
    assert (done.documents_unchanged, len(ids(rag))) == (3, 4)
    assert rag.get_stats(collection="default")["dimensions"] == 64
    assert (await rag.ingest("more", reembed=True)).vectors_created == 1


async def test_a_reindexing_that_fails_leaves_the_old_collection(rag, monkeypatch):
    source = rag.embedder(dimensions=64).embedder

    async def fails(texts, **options):
        raise ConfigurationError("no key")

    monkeypatch.setattr(source, "embed", fails)
    before = whole(rag)
    with pytest.raises(ConfigurationError):
        await rag.reindex(dimensions=64)
    assert whole(rag) == before
    assert rag.list_collections()[0]["dimensions"] == 384


async def test_a_process_that_died_while_collections_changed_places_loses_nothing(rag, tmp_path):
    before = whole(rag)
    rag.close()
    folder = tmp_path / "home" / "vectors"
    shutil.copytree(folder / "default", folder / swap.NEW / "default")
    (folder / swap.NEW / "half").mkdir()
    again = make(tmp_path / "home")
    assert whole(again) == before
    again.close()
    (folder / swap.NEW / "default" / swap.COMPLETE).touch()
    shutil.rmtree(folder / "default")
    again = make(tmp_path / "home")
    assert whole(again) == before
    again.close()


async def test_a_session_is_handed_to_a_tenant(rag):
    rag.configure_session("s", vector_ttl=60)
    await rag.ingest([*DOCS[:2], {"id": "own", "content": "own life", "ttl": 10}], session_id="s", chunking=CUT)
    await rag.ingest({"id": "e", "content": "elsewhere"}, session_id="s", collection="other")
    vectors = rag.get_stats("session", "s")["total_vectors"]
    texts = [rag.get(ident, session_id="s")["content"] for ident in ("a", "b")]
    assert await rag.migrate_session_to_tenant("s", "acme") == vectors + 1
    assert ids(rag, session_id="s") == ids(rag, session_id="s", collection="other") == []
    assert ids(rag, tenant_id="acme") == ["a", "b", "own"]
    assert ids(rag, tenant_id="acme", collection="other") == ["e"]
    moved = [rag.get(ident, tenant_id="acme") for ident in ("a", "b", "own")]
    assert [document["content"] for document in moved[:2]] == texts
    assert moved[0]["metadata"] == DOCS[0]["metadata"]
    assert ["expires_at" in document for document in moved] == [False, True, True]
    assert moved[2]["expires_at"] < time.time() + 11
    assert (await rag.search("owls", tenant_id="acme", k=1)).results[0].document_id == "a"
    assert await rag.migrate_session_to_tenant("s", "acme") == 0
