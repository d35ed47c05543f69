"""Which providers there are, what they are called, where they are and which key opens them. No network, no state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell.base.registry import canonical, nearest
from llmspell.config.env import PROVIDER_KEYS
from llmspell.errors import ConfigurationError
from llmspell.providers import _profiles
from llmspell.providers._base import CallOptions
from llmspell.providers._endpoint import Endpoint
from llmspell.providers._profiles import Profile

if TYPE_CHECKING:
    from llmspell.config.model import Provider as Settings

EMBEDDING_ONLY = ("cohere", "gemini", "voyage")
"""Services that may have a table in the configuration though no provider speaks to them."""
BACKENDS = ("ollama", "llamacpp", "vllm")


class Catalog:
    """The providers of one configuration. `environ` is read for keys and addresses only."""

    def __init__(self, config: Any, environ: Mapping[str, str]) -> None:
        self.config = config
        self._environ = environ
        self._defined: dict[str, Settings] = {canonical(name): table for name, table in config.defined.items()}
        self._profiles: dict[str, Profile] = {}
        self._embedding: dict[str, Profile] = {
            name: Profile(name=name, dialect="", key_env=list(PROVIDER_KEYS[name])) for name in EMBEDDING_ONLY
        }

    def names(self) -> list[str]:
        """Return every known name, bundled or configured, sorted."""
        return sorted({*_profiles.profiles(), *self._defined})

    def find(self, name: str) -> str | None:
        """Return the proper name of a provider given by name or alias, or None."""
        key = canonical(name.strip().lower())
        if key in self._defined:
            return key
        profile = _profiles.find(key)
        if profile is None:
            return None
        return profile.name

    def require(self, name: str) -> str:
        """Return the proper name. Raises ConfigurationError with the nearest names."""
        found = self.find(name)
        if found is None:
            near = nearest(name, self.names())
            hint = (
                f"did you mean {' or '.join(repr(item) for item in near)}?" if near else "see Provider.list{all=true}"
            )
            raise ConfigurationError(
                f"unknown provider '{name}': {hint}", code="not_found", details={"key": f"providers.{name}"}
            )
        return found

    def settings(self, name: str) -> Settings:
        """Return the table `[providers.<name>]`, or its defaults."""
        table = self._defined.get(name)
        if table is None:
            from llmspell.config.model import Provider as Settings

            return Settings()
        return table

    def is_defined(self, name: str) -> bool:
        """Tell whether the configuration has a table for the provider."""
        return name in self._defined

    def profile(self, name: str) -> Profile:
        """Return the profile a provider follows. Raises ConfigurationError for an unknown provider_type."""
        if name not in self._profiles:
            settings = self.settings(name)
            kind = settings.provider_type or name
            profile = _profiles.find(kind) or self._embedding.get(kind)
            if profile is None:
                raise ConfigurationError(
                    f"providers.{name}: provider_type {kind!r} is unknown, expected one of "
                    f"{', '.join(_profiles.profiles())}",
                    details={"key": f"providers.{name}.provider_type"},
                )
            self._profiles[name] = _profiles.overlay(profile, settings.models, name)
        return self._profiles[name]

    def describe(self, name: str, fields: Mapping[str, Any]) -> None:
        """Make a service known that only embeds; fields: of a profile. A bundled profile of that name wins."""
        if _profiles.find(name) is None:
            self._embedding[name] = Profile(name=name, dialect="", embeddings=True, **fields)
            self._profiles.pop(name, None)

    def is_available(self, name: str) -> bool:
        """Tell whether the provider can be used now: enabled, address known, key found or not needed."""
        settings, profile = self.settings(name), self.profile(name)
        if not settings.enabled or (not profile.builtin and not self.base_url(name)):
            return False
        return profile.key != "required" or self.key_source(name) is not None

    def is_listed(self, name: str) -> bool:
        """Tell whether the provider is configured or has a key."""
        return name in self._defined or (not self.profile(name).builtin and self.key_source(name) is not None)

    def is_configured(self, name: str) -> bool:
        """Tell whether the configuration or the environment says anything of the provider."""
        profile = self.profile(name)
        addressed = any(self._environ.get(variable, "").strip() for variable in profile.base_url_env)
        return name in self._defined or addressed or self.key_source(name) is not None

    def base_url(self, name: str) -> str:
        """Return the address: configuration, then environment, then profile; empty if there is none."""
        settings, profile = self.settings(name), self.profile(name)
        if settings.base_url:
            return settings.base_url.rstrip("/")
        if name == profile.name:
            for variable in profile.base_url_env:
                value = self._environ.get(variable, "").strip()
                if value:
                    return _complete(value, profile)
        return profile.base_url

    def key_names(self, name: str) -> list[str]:
        """Return the environment variables that may hold the key, in order."""
        settings, profile = self.settings(name), self.profile(name)
        own = f"LLMSPELL_{re.sub('[^A-Z0-9]', '_', name.upper())}_API_KEY"
        names = [settings.api_key_env] if settings.api_key_env else []
        names.append(own)
        if name == profile.name or not settings.base_url:
            names += profile.key_env
        return names

    def key_source(self, name: str) -> str | None:
        """Return where the key comes from (`config`, `env:NAME`, `file:PATH`, `keyring`), never the key; or None."""
        found = self._key(name)
        return None if found is None else found[1]

    def _key(self, name: str) -> tuple[str, str] | None:
        settings, profile = self.settings(name), self.profile(name)
        if profile.key == "none":
            return None
        if settings.api_key:
            return self.configured_key(settings.api_key)
        for variable in self.key_names(name):
            value = self._environ.get(variable, "").strip()
            if value:
                return value, f"env:{variable}"
        if self.config.use_keyring and profile.key == "required":
            return self.configured_key(f"keyring:llmspell/{name}")
        return None

    def configured_key(self, text: str) -> tuple[str, str] | None:
        """Return the key a setting holds or refers to, and where it comes from; None when it is not there."""
        from llmspell.config.secrets import resolve

        value = resolve(text, environ=self._environ)
        if not value:
            return None
        scheme = text.partition(":")[0]
        return value, text if scheme in ("env", "file") else "keyring" if scheme == "keyring" else "config"

    def endpoint(self, name: str, options: CallOptions) -> Endpoint:
        """Return where and how to call `name`. Raises ConfigurationError: disabled, no address, `missing_key`."""
        settings, profile = self.settings(name), self.profile(name)
        if not settings.enabled:
            raise ConfigurationError(f"the provider '{name}' is disabled: set providers.{name}.enabled = true")
        base_url = options.base_url or self.base_url(name)
        if not base_url and not profile.builtin:
            raise ConfigurationError(
                f"the provider '{name}' has no address: set providers.{name}.base_url",
                details={"key": f"providers.{name}.base_url"},
            )
        key = options.api_key
        foreign = options.untrusted and options.base_url is not None
        if key is None and not foreign:
            found = self._key(name)
            key = found[0] if found else None
        if key is None and profile.key == "required":
            raise self._missing_key(name, foreign=foreign)
        headers = {**options.headers} if foreign else {**settings.headers, **options.headers}
        return Endpoint(
            name,
            profile,
            base_url=base_url,
            key=key,
            headers=headers,
            organization=settings.organization,
            options=settings.options,
            untrusted=foreign,
        )

    def _missing_key(self, name: str, *, foreign: bool) -> ConfigurationError:
        variables = self.key_names(name)
        if foreign:
            text = f"the provider '{name}' needs an api_key beside base_url: configured keys go to configured addresses"
        else:
            text = (
                f"no API key for the provider '{name}': set {' or '.join(reversed(variables))}, "
                f"or providers.{name}.api_key"
            )
        return ConfigurationError(
            text, code="missing_key", details={"key": f"providers.{name}.api_key", "env": variables}
        )


def _complete(value: str, profile: Profile) -> str:
    """Return an address from the environment with scheme and port; `host`, `host:port` and `0.0.0.0` are usual."""
    from urllib.parse import urlsplit

    text = value if "://" in value else f"http://{value}"
    parts = urlsplit(text)
    host, port = parts.hostname or "", parts.port
    if host in ("0.0.0.0", "::"):  # noqa: S104 - recognised to be replaced, nothing is bound
        host = "127.0.0.1"
    if port is None and "://" not in value:
        port = urlsplit(profile.base_url).port
    if ":" in host:
        host = f"[{host}]"
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}".rstrip("/")
