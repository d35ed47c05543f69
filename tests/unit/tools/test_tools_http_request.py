"""The http-request tool against a loopback server, through the whole road of a call."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from llmspell.base.effects import Direct
from llmspell.config import Config
from llmspell.config.model import Network
from llmspell.errors import NetworkDenied, PathDenied, ValidationError
from llmspell.net import HttpClient
from llmspell.security import Security
from llmspell.tools import Tools

ANSWERS = {
    "/json": ("200 OK", "application/json", b'{"a": [1]}'),
    "/bad-json": ("200 OK", "application/json", b"{nope"),
    "/text": ("200 OK", "text/plain; charset=latin-1", b"caf\xe9"),
    "/image": ("200 OK", "image/png", b"\x89PNG\0"),
    "/missing": ("404 Not Found", "text/html", b"<p>gone</p>"),
    "/busy": ("503 Busy", "text/plain", b"busy"),
}


@pytest.fixture
async def world(tmp_path):
    hits = []

    async def serve(reader, writer):
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if line)}
                method, path, _ = lines[0].split(" ")
                hits.append((method, path, headers, await reader.readexactly(int(headers.get("content-length", 0)))))
                status, kind, body = ANSWERS.get(path.partition("?")[0], ("200 OK", "text/plain", b"ok"))
                extra = "Location: /json\r\n" if path == "/moved" else ""
                status = "302 Found" if extra else status
                head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
                writer.write(head.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    config = Config()
    http = HttpClient(Network(allow_loopback=True))
    security = Security(config, home=tmp_path / "home", cwd=tmp_path, environ={"TMPDIR": str(tmp_path)})
    tools = Tools(config.tools, security=security, http=http, state=None, effects=Direct(), cwd=tmp_path)

    async def call(path, **params):
        url = path if "://" in path else base + path
        return await tools.call("http-request", {"input": url, **params})

    call.hits, call.base, call.folder = hits, base, tmp_path
    yield call
    await http.close()
    listener.close()


async def test_a_json_answer_is_parsed(world):
    envelope = await world("/json", query={"q": "a b"})
    assert envelope["success"], envelope
    assert envelope["operation"] == "http_request"
    result = envelope["result"]
    assert (result["status_code"], result["status_text"], result["body"]) == (200, "OK", {"a": [1]})
    assert result["headers"]["content-type"] == "application/json"
    assert result["final_url"] == world.base + "/json?q=a+b"
    assert envelope["text"] == '{"a": [1]}'
    assert envelope["metadata"]["attempts"] == 1
    assert envelope["metadata"]["method"] == "GET"


async def test_text_and_binary_bodies_have_their_forms(world):
    assert (await world("/text"))["result"]["body"] == "caf\u00e9"
    image = (await world("/image"))["result"]
    assert image["body_encoding"] == "base64"
    assert base64.b64decode(image["body"]) == b"\x89PNG\0"
    assert (await world("/bad-json"))["result"]["body"] == "{nope"
    assert (await world("/bad-json", response_type="json"))["error"]["code"] == "parse_error"
    assert (await world("/text", response_type="base64"))["result"]["body"] == base64.b64encode(b"caf\xe9").decode()


async def test_statuses_are_results_unless_asked_otherwise(world):
    envelope = await world("/missing")
    assert envelope["success"]
    assert envelope["result"]["status_code"] == 404
    envelope = await world("/missing", fail_on_status=True)
    assert not envelope["success"]
    assert envelope["error"]["code"] == "http_status"
    assert envelope["result"]["status_code"] == 404


async def test_bodies_forms_and_files_are_sent(world):
    await world("/x", method="POST", body={"a": 1})
    await world("/x", method="POST", body="plain")
    await world("/x", method="POST", form={"a": "1 2"})
    (world.folder / "up.txt").write_text("file body")
    await world("/x", method="POST", files=[{"field": "f", "path": "up.txt"}], form={"n": "1"})
    bodies = [hit[3] for hit in world.hits]
    assert json.loads(bodies[0]) == {"a": 1}
    assert bodies[1:3] == [b"plain", b"a=1+2"]
    assert b"file body" in bodies[3]
    assert b'filename="up.txt"' in bodies[3]
    with pytest.raises(PathDenied):
        await world("/x", method="POST", files=[{"field": "f", "path": "/etc/passwd"}])
    with pytest.raises(ValidationError):
        await world("/x", method="POST", body="a", form={"b": "c"})
    assert len(world.hits) == 4


async def test_credentials_are_sent_and_never_echoed(world):
    auths = [
        {"type": "basic", "username": "u", "password": "canary-pass"},
        {"type": "bearer", "token": "canary-token"},
        {"type": "api_key", "key": "canary-key"},
        {"type": "api_key", "key": "canary-query", "header_name": "k", "in": "query"},
        {"type": "custom", "headers": {"X-Own": "canary-own"}},
    ]
    for auth in auths:
        envelope = await world("/json", auth=auth)
        assert envelope["success"]
        assert "canary" not in json.dumps(envelope)
    assert world.hits[0][2]["authorization"] == "Basic " + base64.b64encode(b"u:canary-pass").decode()
    assert world.hits[1][2]["authorization"] == "Bearer canary-token"
    assert world.hits[2][2]["x-api-key"] == "canary-key"
    assert world.hits[3][1] == "/json?k=canary-query"
    assert world.hits[4][2]["x-own"] == "canary-own"


async def test_a_body_can_be_saved_inside_the_sandbox_only(world):
    envelope = await world("/image", save_to="out.png")
    assert (world.folder / "out.png").read_bytes() == b"\x89PNG\0"
    assert "body" not in envelope["result"]
    with pytest.raises(PathDenied):
        await world("/image", save_to="../out.png")


async def test_redirects_and_retries_can_be_chosen(world):
    assert (await world("/moved"))["result"]["redirects"] == [world.base + "/moved"]
    assert (await world("/moved", follow_redirects=False))["result"]["status_code"] == 302
    world.hits.clear()
    envelope = await world("/busy", retry={"max_attempts": 2, "initial_delay_ms": 1})
    assert envelope["metadata"]["attempts"] == 2
    assert len(world.hits) == 2


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://localhost.internal/", "file:///etc/passwd"])
async def test_refused_addresses_raise(world, url):
    with pytest.raises(NetworkDenied) as caught:
        await world(url)
    assert caught.value.kind == "security"


async def test_an_unreachable_server_is_a_failed_job(world):
    envelope = await world("http://127.0.0.1:1/")
    assert not envelope["success"]
    assert envelope["error"]["kind"] == "network"
