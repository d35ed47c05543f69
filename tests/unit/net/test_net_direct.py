"""The short road: an answer cut anywhere, connections kept and dropped, and answers that are none."""

import asyncio
import gzip

import pytest

from llmspell.errors import InvalidArgument, LLMSpellError, NetworkDenied
from llmspell.net import ProviderPolicy
from llmspell.net._http1 import Malformed, Parser
from llmspell.net.direct import DirectPool
from llmspell.net.url import read_url

LENGTH = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
)


@pytest.mark.parametrize(("wire", "status"), [(LENGTH, 200), (CHUNKED, 201)])
def test_an_answer_cut_at_every_byte_is_the_same(wire, status):
    for cut in range(len(wire)):
        parser = Parser()
        answer = parser.feed(wire[:cut]) if cut else None
        assert answer is None
        answer = parser.feed(wire[cut:])
        assert (answer.status, answer.body, answer.keep_alive, parser.rest) == (status, b"hello", True, b"")


def test_the_first_of_several_headers_wins():
    assert Parser().feed(LENGTH).headers["x-a"] == "1"


def test_a_body_without_length_ends_with_the_connection():
    parser = Parser()
    assert parser.feed(b"HTTP/1.0 200 OK\r\n\r\nhel") is None
    assert parser.feed(b"lo") is None
    assert parser.finish().body == b"hello"


def test_a_body_with_length_does_not_end_with_the_connection():
    parser = Parser()
    parser.feed(LENGTH[:-1])
    assert parser.finish() is None


@pytest.mark.parametrize(
    ("wire", "keep"),
    [
        (b"HTTP/1.1 204 No\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
    ],
)
def test_a_connection_is_kept_only_when_both_sides_mean_it(wire, keep):
    assert Parser().feed(wire).keep_alive is keep


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x16\x03\x01",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
    ],
)
def test_what_is_no_answer_is_refused(wire):
    with pytest.raises(Malformed):
        Parser().feed(wire)


@pytest.fixture
async def served():
    """Answer each connection with the given bytes per request; count connections."""
    state = {"connections": 0, "requests": [], "answer": LENGTH, "close": False}

    async def serve(reader, writer):
        state["connections"] += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                state["requests"].append(head + await reader.readexactly(length))
                writer.write(state["answer"])
                await writer.drain()
                if state["close"]:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state["url"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x?y=1"
    yield state
    server.close()
    await server.wait_closed()


@pytest.fixture
def pool():
    return DirectPool(ProviderPolicy(), user_agent="test/1")


async def ask(pool, served, headers=None, **options):
    options.setdefault("timeout_s", 5)
    return await pool.send("POST", read_url(served["url"]), headers or {}, b"body", **options)


async def test_one_connection_serves_calls_one_after_the_other(pool, served):
    headers = {"authorization": "Bearer k"}
    for _ in range(3):
        assert (await ask(pool, served, headers)).body == b"hello"
    pool.close()
    assert served["connections"] == 1
    host = served["url"].split("/")[2].encode()
    assert served["requests"][0] == (
        b"POST /v1/x?y=1 HTTP/1.1\r\nHost: " + host + b"\r\nUser-Agent: test/1\r\nauthorization: Bearer k\r\n"
        b"Content-Length: 4\r\n\r\nbody"
    )


async def test_calls_at_once_have_connections_of_their_own(pool, served):
    answers = await asyncio.gather(*(ask(pool, served) for _ in range(5)))
    pool.close()
    assert [answer.body for answer in answers] == [b"hello"] * 5
    assert served["connections"] == 5


async def test_a_connection_with_bytes_after_the_answer_is_not_used_again(pool, served):
    served["answer"] = LENGTH + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for _ in range(2):
        assert (await ask(pool, served)).body == b"hello"
    pool.close()
    assert served["connections"] == 2


async def test_a_compressed_body_is_inflated(pool, served):
    packed = gzip.compress(b"hello")
    served["answer"] = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (
        len(packed),
        packed,
    )
    assert (await ask(pool, served)).body == b"hello"
    pool.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [(b"", "disconnected"), (LENGTH[:-1], "stream_truncated"), (b"nonsense\r\n\r\n", "bad_response")],
)
async def test_a_failed_exchange_says_how_and_drops_the_connection(pool, served, answer, code):
    served["answer"], served["close"] = answer, True
    with pytest.raises(LLMSpellError) as caught:
        await ask(pool, served)
    assert caught.value.code == code
    served["answer"], served["close"] = LENGTH, False
    assert (await ask(pool, served)).body == b"hello"
    pool.close()


async def test_the_time_limit_covers_the_whole_exchange(pool, served):
    served["answer"] = LENGTH[:-1]
    with pytest.raises(LLMSpellError) as caught:
        await ask(pool, served, timeout_s=0.03)
    assert (caught.value.kind, caught.value.details["phase"]) == ("timeout", "total")


async def test_a_cancelled_exchange_closes_its_connection(pool, served):
    served["answer"] = b""
    task = asyncio.create_task(ask(pool, served))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    served["answer"] = LENGTH
    assert (await ask(pool, served)).body == b"hello"
    pool.close()
    assert served["connections"] == 2


@pytest.mark.parametrize("headers", [{"x": "a\r\nY: b"}, {"x\r\ny": "a"}, {"Host": "evil"}, {"Content-Length": "1"}])
async def test_headers_cannot_smuggle_anything(pool, served, headers):
    with pytest.raises(InvalidArgument):
        await ask(pool, served, headers)
    assert served["connections"] == 0


async def test_every_address_of_a_name_is_judged_before_connecting(pool, monkeypatch):
    async def resolve(host, port):
        return ["127.0.0.1", "93.184.216.34"]

    monkeypatch.setattr("llmspell.net.direct.system_resolve", resolve)
    with pytest.raises(NetworkDenied):
        await pool.send("POST", read_url("http://name.example/"), {}, b"", timeout_s=1)
