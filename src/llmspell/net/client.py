"""The HTTP client of the house: every hop judged, every byte counted, every wait bounded.

`request` is what tools call; `stream` gives the body in pieces; `post_stream` is the short road of model services.
One client serves all loops; each loop has its own connections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from llmspell import errors
from llmspell.errors import LLMSpellError, NetworkError, RateLimitError
from llmspell.net.outgoing import Outgoing, auth_header_names, prepare
from llmspell.net.policy import NetworkPolicy, Policy
from llmspell.net.response import Response
from llmspell.net.retry import IDEMPOTENT, Retry, may_retry, retry_after_s
from llmspell.net.settings import Settings
from llmspell.net.stream import ByteStream
from llmspell.net.url import Target, denied, read_url, shorten

if TYPE_CHECKING:
    from types import ModuleType

    import aiohttp

    from llmspell.net.exchange import Exchange
    from llmspell.net.transport import Pools, Resolve

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_URL_CACHE = 1024
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


class HttpClient:
    """Sends requests under the rules of a policy.

    settings: the `tools.network` section; may be None if a policy is given. enabled: false refuses every request
    (`runtime.security.allow_network_access`). offline: refuse all but this machine.
    resolver: `async (host, port) -> [address text]` in place of the system's. environ: read for proxies only if the
    setting says `env`.
    """

    def __init__(
        self,
        settings: Any = None,
        *,
        enabled: bool = True,
        offline: bool = False,
        resolver: Resolve | None = None,
        policy: Policy | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._limits = Settings.of(settings)
        self._policy: Policy = policy if policy is not None else NetworkPolicy(settings)
        self._policies: dict[tuple[str, ...], Policy] = {(): self._policy}
        self._enabled = enabled
        self._offline = offline or self._limits.offline
        self._resolver = resolver
        self._proxies = self._limits.proxies(environ)
        self._pools: Pools | None = None
        self._checked: dict[tuple[str, tuple[str, ...]], Target] = {}
        self._windows: dict[str, tuple[float, int]] = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: bytes | str | Mapping[str, Any] | None = None,
        files: Sequence[Mapping[str, Any]] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the deadline covers redirects, pauses and body together
        max_bytes: int | None = None,
        redirects: int | None = None,
        retry: Retry | Mapping[str, Any] | None = None,
        auth: Mapping[str, Any] | None = None,
        allow_private: Sequence[str] | None = None,
        truncate: bool = False,
    ) -> Response:
        """Send a request and return the whole answer, whatever its status.

        timeout: seconds for everything, redirects and retries included. max_bytes: of inflated body; `truncate` cuts
        there instead of raising. redirects: how many to follow, 0 for none. auth: {type: basic|bearer|api_key|custom}.
        files: [{field, content, filename?, mime_type?}]. allow_private: CIDR blocks admitted for this call.
        Raises NetworkDenied (url_denied, host_denied, port_denied, address_denied), NetworkError, TimeoutError,
        LimitExceeded (response_too_large, request_too_large), RateLimitError, InvalidArgument.
        """
        limits = self._limits
        out = prepare(
            method,
            url,
            headers=headers,
            params=params,
            json=json,
            data=data,
            files=files,
            auth=auth,
            max_bytes=limits.max_request_size,
        )
        call = _Call(
            self,
            out,
            deadline=monotonic() + (limits.timeout if timeout is None else timeout),
            max_bytes=limits.max_response_size if max_bytes is None else max_bytes,
            redirects=limits.max_redirects if redirects is None else redirects,
            private_headers=auth_header_names(auth),
            allow_private=tuple(allow_private or ()),
            truncate=truncate,
        )
        policy = Retry.of(retry, limits.retry)
        if policy is None or policy.max_attempts == 1 or not may_retry(out.method, out.headers):
            return await call.run()
        return await call.run_again(policy)

    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: bytes | str | Mapping[str, Any] | None = None,
        timeout: float | None = None,
        max_bytes: int | None = None,
        redirects: int | None = None,
        auth: Mapping[str, Any] | None = None,
    ) -> ByteStream:
        """Return the answer as a stream, for `async with`; errors as of `request`."""
        limits = self._limits
        out = prepare(
            method, url, headers=headers, params=params, json=json, data=data, auth=auth,
            max_bytes=limits.max_request_size,
        )  # fmt: skip
        call = _Call(
            self,
            out,
            deadline=monotonic() + (limits.timeout if timeout is None else timeout),
            max_bytes=limits.max_response_size if max_bytes is None else max_bytes,
            redirects=limits.max_redirects if redirects is None else redirects,
            private_headers=auth_header_names(auth),
            allow_private=(),
            truncate=False,
        )
        return ByteStream(call.begin)

    def post_stream(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        method: str = "POST",
        connect_timeout: float = 10.0,
        first_byte_timeout: float = 60.0,
        idle_timeout: float = 30.0,
        total_timeout: float | None = 120.0,
        max_bytes: int | None = None,
    ) -> ByteStream:
        """Return one exchange for `async with`: `status`, `headers`, raw chunks by iteration, or `await read()`.

        Nothing is retried, redirected or rate-limited; headers and body are sent as given. The timeouts are seconds to
        connect, to the first byte, between two chunks, and for all; the phase is in the error's details.
        """

        async def begin() -> tuple[Exchange, aiohttp.ClientResponse]:
            target = self.check(url)
            session, proxy = self._session(target, ())
            exchange = self._wire.Exchange(
                session,
                target,
                method,
                headers,
                body,
                timeout=self._wire.timeout(total_timeout, connect_timeout, first_byte_timeout),
                limit=self._limits.max_response_size if max_bytes is None else max_bytes,
                max_header_bytes=self._limits.max_header_size,
                idle_s=idle_timeout,
                proxy=proxy,
            )
            return exchange, await exchange.start()

        return ByteStream(begin)

    def check(self, url: str, *, allow_private: tuple[str, ...] = ()) -> Target:
        """Judge a URL by every rule that needs no name resolution. Raises NetworkDenied, or NetworkError `offline`."""
        key = (url, allow_private)
        target = self._checked.get(key)
        if target is not None:
            return target
        target = read_url(url)
        if not self._enabled:
            raise denied(url, "network_denied", "network access is switched off (runtime.security)")
        policy = self._policy_for(allow_private)
        policy.check(target)
        if self._offline and not policy.is_local(target):
            raise NetworkError(
                f"{shorten(url)} cannot be reached: this run is offline (LLMSPELL_OFFLINE)",
                code="offline",
                retryable=False,
                details={"host": target.host},
            )
        if len(self._checked) >= _URL_CACHE:
            self._checked.clear()
        self._checked[key] = target
        return target

    async def leave(self) -> None:
        """Close the connections of the running loop, which is about to end."""
        if self._pools is not None:
            await self._pools.leave()

    async def close(self) -> None:
        """Close all connections. Safe to call twice."""
        if self._pools is not None:
            await self._pools.close()

    @cached_property
    def _wire(self) -> ModuleType:
        """The part that imports aiohttp, looked up once."""
        from llmspell.net import exchange

        return exchange

    def _policy_for(self, allow_private: tuple[str, ...]) -> Policy:
        policy = self._policies.get(allow_private)
        if policy is None:
            if not isinstance(self._policy, NetworkPolicy):
                return self._policy
            policy = self._policies[allow_private] = self._policy.admitting(allow_private)
        return policy

    def _session(self, target: Target, allow_private: tuple[str, ...]) -> tuple[aiohttp.ClientSession, str | None]:
        """Return the session for the target, and the proxy to use if one is set."""
        if self._pools is None:
            from llmspell.net.transport import Pools

            self._pools = Pools(self._make_session)
        proxy = self._proxies.for_target(target) if self._proxies else None
        if proxy is not None:
            self._policy.check_proxied(target)
        return self._pools.get((target.scheme, allow_private, proxy is not None)), proxy

    def _make_session(self, key: tuple[str, tuple[str, ...], bool]) -> aiohttp.ClientSession:
        from llmspell.net.transport import CheckedResolver, make_session, system_resolve

        scheme, allow_private, proxied = key
        limits = self._limits
        resolver = CheckedResolver(
            None if proxied else self._policy_for(allow_private),
            self._resolver or system_resolve,
            scheme=scheme,
            timeout_s=limits.connect_timeout,
        )
        return make_session(
            resolver,
            limit=limits.max_connections,
            per_host=limits.per_host,
            user_agent=limits.user_agent,
            max_header_bytes=limits.max_header_size,
        )

    def _count(self, host: str) -> None:
        """Count a request against the limit of its host. Raises RateLimitError."""
        allowed = self._limits.rate_limit_per_minute
        now = monotonic()
        start, used = self._windows.get(host, (now, 0))
        if now - start >= 60:
            start, used = now, 0
        if used >= allowed:
            wait_ms = max(1, int((start + 60 - now) * 1000))
            raise RateLimitError(
                f"more than {allowed} requests to {host} in a minute (tools.network.rate_limit_per_minute)",
                code="rate_limited",
                retry_after_ms=wait_ms,
                details={"limit": allowed, "window": "minute", "retry_after_ms": wait_ms},
            )
        if len(self._windows) > _URL_CACHE:
            self._windows = {name: window for name, window in self._windows.items() if now - window[0] < 60}
        self._windows[host] = (start, used + 1)


class _Call:
    """One call of `request`: its hops, its attempts, its one deadline."""

    __slots__ = (
        "_allow_private", "_client", "_deadline", "_max_bytes", "_out", "_passed", "_private_headers", "_redirects",
        "_target_text", "_truncate",
    )  # fmt: skip

    def __init__(
        self,
        client: HttpClient,
        out: Outgoing,
        *,
        deadline: float,
        max_bytes: int,
        redirects: int,
        private_headers: tuple[str, ...],
        allow_private: tuple[str, ...],
        truncate: bool,
    ) -> None:
        self._client = client
        self._out = out
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._redirects = redirects
        self._private_headers = private_headers
        self._allow_private = allow_private
        self._truncate = truncate
        self._passed: list[str] = []
        self._target_text = ""

    async def run(self, attempt: int = 1) -> Response:
        """Send, follow redirects, read the body."""
        exchange, answer = await self.begin()
        body = await exchange.read(answer)
        return Response(
            status=answer.status,
            reason=answer.reason or "",
            headers=answer.headers,
            body=body,
            url=self._target_text,
            redirects=tuple(self._passed),
            attempts=attempt,
            truncated=exchange.truncated,
        )

    async def run_again(self, retry: Retry) -> Response:
        """Run until an answer stands, the attempts are used up, or the pause would pass the deadline."""
        import asyncio

        first = self._out
        attempt = 0
        while True:
            attempt += 1
            self._out = Outgoing(first.method, first.url, first.headers, first.body)
            self._passed = []
            wait: float | None = None
            try:
                response = await self.run(attempt)
            except (NetworkError, errors.TimeoutError) as error:
                if not error.retryable or attempt >= retry.max_attempts:
                    raise
                pause = retry.delay_s(attempt)
                if monotonic() + pause >= self._deadline:
                    raise
            else:
                if response.status not in retry.retry_on_status or attempt >= retry.max_attempts:
                    return response
                wait = retry_after_s(response.headers.get("Retry-After"))
                pause = retry.delay_s(attempt, wait)
                if monotonic() + pause >= self._deadline:
                    return response
            await asyncio.sleep(pause)

    async def begin(self) -> tuple[Exchange, aiohttp.ClientResponse]:
        """Send the request and follow redirects until an answer is to be read."""
        while True:
            target = self._client.check(self._out.url, allow_private=self._allow_private)
            self._target_text = target.text
            exchange = self._exchange(target)
            answer = await exchange.start()
            if answer.status not in _REDIRECTS or self._redirects == 0:
                return exchange, answer
            try:
                location = answer.headers.get("Location")
                follow = location is not None and self._redirect(target, answer.status, location)
            except LLMSpellError:
                answer.close()
                raise
            if not follow:
                return exchange, answer
            answer.release()

    def _exchange(self, target: Target) -> Exchange:
        client = self._client
        limits = client._limits  # noqa: SLF001 - a call is the client's own inside
        if limits.rate_limit_per_minute:
            client._count(target.host)  # noqa: SLF001 - as above
        session, proxy = client._session(target, self._allow_private)  # noqa: SLF001 - as above
        remaining = self._deadline - monotonic()
        if remaining <= 0:
            raise errors.TimeoutError(f"{target.host} took too long", code="timeout", details={"phase": "total"})
        wire = client._wire  # noqa: SLF001 - as above
        # A timer per read costs a tenth of a small request; the deadline does its work where it comes first.
        idle = limits.read_timeout if limits.read_timeout < remaining else None
        exchange: Exchange = wire.Exchange(
            session,
            target,
            self._out.method,
            self._out.headers,
            self._out.body,
            timeout=wire.timeout(remaining, limits.connect_timeout, idle),
            limit=self._max_bytes,
            truncate=self._truncate,
            max_header_bytes=limits.max_header_size,
            proxy=proxy,
        )
        return exchange

    def _redirect(self, target: Target, status: int, location: str) -> bool:
        """Turn the request towards `location`; False if the answer itself is to be returned."""
        out = self._out
        if status in (307, 308) and out.body is not None and out.method not in IDEMPOTENT:
            return False
        if len(self._passed) >= self._redirects:
            raise NetworkError(
                f"{target.host} redirects more than {self._redirects} times",
                code="too_many_redirects",
                retryable=False,
                details={"limit": self._redirects},
            )
        following = _join(target, location)
        if target.scheme == "https" and following.scheme != "https":
            raise denied(following.text, "url_denied", "a redirect from https to http is not followed")
        self._passed.append(target.text)
        if status in (301, 302, 303) and out.method not in ("GET", "HEAD"):
            out.method = "GET"
            out.drop_body()
        if (following.scheme, following.host, following.port) != (target.scheme, target.host, target.port):
            out.drop_credentials(self._private_headers)
        out.url = following.text
        return True


def _join(target: Target, location: str) -> Target:
    """Return where a Location header leads. Raises NetworkDenied."""
    from yarl import URL

    location = location.strip(" \t")
    if location.startswith("//"):
        return read_url(f"{target.scheme}:{location}")
    if _SCHEME.match(location):
        return read_url(location)
    try:
        joined = str(target.url.join(URL(location)))
    except ValueError as error:
        raise denied(location, "url_denied", "the redirect target is not a valid URL") from error
    return read_url(joined)
