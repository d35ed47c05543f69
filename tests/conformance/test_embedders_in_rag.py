"""Retrieval over remote embedders: configuration, cost, cache, places, and collections that keep their embedder."""

import asyncio
import json

import numpy as np
import pytest
from model_folders import DIM, matrix, static_folder
from strict_services import DIALECTS, KEY, StrictService, vector

from llmspell.app import App
from llmspell.config import load
from llmspell.embedders._source import PROBE
from llmspell.errors import (
    ConfigurationError,
    DimensionMismatch,
    EmbedderMismatch,
    InvalidArgument,
    NetworkError,
    ProviderError,
)

REMOTE = sorted(DIALECTS)
VARIABLES = {name: f"{name.upper()}_API_KEY" for name in REMOTE}


@pytest.fixture(params=REMOTE)
async def service(request):
    made = await StrictService(request.param).open()
    made.name = request.param
    yield made
    await made.close()


@pytest.fixture
async def openai():
    made = await StrictService("openai").open()
    made.name = "openai"
    yield made
    await made.close()


@pytest.fixture
async def start(tmp_path):
    """Make an App from settings, as a process would."""
    apps = []

    def begin(service=None, *sets, environ=None, home="home"):
        given = (
            []
            if service is None
            else [f"rag.embedding.default_provider={service.name}", f"rag.embedding.base_url={service.url}"]
        )
        environ = {"LLMSPELL_EMBEDDING_API_KEY": KEY} if environ is None else environ
        config = load(sets=[*given, *sets], environ=environ, cwd=tmp_path, home=tmp_path / home).config
        apps.append(App(config, home=tmp_path / home, cwd=tmp_path, environ=environ))
        begin.app = apps[-1]
        return apps[-1].rag

    yield begin
    for app in apps:
        await app.close()


def asked(service):
    return [text for texts in service.texts for text in texts if text != PROBE]


async def test_documents_go_in_and_are_found_by_meaning_of_the_service(service, start):
    rag = start(service)
    done = await rag.ingest([{"id": "a", "content": "the red fox"}, {"id": "b", "content": "a lazy dog"}])
    assert (done.vectors_created, done.embedder) == (2, service.name)
    found = await rag.search("a lazy dog", mode="vector", include_vector=True)
    assert found.embedder == service.name
    assert rag.get_stats()["dimensions"] == service.dialect.native
    kinds = {request["kind"] for request in service.requests}
    assert kinds == ({"document", "query"} if service.dialect.tells else {""})
    stored = next(item.vector for item in found.results if item.id == "b")
    expected = vector("a lazy dog", service.dialect.native, "document" if service.dialect.tells else "")
    assert np.allclose(stored, expected / np.linalg.norm(expected), atol=1e-5)


async def test_tokens_cost_and_cache_are_counted_by_place(openai, start):
    rag = start(openai)
    done = await rag.ingest(["one", "two", "one"])
    assert done.embedding_cost_usd == pytest.approx(3 * 7 * 0.02 / 1e6), "two texts and the probe"
    await rag.ingest([{"id": "again", "content": "two"}])
    stats = rag.get_stats()
    assert (stats["cache_hits"], stats["cache_misses"], stats["embeddings_generated"]) == (1, 2, 3)
    assert stats["embedding_tokens"] == 21
    assert stats["embedding_cost_usd"] == pytest.approx(done.embedding_cost_usd)
    assert stats["embedding_cost_cents"] == pytest.approx(done.embedding_cost_usd * 100)
    assert rag.get_stats("tenant", "x")["cache_misses"] == 0


async def test_a_tenant_never_learns_what_another_one_embedded(openai, start):
    rag = start(openai)
    for place in ({"tenant_id": "a"}, {"tenant_id": "b"}, {"session_id": "s"}, {}):
        await rag.ingest({"id": "d", "content": "the secret"}, **place)
        await rag.search("a question", **place)
    assert asked(openai) == ["the secret", "a question"] * 4
    assert rag.get_stats("tenant", "b")["cache_hits"] == 0


