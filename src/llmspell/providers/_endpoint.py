"""One configured service: its profile, address, headers and settings, ready for a provider to use."""

from __future__ import annotations

from typing import Any

from llmspell.providers._profiles import Profile


class Endpoint:
    """Where and how to call; built by `Providers`, read by a provider. Never prints its key.

    headers: complete, authorisation included. secrets: what must not appear in any message. options: `options` of the
    configuration. untrusted: the address comes from a script that is not trusted, so the rules of tools hold for it.
    """

    __slots__ = ("_key", "base_url", "headers", "name", "options", "profile", "secrets", "untrusted")

    def __init__(
        self,
        name: str,
        profile: Profile,
        *,
        base_url: str,
        key: str | None = None,
        headers: dict[str, str] | None = None,
        organization: str | None = None,
        options: dict[str, Any] | None = None,
        untrusted: bool = False,
    ) -> None:
        self.name = name
        self.profile = profile
        self.base_url = base_url.rstrip("/")
        self.options = dict(options or {})
        self.untrusted = untrusted
        self._key = key
        self.secrets = (key,) if key else ()
        self.headers = {"content-type": "application/json", "accept": "application/json", **profile.headers}
        if key:
            scheme, _, header = profile.auth.partition(":")
            self.headers[header if scheme == "header" else "authorization"] = (
                key if scheme == "header" else f"Bearer {key}"
            )
        if organization:
            self.headers["openai-organization"] = organization
        self.headers.update({name.lower(): value for name, value in (headers or {}).items()})

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {self.base_url!r}, key={'set' if self._key else None})"
