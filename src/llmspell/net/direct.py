"""Whole exchanges with model services on kept-alive connections, with as little as HTTP/1.1 needs.

A general client spends more on one small exchange than the rest of an agent call costs, so the services of agents,
which are asked thousands of times with the same few headers, have this short road. It knows requests with a length
and answers with a length, in chunks, or up to the end of the connection; no redirects, no cookies, no proxies, no
pipelining, no `Expect`. Streams and proxied calls take the general client. Source: RFC 9112.

    judged URL -> idle connection, else resolve, judge addresses, connect -> one write -> parse -> back to the idle ones
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from llmspell.errors import InvalidArgument, LLMSpellError, NetworkError
from llmspell.errors import TimeoutError as TimedOut
from llmspell.net._http1 import MAX_BODY_BYTES, Answer, Malformed, Parser
from llmspell.net.outgoing import check_headers
from llmspell.net.response import Inflater
from llmspell.net.transport import CheckedResolver, system_resolve

if TYPE_CHECKING:
    from llmspell.net.policy import Policy
    from llmspell.net.url import Target

KEEP_ALIVE_S = 15.0
_MAX_HEADS = 256


class DirectPool:
    """Idle connections of each loop by origin. A connection serves one exchange at a time.

    policy: judges the addresses a name leads to, as in the general client; URLs come in judged, as Target.
    """

    def __init__(self, policy: Policy, *, user_agent: str, connect_timeout_s: float = 10.0) -> None:
        self._policy = policy
        self._agent = user_agent
        self._connect_timeout_s = connect_timeout_s
        self._idle: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str, int], list[_Connection]]] = (
            WeakKeyDictionary()
        )
        self._heads: dict[tuple[str, str], tuple[Mapping[str, str], bytes]] = {}
        self._tls: ssl.SSLContext | None = None

    async def send(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes, *, timeout_s: float
    ) -> Answer:
        """Return the whole answer, inflated. headers: the same mapping object again is not rendered again.

        Raises NetworkError (connect, tls, dns, disconnected, stream_truncated, bad_response), TimeoutError with the
        phase `connect` or `total`, NetworkDenied, InvalidArgument for a header that is none.
        """
        loop = asyncio.get_running_loop()
        head = self._head(method, target, headers)
        idle = self._idle.get(loop)
        if idle is None:
            idle = self._idle[loop] = {}
        origin = (target.scheme, target.host, target.port)
        waiting = idle.setdefault(origin, [])
        connection = _take(waiting)
        deadline = monotonic() + timeout_s
        if connection is None:
            connection = await self._connect(loop, target, timeout_s)
        answer = await connection.exchange(loop, b"%b%d\r\n\r\n%b" % (head, len(body), body), deadline - monotonic())
        if connection.reusable and idle.get(origin) is waiting:
            _give(waiting, connection)
        else:
            connection.close()
        return _inflated(answer, target.host)

    def leave(self) -> None:
        """Close the idle connections of the running loop, which is about to end."""
        for connections in self._idle.pop(asyncio.get_running_loop(), {}).values():
            for connection in connections:
                connection.close()

    def close(self) -> None:
        """Close the idle connections of this loop at once, those of other live loops soon."""
        here = asyncio.get_running_loop()
        for loop, origins in list(self._idle.items()):
            for waiting in origins.values():
                for connection in waiting:
                    if loop is here:
                        connection.close()
                    elif not loop.is_closed():
                        loop.call_soon_threadsafe(connection.close)
            # What is under way finds no place to wait in and is closed.
            origins.clear()
        self._idle.clear()

    def _head(self, method: str, target: Target, headers: Mapping[str, str]) -> bytes:
        url = str(target.url)
        known = self._heads.get((method, url))
        if known is not None and known[0] is headers:
            return known[1]
        host = f"[{target.host}]" if ":" in target.host else target.host
        usual = {"http": 80, "https": 443}[target.scheme] == target.port
        lines = [
            f"{method} {target.url.raw_path_qs} HTTP/1.1",
            f"Host: {host}" if usual else f"Host: {host}:{target.port}",
        ]
        given = check_headers(headers)
        if not any(name.lower() == "user-agent" for name in given):
            lines.append(f"User-Agent: {self._agent}")
        lines += [f"{name}: {value}" for name, value in given.items()]
        try:
            head = ("\r\n".join(lines) + "\r\nContent-Length: ").encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise InvalidArgument("headers: a value is no valid text", details={"name": "headers"}) from error
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        self._heads[(method, url)] = (headers, head)
        return head

    async def _connect(self, loop: asyncio.AbstractEventLoop, target: Target, timeout_s: float) -> _Connection:
        host, port = target.host, target.port
        limit_s = min(self._connect_timeout_s, timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                addresses = [str(target.address)] if target.address is not None else await self._resolve(target)
                return await self._open(loop, target, addresses, limit_s)
        except LLMSpellError:
            raise
        except TimeoutError as error:
            raise TimedOut(
                f"connecting to {host} took too long", code="timeout", details={"host": host, "phase": "connect"}
            ) from error
        except ssl.SSLError as error:
            raise NetworkError(
                f"no trusted connection to {host}: {error.reason or error}", code="tls", details={"host": host}
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise NetworkError(
                f"cannot reach {host}:{port}: {reason}", code="connect", details={"host": host, "phase": "connect"}
            ) from error

    async def _resolve(self, target: Target) -> list[str]:
        resolver = CheckedResolver(
            self._policy, system_resolve, scheme=target.scheme, timeout_s=self._connect_timeout_s
        )
        return [result["host"] for result in await resolver.resolve(target.host, target.port)]

    async def _open(
        self, loop: asyncio.AbstractEventLoop, target: Target, addresses: list[str], limit_s: float
    ) -> _Connection:
        secure = target.scheme == "https"
        for number, address in enumerate(addresses, 1):
            left = len(addresses) - number
            try:
                # A dead address may not use up the time of the others.
                async with asyncio.timeout(limit_s / (left + 1) if left else None):
                    _, made = await loop.create_connection(
                        lambda: _Connection(target.host),
                        address,
                        target.port,
                        ssl=self._context() if secure else None,
                        server_hostname=target.host if secure else None,
                    )
            except ssl.SSLError:
                raise
            except OSError:  # and TimeoutError, which is one
                if not left:
                    raise
            else:
                connection: _Connection = made
                return connection
        raise NetworkError(f"cannot resolve {target.host!r}: no address", code="dns", details={"host": target.host})

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


class _Connection(asyncio.Protocol):
    """One connection: a parser while an exchange runs, nothing between two."""

    __slots__ = ("_host", "_parser", "_transport", "_waiter", "closed", "idle_since", "reusable")

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._parser: Parser | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self.closed = False
        self.reusable = False
        self.idle_since = 0.0

    async def exchange(self, loop: asyncio.AbstractEventLoop, request: bytes, timeout_s: float) -> Answer:
        """Write `request` and return the answer to it; the connection is closed on any failure."""
        assert self._transport is not None
        self.reusable = False
        if not self.alive:
            self.close()
            raise NetworkError(f"{self._host} closed the connection", code="disconnected")
        self._parser = Parser()
        waiter: asyncio.Future[Answer] = loop.create_future()
        self._waiter = waiter
        timer = loop.call_later(max(0.0, timeout_s), self._expire)
        try:
            self._transport.write(request)
            return await waiter
        except BaseException:
            # Also a cancellation that comes together with the answer.
            self.close()
            raise
        finally:
            timer.cancel()
            self._waiter = self._parser = None

    @property
    def alive(self) -> bool:
        """Whether neither side has begun to close."""
        return not (self.closed or self._transport is None or self._transport.is_closing())

    def close(self) -> None:
        """Close at once."""
        self.closed = True
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # a stream connection has a Transport

    def data_received(self, data: bytes) -> None:
        """Feed the parser; bytes nobody asked for close the connection."""
        parser = self._parser
        if parser is None:
            self.close()
            return
        try:
            answer = parser.feed(data)
        except Malformed as error:
            self._fail(NetworkError(f"{self._host} {error}", code="bad_response", retryable=False))
            return
        if answer is not None:
            self._done(answer, keep=answer.keep_alive and not parser.rest)

    def connection_lost(self, error: Exception | None) -> None:
        """End the exchange: the end is also how a body without length ends."""
        self.closed = True
        if self._parser is None or self._waiter is None:
            return
        answer = self._parser.finish() if error is None else None
        if answer is not None:
            self._done(answer, keep=False)
        elif self._parser.begun:
            self._fail(NetworkError(f"{self._host} ended its answer early", code="stream_truncated"))
        else:
            self._fail(NetworkError(f"{self._host} closed the connection", code="disconnected"))

    def _done(self, answer: Answer, *, keep: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            # An answer that came before the request was sent whole leaves a connection nobody can trust.
            self.reusable = keep and self.alive and not self._unsent()
            self._parser = None
            self._waiter.set_result(answer)

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _fail(self, error: LLMSpellError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._parser = None
            self._waiter.set_exception(error)

    def _expire(self) -> None:
        details = {"host": self._host, "phase": "total"}
        self._fail(TimedOut(f"{self._host} took too long", code="timeout", details=details))


def _take(waiting: list[_Connection]) -> _Connection | None:
    oldest = monotonic() - KEEP_ALIVE_S
    while waiting:
        connection = waiting.pop()
        if connection.alive and connection.idle_since > oldest:
            return connection
        connection.close()
    return None


def _give(waiting: list[_Connection], connection: _Connection) -> None:
    """Put a connection to the idle ones, and drop those nobody asked for in time: the last ones are taken first."""
    now = monotonic()
    connection.idle_since = now
    while waiting and waiting[0].idle_since < now - KEEP_ALIVE_S:
        waiting.pop(0).close()
    waiting.append(connection)


def _inflated(answer: Answer, host: str) -> Answer:
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if not encoding or encoding == "identity":
        return answer
    inflater = Inflater(encoding, MAX_BODY_BYTES)
    body = inflater.feed(answer.body)
    if not inflater.finished or inflater.given > MAX_BODY_BYTES:
        raise NetworkError(f"{host} sent a compressed body that is cut or too large", code="stream_truncated")
    return Answer(answer.status, answer.headers, body, answer.keep_alive)