async def test_what_a_scope_left_in_the_cache_goes_with_it(openai, start):
    rag = start(openai)
    await rag.ingest("text", tenant_id="a")
    rag.cleanup_scope("tenant:a")
    await rag.ingest("text", tenant_id="a")
    assert asked(openai) == ["text", "text"]


async def test_the_cache_can_be_passed_by_for_a_call_or_switched_off(openai, start):
    rag = start(openai)
    await rag.ingest("text", collection="one")
    await rag.ingest("text", collection="two", cache=False)
    await rag.embed(["text"], cache=False)
    await rag.embed(["text"])
    assert asked(openai) == ["text"] * 3
    off = start(openai, "rag.embedding.cache_enabled=false", home="other")
    await off.embed(["text"])
    await off.embed(["text"])
    assert asked(openai) == ["text"] * 5


async def test_the_next_process_finds_the_vectors_on_the_disk(openai, start):
    await start(openai, "rag.embedding.cache_disk=true").embed(["text"])
    await start(openai, "rag.embedding.cache_disk=true").embed(["text"])
    assert asked(openai) == ["text"]


async def test_a_collection_keeps_its_embedder_and_refuses_another(openai, start, tmp_path):
    await start(openai).ingest("the red fox")
    again = start(openai)
    assert (await again.search("fox", mode="vector")).total == 1
    for other in ({"embedder": "builtin"}, {"model": "text-embedding-3-large"}, {"dimensions": 256}):
        with pytest.raises(EmbedderMismatch, match="openai:text-embedding-3-small:1536"):
            await again.ingest("x", **other)
        with pytest.raises(EmbedderMismatch):
            await again.search("x", **other)
    assert (await again.search("fox", mode="keyword")).total == 1


async def test_a_model_that_changed_under_its_name_is_noticed_before_anything_is_stored(openai, start):
    await start(openai).ingest("the red fox")
    honest = openai.dialect.write
    openai.dialect.write = lambda rows, tokens, body: honest([row[::-1] for row in rows], tokens, body)
    changed = start(openai)
    for act in (lambda: changed.ingest("more"), lambda: changed.search("fox")):
        with pytest.raises(EmbedderMismatch, match="gives other vectors now"):
            await act()
    assert changed.get_stats()["total_documents"] == 1
    assert (await changed.search("fox", mode="keyword")).total == 1
    openai.dialect.write = lambda rows, tokens, body: honest((np.asarray(rows) + 1e-4).tolist(), tokens, body)
    assert (await start(openai).search("fox")).total == 1, "services round differently now and then"


async def test_a_search_by_words_and_a_repeated_ingestion_ask_nobody(openai, start):
    await start(openai).ingest({"id": "d", "content": "the red fox"})
    openai.requests.clear()
    again = start(openai)
    assert (await again.ingest({"id": "d", "content": "the red fox"})).documents_unchanged == 1
    await again.search("fox", mode="keyword")
    assert openai.requests == []


async def test_a_service_that_is_down_leaves_what_was_there(openai, start):
    rag = start(openai, "rag.embedding.max_retries=0")
    await rag.ingest({"id": "d", "content": "the red fox"})
    await openai.close()
    with pytest.raises(NetworkError):
        await rag.ingest([{"id": "e", "content": "more"}])
    assert [document["id"] for document in rag.list_documents()] == ["d"]


async def test_dimensions_of_the_configuration_are_asked_for(openai, start):
    rag = start(openai, "rag.embedding.dimensions=384")
    await rag.ingest("text")
    assert {request["body"]["dimensions"] for request in openai.requests} == {384}
    assert rag.get_stats()["dimensions"] == 384
    assert (await rag.embed(["text"], dimensions=512)).shape == (1, 512)


async def test_settings_of_the_section_reach_the_requests(openai, start):
    openai.dialect.native = 24
    sets = ["rag.embedding.model=house", "rag.embedding.batch_size=2", "rag.embedding.timeout_seconds=0.2"]
    rag = start(openai, *sets, "rag.embedding.max_retries=0")
    await rag.ingest([{"id": str(n), "content": f"text {n}"} for n in range(5)])
    assert {request["body"]["model"] for request in openai.requests} == {"house"}
    assert max(map(len, openai.texts)) == 2
    assert rag.list_collections()[0]["dimensions"] == 24
    openai.faults.append("slow")
    with pytest.raises(TimeoutError):
        await rag.embed(["slow"])


