"""An answer being received, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from llmspell.errors import NetworkError

if TYPE_CHECKING:
    from types import TracebackType

    from aiohttp import ClientResponse

    from llmspell.net.exchange import Exchange


class ByteStream:
    """An answer being received; use as `async with`. Leaving closes the connection unless the body is at its end.

    status, headers: set on entry. Iterating gives inflated chunks as they come.
    """

    def __init__(self, begin: Callable[[], Awaitable[tuple[Exchange, ClientResponse]]]) -> None:
        self._begin = begin
        self._exchange: Exchange | None = None
        self._inner: ClientResponse | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> ByteStream:
        self._exchange, self._inner = await self._begin()
        self.status = self._inner.status
        self.headers = self._inner.headers
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, or give it back to the pool if the body was read whole."""
        if self._inner is not None and self._exchange is not None:
            self._exchange.stop(self._inner)
            self._inner = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._inner is None or self._exchange is None:
            raise NetworkError("the stream is closed", code="closed", retryable=False)
        return self._exchange.chunks(self._inner)

    async def read(self) -> bytes:
        """Return the rest of the body."""
        if self._inner is None or self._exchange is None:
            raise NetworkError("the stream is closed", code="closed", retryable=False)
        return await self._exchange.read(self._inner)
