"""The short road against servers that mean harm or fail at a bad moment."""

import asyncio
import time

import pytest

from llmspell.errors import InvalidArgument, LLMSpellError, NetworkError
from llmspell.net import ProviderPolicy, _http1, direct
from llmspell.net._http1 import Malformed, Parser
from llmspell.net.direct import DirectPool
from llmspell.net.url import read_url

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"x" * 5000 + b"\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\n0\n\n",
    ],
)
def test_an_ambiguous_answer_is_refused(wire):
    with pytest.raises(Malformed):
        Parser().feed(wire)


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_doubtful_connection_is_not_kept(wire):
    assert Parser().feed(wire).keep_alive is False


def test_a_body_of_tiny_chunks_costs_time_in_proportion():
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 300_000 + b"0\r\n\r\n"
    started = time.process_time()
    assert Parser().feed(wire).body == b"a" * 300_000
    assert time.process_time() - started < 5


def test_interim_answers_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(_http1, "MAX_WIRE_BYTES", 100_000)
    parser = Parser()
    with pytest.raises(Malformed, match="for one answer"):
        _fed(parser, b"HTTP/1.1 100 Continue\r\n\r\n", 10_000)


@pytest.mark.parametrize("framing", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_over_the_limit_is_refused_while_it_comes(monkeypatch, framing):
    monkeypatch.setattr(_http1, "MAX_BODY_BYTES", 1000)
    parser = Parser()
    parser.feed(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
    with pytest.raises(Malformed, match="1000 bytes"):
        _fed(parser, b"64\r\n" + b"a" * 100 + b"\r\n", 20)


def _fed(parser, piece, times):
    for _ in range(times):
        parser.feed(piece)


@pytest.fixture
async def serving():
    """Start servers whose connections run the given function; stop them at the end."""
    servers = []

    async def start(serve):
        async def safely(reader, writer):
            try:
                await serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            finally:
                writer.close()

        server = await asyncio.start_server(safely, "127.0.0.1", 0)
        servers.append(server)
        return read_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture
def pool():
    return DirectPool(ProviderPolicy(), user_agent="test/1")


async def request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))


async def test_each_request_carries_its_own_key_on_a_shared_connection(pool, serving):
    seen, connections = [], []

    async def serve(reader, writer):
        connections.append(1)
        while True:
            seen.append(await request(reader))
            writer.write(OK)

    target = await serving(serve)
    for key in ("one", "two", "one"):
        await pool.send("POST", target, {"authorization": key}, b"", timeout_s=5)
    pool.close()
    assert [text.partition(b"authorization: ")[2].split(b"\r\n")[0] for text in seen] == [b"one", b"two", b"one"]
    assert len(connections) == 1


async def test_two_servers_never_share_a_connection(pool, serving):
    names = {}

    def named(name):
        async def serve(reader, writer):
            while True:
                await request(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name)

        return serve

    for name in (b"a", b"b"):
        names[name] = await serving(named(name))
    for name in (b"a", b"b", b"a", b"b"):
        assert (await pool.send("POST", names[name], {}, b"", timeout_s=5)).body == name
    pool.close()


async def test_an_answer_before_the_request_was_read_ends_the_connection(pool, serving):
    connections = []

    async def serve(reader, writer):
        connections.append(1)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.05)

    target = await serving(serve)
    for _ in range(2):
        assert (await pool.send("POST", target, {}, b"x" * 20_000_000, timeout_s=5)).body == b"ok"
    pool.close()
    assert len(connections) == 2


async def test_a_connection_closed_while_idle_is_replaced_without_an_error(pool, serving):
    connections = []

    async def serve(reader, writer):
        connections.append(1)
        await request(reader)
        writer.write(OK)

    target = await serving(serve)
    for _ in range(3):
        assert (await pool.send("POST", target, {}, b"", timeout_s=5)).body == b"ok"
        await asyncio.sleep(0.01)
    pool.close()
    assert len(connections) == 3


async def test_bytes_nobody_asked_for_end_an_idle_connection(pool, serving):
    connections = []

    async def serve(reader, writer):
        connections.append(1)
        while True:
            await request(reader)
            writer.write(OK)
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    target = await serving(serve)
    for _ in range(2):
        assert (await pool.send("POST", target, {}, b"", timeout_s=5)).body == b"ok"
        await asyncio.sleep(0.02)
    pool.close()
    assert len(connections) == 2