async def test_a_collection_of_a_model_nothing_is_known_of_needs_dimensions(openai, start):
    openai.dialect.native = 24
    rag = start(openai, "rag.embedding.model=house")
    with pytest.raises(InvalidArgument, match="state dimensions"):
        rag.create_collection("c")
    assert rag.create_collection("c", dimensions=24)["dimensions"] == 24
    await rag.ingest("text", collection="c")
    rag.create_collection("wrong", dimensions=25)
    with pytest.raises(DimensionMismatch):
        await rag.ingest("text", collection="wrong")


async def test_a_collection_made_before_its_first_document_learns_the_probe_then(openai, start):
    rag = start(openai)
    rag.create_collection("c")
    await rag.ingest("text", collection="c")
    honest = openai.dialect.write
    openai.dialect.write = lambda rows, tokens, body: honest([row[::-1] for row in rows], tokens, body)
    with pytest.raises(EmbedderMismatch):
        await start(openai).ingest("more", collection="c")


@pytest.mark.parametrize("dimensions", [0, -1, 1.5, True, 70_000, "384"])
async def test_impossible_dimensions_are_refused(start, dimensions):
    with pytest.raises(InvalidArgument):
        await start().embed(["x"], dimensions=dimensions)


async def test_keys_come_from_the_environment_and_are_named_when_missing(service, start):
    if service.name == "ollama":
        return
    own = (
        f"providers.{service.name}.base_url={service.url}"
        if service.name == "openai"
        else f"rag.embedding.base_url={service.url}"
    )
    sets = [f"rag.embedding.default_provider={service.name}", own]
    rag = start(None, *sets, environ={VARIABLES[service.name]: KEY})
    await rag.ingest("text")
    bare = start(None, f"rag.embedding.default_provider={service.name}", environ={}, home="bare")
    with pytest.raises(ConfigurationError, match=VARIABLES[service.name]):
        await bare.ingest("text")
    assert bare.list_collections() == [] or bare.get_stats()["total_documents"] == 0


async def test_a_table_of_a_service_that_only_embeds_holds_its_key_and_address(service, start):
    if service.name == "ollama":
        return
    sets = [f"providers.{service.name}.api_key={KEY}", f"providers.{service.name}.base_url={service.url}"]
    rag = start(None, *sets, f"rag.embedding.default_provider={service.name}", environ={})
    providers = rag._services()._catalog
    for _ in range(2):
        assert providers.is_available(service.name)
        assert (await rag.embed(["text"])).shape == (1, service.dialect.native)


async def test_a_provider_of_the_configuration_embeds_under_its_own_name(openai, start):
    openai.dialect.native = 16
    sets = [
        "providers.house.provider_type=openai-compatible", f"providers.house.base_url={openai.url}",
        f"providers.house.api_key={KEY}", "rag.embedding.default_provider=house", "rag.embedding.model=house-1",
    ]  # fmt: skip
    rag = start(None, *sets, environ={})
    await rag.ingest("text")
    assert rag.list_collections()[0]["embedder"] == "house"
    assert (await start(None, *sets, environ={}).search("text", mode="vector")).total == 1


async def test_providers_are_listed_with_what_could_be_used_now(start, tmp_path):
    folder = static_folder(tmp_path / "model")
    listed = {entry["name"]: entry for entry in start(None, environ={}).list_providers()}
    assert {name for name, entry in listed.items() if entry["available"]} == {"builtin"}
    assert sorted(listed) == sorted(["builtin", "onnx", "static", *REMOTE])
    assert listed["openai"]["dimensions"] == 1536
    assert "voyage-3.5" in listed["voyage"]["models"]
    sets = ["rag.embedding.default_provider=static", f"rag.embedding.directory={folder}"]
    rag = start(None, *sets, environ={"COHERE_API_KEY": KEY}, home="other")
    assert {entry["name"] for entry in rag.list_providers() if entry["available"]} == {"builtin", "static", "cohere"}


