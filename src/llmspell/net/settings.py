"""The numbers of a client, taken out of its section once, and the proxies it goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from llmspell.errors import ConfigurationError
from llmspell.net.address import is_loopback
from llmspell.net.retry import Retry

if TYPE_CHECKING:
    from llmspell.net.url import Target

PROVIDER_MAX_BYTES = 64 * 1024 * 1024


class Proxies:
    """Which proxy serves which target. Source of the names: curl's environment variables."""

    def __init__(self, by_scheme: Mapping[str, str], bypass: tuple[str, ...] = ()) -> None:
        self._by_scheme = dict(by_scheme)
        self._bypass = bypass

    def __bool__(self) -> bool:
        return bool(self._by_scheme)

    def for_target(self, target: Target) -> str | None:
        """Return the proxy URL, or None for a direct connection, as to this machine."""
        host = target.host
        if host == "localhost" or (target.address is not None and is_loopback(target.address)):
            return None
        for name in self._bypass:
            if name == "*" or host == name or host.endswith("." + name):
                return None
        return self._by_scheme.get(target.scheme)

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Proxies:
        """Read HTTPS_PROXY, HTTP_PROXY and NO_PROXY, either case."""
        found = {}
        for scheme in ("http", "https"):
            # HTTP_PROXY in capitals can come from a Proxy header under CGI (CVE-2016-5385): there it is not believed.
            capital = "" if scheme == "http" and "REQUEST_METHOD" in environ else environ.get(f"{scheme}_PROXY".upper())
            value = environ.get(f"{scheme}_proxy") or capital
            if value:
                found[scheme] = value if "://" in value else f"http://{value}"
        skipped = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        names = (name.strip().lower().removeprefix("*.").lstrip(".") for name in skipped.split(","))
        return cls(found, tuple(name for name in names if name))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a client; the defaults serve model services, tools bring their section."""

    connect_timeout: float = 10
    read_timeout: float = 30
    timeout: float = 120
    max_response_size: int = PROVIDER_MAX_BYTES
    max_request_size: int = PROVIDER_MAX_BYTES
    max_header_size: int = 64 * 1024
    max_redirects: int = 0
    max_connections: int = 0
    per_host: int = 0
    rate_limit_per_minute: int = 0
    user_agent: str = ""
    proxy: str | None = None
    proxy_trusted: bool = False
    offline: bool = False
    retry: Retry = Retry()

    @classmethod
    def of(cls, section: Any) -> Settings:
        """Return the limits of a `tools.network` section, or those of model services for None."""
        from llmspell.version import __version__

        agent = f"llmspell/{__version__}"
        if section is None:
            return cls(user_agent=agent, proxy="env", proxy_trusted=True)
        taken = {name: getattr(section, name) for name in cls.__struct_fields__ if name != "retry"}
        retry = Retry(
            max_attempts=section.retry_max_attempts,
            initial_delay_ms=section.retry_initial_delay_ms,
            max_delay_ms=section.retry_max_delay_ms,
            backoff_factor=section.retry_backoff_factor,
            retry_on_status=section.retry_retry_on_status,
        )
        return cls(**taken | {"user_agent": taken["user_agent"] or agent, "retry": retry})

    def proxies(self, environ: Mapping[str, str] | None) -> Proxies:
        """Return the proxies in force. Raises ConfigurationError if tools may not trust the one that is set."""
        if not self.proxy or self.proxy == "none":
            return Proxies({})
        if not self.proxy_trusted:
            raise ConfigurationError(
                "tools.network.proxy is set, but the proxy resolves names unseen by the address rules: set "
                "tools.network.proxy_trusted = true if it refuses private addresses itself"
            )
        if self.proxy == "env":
            return Proxies.of_environment(environ or {})
        return Proxies({"http": self.proxy, "https": self.proxy})
