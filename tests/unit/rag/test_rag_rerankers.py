"""Orders of a service: asked with the query and the texts, over loopback, and passed over when it fails."""

import asyncio
import json

import pytest

from llmspell.app import App
from llmspell.config import load
from llmspell.errors import ConfigurationError, InvalidArgument, ProviderError

KEY = "sk-rerank-0123456789"
DOCS = [{"id": name, "content": f"{name} and bread"} for name in ("one", "two", "three")]
ROWS = {"cohere": "results", "voyage": "data"}


class Reranker:
    """A service that prefers long texts, on loopback."""

    def __init__(self, rows):
        self.rows = rows
        self.requests = []
        self.answer = None

    async def open(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        pairs = (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.requests.append((head.split(" ")[1], headers["authorization"], body))
        order = sorted(range(len(body["documents"])), key=lambda place: -len(body["documents"][place]))
        rows = [{"index": place, "relevance_score": 0.9 / (rank + 1)} for rank, place in enumerate(order)]
        raw = json.dumps(self.answer or {self.rows: rows}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw)
        await writer.drain()
        writer.close()


@pytest.fixture(params=sorted(ROWS))
async def service(request):
    made = await Reranker(ROWS[request.param]).open()
    made.name = request.param
    yield made
    made.server.close()


@pytest.fixture
async def start(tmp_path):
    apps = []

    async def begin(service, *sets, key=KEY):
        name = service.name
        environ = {f"{name.upper()}_API_KEY": key} if key else {}
        given = [f"providers.{name}.base_url={service.url}", "rag.embedding.max_retries=0", *sets]
        config = load(sets=given, environ=environ, cwd=tmp_path, home=tmp_path).config
        apps.append(App(config, home=tmp_path, cwd=tmp_path, environ=environ))
        await apps[-1].rag.ingest(DOCS)
        return apps[-1].rag

    yield begin
    for app in apps:
        await app.close()


async def test_a_service_orders_what_was_found(service, start):
    rag = await start(service)
    found = await rag.search("bread", rerank=service.name, k=2)
    assert [item.id for item in found.results] == ["three", "one"]
    assert [item.scores["rerank"] for item in found.results] == [0.9, 0.45]
    assert found.warnings == []
    path, key, body = service.requests[0]
    assert path == {"cohere": "/v2/rerank", "voyage": "/rerank"}[service.name]
    assert key == f"Bearer {KEY}"
    assert body["query"] == "bread"
    assert sorted(body["documents"]) == sorted(document["content"] for document in DOCS)
    await rag.search("bread", rerank={"type": service.name, "model": "other"})
    assert service.requests[1][2]["model"] == "other"


async def test_the_configuration_may_name_the_service(service, start):
    rag = await start(service, f"rag.retrieval.rerank={service.name}")
    assert (await rag.search("bread")).results[0].id == "three"
    assert (await rag.search("bread", rerank="none")).results[0].scores.keys() == {"vector", "keyword", "fused"}
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "answer", [{"x": []}, {"results": [], "data": []}, {"results": 5, "data": 5}, [1], {"results": [{}], "data": [{}]}]
)
async def test_an_answer_that_is_none_leaves_the_order(service, start, answer):
    rag = await start(service)
    service.answer = answer
    plain = await rag.search("bread")
    found = await rag.search("bread", rerank=service.name)
    assert [item.id for item in found.results] == [item.id for item in plain.results]
    assert "cannot be used" in found.warnings[0]
    with pytest.raises(ProviderError):
        await rag.search("bread", rerank=service.name, rerank_required=True)


async def test_a_service_without_a_key_and_settings_that_are_none_are_named(service, start):
    rag = await start(service, key=None)
    assert "key" in (await rag.search("bread", rerank=service.name)).warnings[0].lower()
    with pytest.raises(ConfigurationError):
        await rag.search("bread", rerank=service.name, rerank_required=True)
    with pytest.raises(InvalidArgument, match="lambda"):
        await rag.search("bread", rerank={"type": service.name, "lambda": 1})
    assert service.requests == []