async def test_a_directory_serves_a_collection_until_its_content_changes(start, tmp_path):
    folder = static_folder(tmp_path / "model")
    sets = ["rag.embedding.default_provider=static", f"rag.embedding.directory={folder}"]
    rag = start(None, *sets)
    await rag.ingest([{"id": "fox", "content": "the red fox"}, {"id": "dog", "content": "a lazy dog"}])
    found = await rag.search("lazy dog", mode="vector")
    assert found.results[0].id == "dog"
    assert rag.get_stats()["dimensions"] == DIM
    static_folder(folder, embeddings=matrix(2))
    with pytest.raises(EmbedderMismatch, match="static:"):
        await start(None, *sets).search("lazy dog")


async def test_no_secret_is_in_what_can_be_seen(openai, start, tmp_path, caplog):
    rag = start(openai)
    await rag.ingest("text")
    openai.faults.append((400, {}))
    with pytest.raises(Exception, match="refused") as caught:
        await rag.embed(["other"])
    seen = json.dumps([rag.get_stats(), rag.list_providers(), caught.value.to_wire()], default=str) + caplog.text
    for path in (tmp_path / "home").rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes()
    assert KEY not in seen


async def test_many_calls_at_once_share_ten_requests(openai, start):
    rag = start(openai)
    await rag.embed(["warm"])
    openai.hold = asyncio.Event()
    tasks = [asyncio.ensure_future(rag.embed([f"text {n}"])) for n in range(25)]
    await openai.ten.wait()
    openai.hold.set()
    await asyncio.gather(*tasks)
    assert openai.most_open == 10


async def test_a_collection_is_embedded_anew_with_another_embedder(openai, start):
    rag = start(openai, "rag.embedding.default_provider=builtin")
    await rag.ingest([{"id": "fox", "content": "the red fox"}, {"id": "dog", "content": "a lazy dog"}])
    await rag.ingest({"id": "own", "content": "of the tenant"}, tenant_id="t")
    far = start(openai)
    done = await far.reindex(embedder="openai")
    assert (done["embedder"], done["dimensions"], done["vectors"]) == ("openai", 1536, 3)
    assert done["embedding_cost_usd"] > 0
    assert (await far.search("a lazy dog", mode="vector")).results[0].id == "dog"
    assert [item.id for item in (await far.search("tenant", tenant_id="t")).results] == ["own"]


async def test_a_tenant_pays_for_what_a_service_embedded_for_it(openai, start):
    price = "providers.openai.prices.text-embedding-3-small.input=1000"
    rag = start(openai, "tenancy.enabled=true", "rag.embedding.max_retries=0", price)
    tenants = start.app.tenants
    tenants.create("acme")
    await rag.embed(["one", "two"], scope="tenant:acme")
    assert tenants.usage("acme").embedding_tokens == 14
    assert tenants.usage("acme").embedding_cost_cents == pytest.approx(1.4)
    await rag.embed(["one"], scope="tenant:acme")
    await rag.ingest("one", tenant_id="acme")
    assert tenants.usage("acme").embedding_tokens == 14, "all of it was kept"
    openai.faults.extend([None, (500, {})])
    with pytest.raises(ProviderError):
        await rag.embed([f"text {number}" for number in range(40)], scope="tenant:acme")
    assert tenants.usage("acme").embedding_tokens > 14, "what was embedded before the failure costs too"


async def test_new_files_begin_with_the_probe_once_it_is_known(start):
    rag = start()
    await rag.ingest("text")
    wanted = rag._catalog.find("default").recorded.probe_hash
    assert wanted is not None
    for place in ({"tenant_id": "a"}, {"collection": "c"}, {"collection": "c", "tenant_id": "b"}):
        found, _, _ = rag._made(place.get("collection", "default"), scope=rag.place(**place).scope)
        assert found.recorded.probe_hash == wanted


@pytest.mark.parametrize("model", ["", "x" * 201, "a\nb", "\x00"])
async def test_what_is_no_name_of_a_model_is_refused(openai, start, model):
    with pytest.raises(InvalidArgument, match="name of a model"):
        await start(openai).embed(["x"], model=model)
    assert openai.requests == []
