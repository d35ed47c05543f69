"""What the providers of one `Providers` share: the way out to the network and the scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmspell.errors import NetworkDenied
from llmspell.providers._script import Scripts

if TYPE_CHECKING:
    from llmspell.net import HttpClient, ProviderPolicy
    from llmspell.net.direct import DirectPool
    from llmspell.providers._limits import Throttle


class Shared:
    """Built by `Providers`. The HTTP client is made at the first request, so that offline models cost nothing."""

    def __init__(
        self,
        config: Any,
        *,
        environ: Mapping[str, str],
        scripts: Scripts,
        script_http: Callable[[], HttpClient] | None = None,
    ) -> None:
        self._config = config
        self._script_http = script_http
        self._environ = environ
        self.scripts = scripts
        self.throttles: dict[str, Throttle] = {}

    @cached_property
    def _policy(self) -> ProviderPolicy:
        from llmspell.net import ProviderPolicy

        return ProviderPolicy(self._config.allow_http_hosts)

    @cached_property
    def _proxies(self) -> Mapping[str, str]:
        """The variables that name proxies, as the HTTP client reads them."""
        if self._config.proxy == "none":
            return {}
        if self._config.proxy != "env":
            return {"https_proxy": self._config.proxy, "http_proxy": self._config.proxy}
        return {name: value for name, value in self._environ.items() if name.lower().endswith("_proxy")}

    @cached_property
    def http(self) -> HttpClient:
        """The client of model services, with their own network policy."""
        from llmspell.net import HttpClient

        offline = self._config.offline or self._environ.get("LLMSPELL_OFFLINE", "") in ("1", "true", "yes")
        return HttpClient(offline=offline, policy=self._policy, environ=self._proxies)

    @cached_property
    def direct(self) -> DirectPool | None:
        """The short road for whole answers; None where a proxy is in between."""
        if self._proxies:
            return None
        from llmspell.net.direct import DirectPool
        from llmspell.version import __version__

        return DirectPool(self._policy, user_agent=f"llmspell/{__version__}")

    def client_for(self, *, untrusted: bool) -> HttpClient:
        """Return the client of model services, or that of tools for an address an untrusted script has set."""
        if not untrusted:
            return self.http
        if self._script_http is None:
            raise NetworkDenied(
                "a base_url set by this script is not allowed: set it in the configuration", code="url_denied"
            )
        return self._script_http()

    def note_headers(self, name: str, prefix: str, headers: Mapping[str, str]) -> None:
        """Tell the throttle of provider `name` what the service says is left."""
        throttle = self.throttles.get(name)
        if throttle is not None:
            throttle.note(prefix, headers)

    async def leave(self) -> None:
        """Close the connections of the running loop, which is about to end."""
        direct = self.__dict__.get("direct")
        if direct is not None:
            direct.leave()
        client = self.__dict__.get("http")
        if client is not None:
            await client.leave()

    async def close(self) -> None:
        """Close the client if there is one."""
        direct = self.__dict__.pop("direct", None)
        if direct is not None:
            direct.close()
        client = self.__dict__.pop("http", None)
        if client is not None:
            await client.close()