async def test_a_request_is_not_sent_again_by_itself(pool, serving):
    seen = []

    async def serve(reader, writer):
        seen.append(await request(reader))
        if len(seen) == 1:
            writer.write(OK)
            await writer.drain()
            seen.append(await request(reader))

    target = await serving(serve)
    await pool.send("POST", target, {}, b"1", timeout_s=5)
    with pytest.raises(NetworkError) as caught:
        await pool.send("POST", target, {}, b"2", timeout_s=5)
    assert (caught.value.code, len(seen)) == ("disconnected", 2)
    pool.close()


async def test_a_server_that_hangs_up_at_once_is_an_error_at_once(pool, serving):
    async def serve(reader, writer):
        writer.transport.abort()

    target = await serving(serve)
    with pytest.raises(LLMSpellError) as caught:
        await pool.send("POST", target, {}, b"", timeout_s=5)
    assert caught.value.kind == "network"
    pool.close()


async def test_a_connection_lost_before_the_request_is_an_error_at_once(pool, serving, monkeypatch):
    async def serve(reader, writer):
        await request(reader)

    opened = DirectPool._open

    async def lost(self, *args):
        connection = await opened(self, *args)
        connection.connection_lost(None)
        return connection

    monkeypatch.setattr(DirectPool, "_open", lost)
    with pytest.raises(NetworkError) as caught:
        await pool.send("POST", await serving(serve), {}, b"", timeout_s=5)
    assert caught.value.code == "disconnected"


async def test_a_cancellation_that_meets_the_answer_closes_the_connection(pool, serving, monkeypatch):
    ended = asyncio.Event()

    async def serve(reader, writer):
        await request(reader)
        writer.write(OK)
        assert await reader.read() == b""
        ended.set()

    done = direct._Connection._done

    def cancelled(self, answer, *, keep):
        done(self, answer, keep=keep)
        task.cancel()

    monkeypatch.setattr(direct._Connection, "_done", cancelled)
    task = asyncio.create_task(pool.send("POST", await serving(serve), {}, b"", timeout_s=5))
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(2):
        await ended.wait()


async def test_what_is_under_way_when_the_pool_closes_leaves_no_connection(pool, serving):
    asked, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader, writer):
        await request(reader)
        asked.set()
        await asyncio.sleep(0.01)
        writer.write(OK)
        await reader.read()
        ended.set()

    task = asyncio.create_task(pool.send("POST", await serving(serve), {}, b"", timeout_s=5))
    await asked.wait()
    pool.close()
    assert (await task).body == b"ok"
    async with asyncio.timeout(2):
        await ended.wait()


async def test_connections_nobody_asks_for_are_closed_in_time(pool, serving):
    left = []

    async def serve(reader, writer):
        left.append(writer)
        try:
            while True:
                await request(reader)
                writer.write(OK)
        finally:
            left.remove(writer)

    target = await serving(serve)
    await asyncio.gather(*(pool.send("POST", target, {}, b"", timeout_s=5) for _ in range(4)))
    assert len(left) == 4
    (origins,) = pool._idle.values()
    (idle,) = origins.values()
    for connection in idle[:3]:
        connection.idle_since -= direct.KEEP_ALIVE_S
    await pool.send("POST", target, {}, b"", timeout_s=5)
    await asyncio.sleep(0.01)
    assert len(left) == 1
    pool.close()


async def test_a_dead_address_leaves_time_for_the_next(pool, serving, monkeypatch):
    async def serve(reader, writer):
        await request(reader)
        writer.write(OK)

    async def resolve(host, port):
        return ["127.0.0.9", "127.0.0.1"]

    target = read_url(f"http://localhost:{(await serving(serve)).port}/")
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def silent(make, address, port, **options):
        if address == "127.0.0.9":
            await asyncio.sleep(60)
        return await connect(make, address, port, **options)

    monkeypatch.setattr(loop, "create_connection", silent)
    monkeypatch.setattr(direct, "system_resolve", resolve)
    pool._connect_timeout_s = 0.1
    assert (await pool.send("POST", target, {}, b"", timeout_s=5)).body == b"ok"
    pool.close()


async def test_a_key_that_is_no_text_is_refused_without_being_shown(pool):
    with pytest.raises(InvalidArgument) as caught:
        await pool.send("POST", read_url("http://127.0.0.1:9/"), {"x": "secret\ud800"}, b"", timeout_s=1)
    assert "secret" not in str(caught.value)
