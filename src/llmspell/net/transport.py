"""aiohttp under our rules: the resolver that judges, the session per loop, the translation of its errors.

Imported at the first request. The connector asks `CheckedResolver` and connects only to the addresses it returns, so
an address is judged and used in the same breath; TLS and Host keep the name. Names are not cached, and a pooled
connection is one to an address that was judged when it was opened.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from llmspell import errors
from llmspell.errors import LLMSpellError, NetworkError
from llmspell.net.address import Address, parse

if TYPE_CHECKING:
    from llmspell.net.policy import Policy

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
MAX_HEADERS = 256
KEEP_ALIVE_S = 15.0


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses the system gives for a name, as text."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class CheckedResolver(AbstractResolver):
    """Resolves a name once and gives its addresses only if the policy admits all of them.

    policy None: of a pool that only ever resolves a configured proxy.
    """

    def __init__(self, policy: Policy | None, resolve: Resolve, *, scheme: str, timeout_s: float) -> None:
        self._policy = policy
        self._resolve = resolve
        self._scheme = scheme
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return judged addresses. Raises NetworkDenied, or NetworkError code `dns`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                texts = await self._resolve(host, port)
        except OSError as error:  # socket.gaierror, and the builtin TimeoutError
            raise NetworkError(f"cannot resolve {host!r}: {error}", code="dns", details={"host": host}) from error
        except UnicodeError as error:
            raise NetworkError(f"cannot resolve {host!r}: not a name", code="dns", retryable=False) from error
        addresses: list[Address] = []
        for text in texts:
            address = parse(text)
            if address is None:
                raise NetworkError(f"cannot resolve {host!r}: strange address", code="dns", details={"host": host})
            addresses.append(address)
        if not addresses:
            raise NetworkError(f"cannot resolve {host!r}: no address", code="dns", details={"host": host})
        if self._policy is not None:
            self._policy.check_addresses(host.rstrip("."), port, addresses, scheme=self._scheme)
        return [_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _result(host: str, port: int, address: Address) -> ResolveResult:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return ResolveResult(
        hostname=host, host=str(address), port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )


class Pools:
    """The sessions of each running loop, one per kind of request."""

    def __init__(self, make: Callable[[Any], aiohttp.ClientSession]) -> None:
        self._make = make
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, aiohttp.ClientSession]] = (
            WeakKeyDictionary()
        )
        self._last: tuple[ref[asyncio.AbstractEventLoop], dict[Any, aiohttp.ClientSession]] | None = None

    def get(self, key: Any) -> aiohttp.ClientSession:
        """Return the session for `key` on the running loop."""
        loop = asyncio.get_running_loop()
        last = self._last
        if last is not None and last[0]() is loop:
            sessions = last[1]
        else:
            sessions = self._by_loop.setdefault(loop, {})
            self._last = (ref(loop), sessions)
        session = sessions.get(key)
        if session is None or session.closed:
            session = sessions[key] = self._make(key)
        return session

    async def leave(self) -> None:
        """Close the sessions of this loop, which is about to end."""
        self._last = None
        for session in self._by_loop.pop(asyncio.get_running_loop(), {}).values():
            await session.close()

    async def close(self) -> None:
        """Close the sessions of this loop at once, of other live loops soon; those of dead loops are forgotten."""
        here = asyncio.get_running_loop()
        for loop, sessions in list(self._by_loop.items()):
            for session in sessions.values():
                if loop is here:
                    await session.close()
                elif not loop.is_closed():
                    loop.call_soon_threadsafe(_close_on_its_loop, loop, session)
                else:
                    session.detach()
        self._by_loop.clear()
        self._last = None


def _close_on_its_loop(loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    task = loop.create_task(session.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()


def make_session(
    resolver: CheckedResolver, *, limit: int, per_host: int, user_agent: str, max_header_bytes: int
) -> aiohttp.ClientSession:
    """Return a session without cookies, redirects, environment or inflating."""
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        use_dns_cache=False,
        limit=limit,
        limit_per_host=per_host,
        keepalive_timeout=KEEP_ALIVE_S,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "gzip, deflate"},
        max_headers=MAX_HEADERS,
        max_field_size=max_header_bytes,
    )


def translate(error: BaseException, host: str) -> LLMSpellError:
    """Return our error for one of aiohttp's or the system's; ours inside theirs come out unchanged."""
    inside = getattr(error, "os_error", None) or error.__cause__
    if isinstance(inside, LLMSpellError):
        return inside
    details: dict[str, Any] = {"host": host}
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return errors.TimeoutError(
            f"connecting to {host} took too long", code="timeout", details=details | {"phase": "connect"}
        )
    if isinstance(error, aiohttp.SocketTimeoutError):
        return errors.TimeoutError(f"{host} stopped sending", code="timeout", details=details | {"phase": "read"})
    if isinstance(error, asyncio.TimeoutError):
        return errors.TimeoutError(f"{host} took too long", code="timeout", details=details | {"phase": "total"})
    if isinstance(error, aiohttp.ClientSSLError):
        return NetworkError(f"no trusted connection to {host}: {error}", code="tls", details=details)
    if isinstance(error, (aiohttp.ClientPayloadError,)):
        return NetworkError(f"{host} ended its answer early", code="stream_truncated", details=details)
    if isinstance(error, aiohttp.ClientResponseError):
        message = (
            f"{host} answered with something that is not HTTP, or with too large a head: {_first_line(error.message)}"
        )
        return NetworkError(message, code="bad_response", details=details, retryable=False)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return NetworkError(f"{host} closed the connection", code="disconnected", details=details)
    return NetworkError(f"cannot reach {host}: {_reason(error)}", code="connect", details=details)


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:200]


def _reason(error: BaseException) -> str:
    inside = getattr(error, "os_error", None)
    return str(getattr(inside, "strerror", None) or inside or error or type(error).__name__)[:200]
