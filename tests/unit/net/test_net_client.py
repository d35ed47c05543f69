"""What the client does with servers that misbehave, and with those that do not."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib

import pytest
from bad_server import ok, redirect

from llmspell import errors
from llmspell.errors import InvalidArgument, LimitExceeded, NetworkError, RateLimitError
from llmspell.net import HttpClient, ProviderPolicy, Retry
from llmspell.net.retry import retry_after_s


async def test_an_answer_has_status_headers_and_body(client, server):
    server.on("/j", ok(b'{"a":1}', headers=("Content-Type: application/json; charset=utf-8", "X-One: 1")))
    response = await client.request("GET", server.url("/j"), params={"q": ["a b", "é"], "n": None, "t": True})
    assert (response.status, response.reason, response.json()) == (200, "OK", {"a": 1})
    assert response.headers["x-one"] == "1"
    assert server.hits[0][1] == "/j?q=a+b&q=%C3%A9&t=true"
    assert server.hits[0][2]["user-agent"].startswith("llmspell/")


async def test_bodies_are_sent_in_every_form(client, server):
    await client.request("POST", server.url(), json={"a": [1]})
    await client.request("POST", server.url(), data={"x": "1 2"})
    await client.request("PUT", server.url(), data="text")
    await client.request(
        "POST", server.url(), data={"f": "v"}, files=[{"field": "up", "content": b"\0data", "filename": 'a"b\r\n.txt'}]
    )
    kinds = [hit[2]["content-type"].split(";")[0] for hit in server.hits]
    assert kinds == ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]
    assert [hit[3] for hit in server.hits[:3]] == [b'{"a":[1]}', b"x=1+2", b"text"]
    assert b'name="up"; filename="a%22b%0D%0A.txt"' in server.hits[3][3]


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-A": "1\r\nX-B: 2"}},
        {"headers": {"X A": "1"}},
        {"headers": {"Host": "evil"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"content-length": "3"}},
        {"auth": {"type": "bearer", "token": "a\r\nb"}},
        {"auth": {"type": "bearer"}},
        {"auth": {"type": "magic"}},
        {"json": object()},
        {"json": 1, "data": "x"},
        {"retry": {"max_attempts": 1000}},
        {"retry": {"bogus": 1}},
    ],
)
async def test_bad_arguments_are_refused_before_sending(client, server, options):
    with pytest.raises(InvalidArgument):
        await client.request("POST", server.url(), **options)
    with pytest.raises(InvalidArgument):
        await client.request("GET\r\nX: y", server.url())
    assert server.hits == []


async def test_credentials_do_not_cross_origins(client, server):
    async def other_origin(hit, writer):
        writer.write(redirect(f"http://localhost:{server.port}/there"))

    auths = [
        {"type": "basic", "username": "u", "password": "p"},
        {"type": "bearer", "token": "t"},
        {"type": "api_key", "key": "k", "header_name": "X-Strange"},
        {"type": "custom", "headers": {"X-Odd": "v"}},
    ]
    server.on("/cross", other_origin)
    server.on("/same", redirect("/there"))
    for auth in auths:
        await client.request("GET", server.url("/same"), auth=auth, headers={"Cookie": "c=1", "X-Kept": "1"})
        await client.request("GET", server.url("/cross"), auth=auth, headers={"Cookie": "c=1", "X-Kept": "1"})
    arrived = [hit[2] for hit in server.hits if hit[1] == "/there"]
    names = ("authorization", "x-strange", "x-odd", "cookie")
    assert all(any(name in headers for name in names[:3]) for headers in arrived[0::2])
    assert not any(name in headers for headers in arrived[1::2] for name in names)
    assert all(headers["x-kept"] == "1" for headers in arrived)


async def test_redirects_change_methods_as_the_rules_say(client, server):
    for status in (301, 302, 303, 307, 308):
        server.on(f"/{status}", redirect("/end", status))
    for status in (301, 302, 303):
        await client.request("POST", server.url(f"/{status}"), json={"a": 1})
        method, path, headers, body = server.hits[-1]
        assert (method, path, body) == ("GET", "/end", b"")
        assert "content-type" not in headers
    await client.request("PUT", server.url("/307"), data="x")
    assert server.hits[-1][0::3] == ("PUT", b"x")
    response = await client.request("POST", server.url("/308"), data="x")
    assert response.status == 308
    assert (await client.request("GET", server.url("/301"), redirects=0)).status == 301
    final = await client.request("GET", server.url("/301"))
    assert final.redirects == (server.url("/301"),)
    assert final.url == server.url("/end")


async def test_redirects_without_end_stop(client, server):
    server.on("/loop", redirect("/loop"))
    with pytest.raises(NetworkError) as caught:
        await client.request("GET", server.url("/loop"))
    assert caught.value.code == "too_many_redirects"
    assert len(server.hits) == 6


async def test_bodies_over_the_cap_are_refused_or_cut(make_client, server):
    client = make_client(allow_loopback=True, max_response_size=1000)
    server.on("/known", ok(b"x" * 2000))

    async def endless(hit, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            await writer.drain()

    server.on("/endless", endless)
    for path in ("/known", "/endless"):
        with pytest.raises(LimitExceeded) as caught:
            await client.request("GET", server.url(path))
        assert caught.value.code == "response_too_large"
        cut = await client.request("GET", server.url(path), truncate=True)
        assert (len(cut.body), cut.truncated) == (1000, True)
    assert (await client.request("HEAD", server.url("/known"))).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw"])
async def test_compressed_bodies_are_inflated(client, server, encoding):
    text = b"hello world " * 50
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(text[:300]) + gzip.compress(text[300:]),
        "deflate": zlib.compress(text),
        "raw": raw.compress(text) + raw.flush(),
    }[encoding]
    name = "deflate" if encoding == "raw" else encoding
    server.on("/z", ok(packed, headers=(f"Content-Encoding: {name}",)))
    assert (await client.request("GET", server.url("/z"))).body == text


async def test_a_gzip_bomb_is_stopped_early(client, server):
    bomb = gzip.compress(bytes(200_000_000), 9)
    server.on("/bomb", ok(bomb, headers=("Content-Encoding: gzip",)))
    started = time.monotonic()
    with pytest.raises(LimitExceeded) as caught:
        await client.request("GET", server.url("/bomb"))
    assert caught.value.code == "response_too_large"
    assert caught.value.details["used"] <= 10_485_761
    assert time.monotonic() - started < 2


async def test_damaged_and_unknown_encodings_are_errors(client, server):
    server.on("/br", ok(b"xxxx", headers=("Content-Encoding: br",)))
    server.on("/bad", ok(b"xxxx", headers=("Content-Encoding: gzip",)))
    server.on("/cut", ok(gzip.compress(b"x" * 5000)[:-10], headers=("Content-Encoding: gzip",)))
    for path, code in (("/br", "bad_encoding"), ("/bad", "bad_encoding"), ("/cut", "stream_truncated")):
        with pytest.raises(NetworkError) as caught:
            await client.request("GET", server.url(path))
        assert caught.value.code == code


async def test_a_slow_server_meets_the_deadline(client, server):
    async def drip(hit, writer):
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    server.on("/drip", drip)
    started = time.monotonic()
    with pytest.raises(errors.TimeoutError) as caught:
        await client.request("GET", server.url("/drip"), timeout=0.2)
    assert caught.value.details["phase"] == "total"
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(("count", "size"), [(100_000, 10), (200, 2000), (1, 100_000)])
async def test_huge_headers_are_refused(client, server, count, size):
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"x" * size) for i in range(count))
    server.on("/heads", head + b"Content-Length: 0\r\n\r\n")
    with pytest.raises(NetworkError) as caught:
        await client.request("GET", server.url("/heads"))
    assert caught.value.code in ("bad_response", "disconnected", "connect")


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"]
)
async def test_broken_answers_are_network_errors(client, server, answer):
    async def broken(hit, writer):
        writer.write(answer)
        await writer.drain()
        writer.close()

    server.on("/broken", broken)
    with pytest.raises(NetworkError):
        await client.request("GET", server.url("/broken"))


async def test_listed_statuses_are_tried_again(client, server):
    quick = {"max_attempts": 3, "initial_delay_ms": 1}
    busy = ok(status="503 Busy", headers=("Retry-After: 0",))
    server.on("/flaky", busy, ok(status="503 Busy"), ok(b"fine"))
    response = await client.request("GET", server.url("/flaky"), retry=quick)
    assert (response.status, response.attempts, len(server.hits)) == (200, 3, 3)
    server.on("/down", busy)
    response = await client.request("GET", server.url("/down"), retry=quick)
    assert (response.status, response.attempts) == (503, 3)
    server.hits.clear()
    server.on("/once", busy)
    assert (await client.request("POST", server.url("/once"), retry=quick, data="x")).status == 503
    assert len(server.hits) == 1
    await client.request("POST", server.url("/once"), retry=quick, data="x", headers={"Idempotency-Key": "k"})
    assert len(server.hits) == 4


async def test_a_pause_past_the_deadline_is_not_taken(client, server):
    server.on("/later", ok(status="429 Slow", headers=("Retry-After: 50",)))
    response = await client.request("GET", server.url("/later"), retry={}, timeout=2)
    assert (response.status, response.attempts) == (429, 1)


async def test_refused_connections_are_tried_again_and_reported(client):
    listener = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    with pytest.raises(NetworkError) as caught:
        await client.request("GET", f"http://127.0.0.1:{port}/", retry=Retry(initial_delay_ms=1))
    assert caught.value.code == "connect"
    assert caught.value.retryable


def test_retry_after_is_read_in_both_forms():
    assert retry_after_s("7") == 7
    assert retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", now=30.0) == 30
    assert retry_after_s("soon") is None
    assert Retry().delay_s(1, 500.0) == 60


async def test_requests_to_one_host_can_be_limited(make_client, server):
    client = make_client(allow_loopback=True, rate_limit_per_minute=2)
    for _ in range(2):
        await client.request("GET", server.url())
    with pytest.raises(RateLimitError) as caught:
        await client.request("GET", server.url())
    assert 0 < caught.value.retry_after_ms <= 60_000


async def test_large_request_bodies_are_refused(make_client, server):
    client = make_client(allow_loopback=True, max_request_size=100)
    with pytest.raises(LimitExceeded):
        await client.request("POST", server.url(), data="x" * 101)
    assert server.hits == []


async def test_connections_are_used_again(client, server):
    for _ in range(5):
        await client.request("GET", server.url())
    assert len(server.hits) == 5


async def test_streams_give_chunks_and_can_be_left(client, server):
    async def slow(hit, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        await asyncio.sleep(30)

    server.on("/slow", redirect("/slower"))
    server.on("/slower", slow)
    async with client.stream("GET", server.url("/slow")) as stream:
        async for chunk in stream:
            assert chunk == b"first"
            break
    with pytest.raises(NetworkError):
        await stream.read()


@pytest.fixture
async def provider():
    client = HttpClient(policy=ProviderPolicy(["models.example"]))
    yield client
    await client.close()


async def test_model_services_are_reached_by_the_short_road(provider, server):
    server.on("/v1", ok(b'{"ok":true}'), redirect("/elsewhere"))
    async with provider.post_stream(server.url("/v1"), {"Content-Type": "application/json"}, b"{}") as answer:
        assert answer.status == 200
        assert await answer.read() == b'{"ok":true}'
    async with provider.post_stream(server.url("/v1"), {}, b"{}") as answer:
        assert answer.status == 302
    assert [hit[1] for hit in server.hits] == ["/v1", "/v1"]


async def test_each_wait_of_the_short_road_has_its_own_limit(provider, server):
    async def silent(hit, writer):
        await asyncio.sleep(30)

    async def one_chunk(hit, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await asyncio.sleep(30)

    server.on("/silent", silent)
    server.on("/idle", one_chunk)
    for path, waits in (("/silent", {"first_byte_timeout": 0.05}), ("/idle", {"idle_timeout": 0.05})):
        with pytest.raises(errors.TimeoutError) as caught:
            async with provider.post_stream(server.url(path), {}, b"", **waits) as answer:
                await answer.read()
        assert caught.value.details["phase"] == "read"


async def test_plain_http_is_only_for_near_model_services(provider):
    for url in ("http://93.184.216.34/v1", "http://169.254.169.254/", "file:///etc/passwd", "http://u:p@127.0.0.1/"):
        with pytest.raises(errors.NetworkDenied):
            provider.check(url)
    for url in (
        "https://93.184.216.34/v1",
        "http://192.168.1.4:11434/",
        "http://models.example/",
        "http://[::1]:8000/v1",
    ):
        provider.check(url)


async def test_a_far_name_over_http_is_refused_when_it_resolves(server):
    async def resolve(host, port):
        return ["93.184.216.34"]

    client = HttpClient(policy=ProviderPolicy(), resolver=resolve)
    with pytest.raises(errors.NetworkDenied):
        async with client.post_stream("http://far.example/v1", {}, b""):
            pass
    await client.close()


async def test_model_services_on_this_machine_are_never_proxied(server):
    environ = {"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"}
    client = HttpClient(policy=ProviderPolicy(), environ=environ)
    async with client.post_stream(server.url("/v1"), {}, b"{}") as answer:
        assert answer.status == 200
    with pytest.raises(errors.NetworkDenied):
        async with client.post_stream("http://far.example/v1", {}, b""):
            pass
    with pytest.raises(NetworkError):
        async with client.post_stream("https://far.example/v1", {}, b""):
            pass
    await client.close()
