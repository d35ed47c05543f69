"""What the providers of one `Providers` share: the way out to the network and the scripts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmspell.providers._script import Scripts

if TYPE_CHECKING:
    from llmspell.net import HttpClient
    from llmspell.providers._limits import Throttle


class Shared:
    """Built by `Providers`. The HTTP client is made at the first request, so that offline models cost nothing."""

    def __init__(self, config: Any, *, environ: Mapping[str, str], scripts: Scripts) -> None:
        self._config = config
        self._environ = environ
        self.scripts = scripts
        self.throttles: dict[str, Throttle] = {}

    @cached_property
    def http(self) -> HttpClient:
        """The client of model services, with their own network policy."""
        from llmspell.net import HttpClient, ProviderPolicy

        config = self._config
        proxies: Mapping[str, str] = self._environ
        if config.proxy == "none":
            proxies = {}
        elif config.proxy != "env":
            proxies = {"https_proxy": config.proxy, "http_proxy": config.proxy}
        offline = config.offline or self._environ.get("LLMSPELL_OFFLINE", "") in ("1", "true", "yes")
        return HttpClient(offline=offline, policy=ProviderPolicy(config.allow_http_hosts), environ=proxies)

    def note_headers(self, name: str, prefix: str, headers: Mapping[str, str]) -> None:
        """Tell the throttle of provider `name` what the service says is left."""
        throttle = self.throttles.get(name)
        if throttle is not None:
            throttle.note(prefix, headers)

    async def close(self) -> None:
        """Close the client if there is one."""
        client = self.__dict__.pop("http", None)
        if client is not None:
            await client.close()
