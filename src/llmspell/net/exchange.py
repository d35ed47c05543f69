"""One request and its answer on the wire, after every rule was checked: start, chunks, whole body, stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

import aiohttp

from llmspell.errors import LLMSpellError, NetworkError
from llmspell.net.response import Inflater, too_large
from llmspell.net.transport import translate

if TYPE_CHECKING:
    from llmspell.net.url import Target

_FOREIGN = (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError)


@lru_cache(maxsize=256)
def _timeout(total_ms: int | None, connect_s: float, read_s: float | None) -> aiohttp.ClientTimeout:
    total = None if total_ms is None else total_ms / 1000
    return aiohttp.ClientTimeout(total=total, sock_connect=connect_s, sock_read=read_s)


def timeout(total_s: float | None, connect_s: float, read_s: float | None) -> aiohttp.ClientTimeout:
    """Return the limits of one exchange, the total to the next millisecond."""
    return _timeout(None if total_s is None else int(total_s * 1000) + 1, connect_s, read_s)


class Exchange:
    """What one hop sends, and the limits of what it may receive.

    limit: of inflated body bytes; truncate: cut there instead of raising. idle_s: between chunks once the first came.
    """

    __slots__ = (
        "_body", "_headers", "_idle_s", "_limit", "_max_header_bytes", "_method", "_proxy", "_session", "_target",
        "_timeout", "_truncate", "truncated",
    )  # fmt: skip

    def __init__(
        self,
        session: aiohttp.ClientSession,
        target: Target,
        method: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        *,
        timeout: aiohttp.ClientTimeout,
        limit: int,
        truncate: bool = False,
        max_header_bytes: int,
        idle_s: float | None = None,
        proxy: str | None = None,
    ) -> None:
        self._session = session
        self._target = target
        self._method = method
        self._headers = headers
        self._body = body
        self._timeout = timeout
        self._limit = limit
        self._truncate = truncate
        self._max_header_bytes = max_header_bytes
        self._idle_s = idle_s
        self._proxy = proxy
        self.truncated = False

    async def start(self) -> aiohttp.ClientResponse:
        """Send the request and return the answer with its headers read."""
        try:
            response = await self._session.request(
                self._method,
                self._target.url,
                headers=self._headers,
                data=self._body,
                allow_redirects=False,
                timeout=self._timeout,
                proxy=self._proxy,
            )
        except LLMSpellError:
            raise
        except _FOREIGN as error:
            raise translate(error, self._target.host) from error
        size = sum(map(len, chain.from_iterable(response.raw_headers))) + 4 * len(response.raw_headers)
        if size > self._max_header_bytes:
            response.close()
            raise NetworkError(
                f"{self._target.host} sent {size} bytes of headers, more than the allowed {self._max_header_bytes}",
                code="bad_response",
                retryable=False,
            )
        return response

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the whole body and give the connection back."""
        length = response.content_length
        plain = "Content-Encoding" not in response.headers
        if plain and length is not None and length > self._limit and not self._truncate and self._method != "HEAD":
            response.close()
            raise too_large(self._limit, length)
        try:
            if plain and length is not None and length <= self._limit:
                return await response.read()
            body = b"".join([chunk async for chunk in self.chunks(response)])
            if self.truncated:
                response.close()
            return body
        except LLMSpellError:
            response.close()
            raise
        except _FOREIGN as error:
            response.close()
            raise translate(error, self._target.host) from error
        except BaseException:
            response.close()
            raise

    async def chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Give inflated pieces as they come; raises LimitExceeded (`response_too_large`) at the cap."""
        inflater = Inflater(response.headers.get("Content-Encoding", "").strip().lower(), self._limit)
        content = response.content
        first = self._idle_s is not None
        while True:
            try:
                data = await content.readany()
            except _FOREIGN as error:
                raise translate(error, self._target.host) from error
            if not data:
                break
            if first:
                first = False
                self._shorten_wait(response)
            out = inflater.feed(data)
            if inflater.given > self._limit:
                if not self._truncate:
                    raise too_large(self._limit, inflater.given)
                self.truncated = True
                over = inflater.given - self._limit
                yield out[: len(out) - over]
                return
            if out:
                yield out
        if not inflater.finished:
            raise NetworkError(f"{self._target.host} ended its answer early", code="stream_truncated")

    def stop(self, response: aiohttp.ClientResponse) -> None:
        """Give the connection back if the body was read whole, else close it."""
        response.release()

    def _shorten_wait(self, response: aiohttp.ClientResponse) -> None:
        """From the first chunk on, wait no longer than the idle time for the next."""
        connection = response.connection
        protocol = connection.protocol if connection is not None else None
        if protocol is not None:
            protocol.read_timeout = self._idle_s
            protocol.start_timeout()
