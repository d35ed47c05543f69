"""Who may be called: the rules of tools, and those of model services.

A policy judges a target before any name is resolved (`check`), and then every address the name resolved to
(`check_addresses`); one bad address denies the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llmspell.errors import ConfigurationError, NetworkDenied
from llmspell.net.address import Address, Network, inner, is_denied, is_loopback, is_private, networks, within
from llmspell.net.url import denied

if TYPE_CHECKING:
    from llmspell.net.url import Target

_DENIED_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")
_DENIED_NAMES = frozenset({"localhost", "local", "internal", "home.arpa", "metadata"})


class Policy(Protocol):
    """Judges targets and addresses; both methods raise NetworkDenied."""

    follow_redirects: bool

    def check(self, target: Target) -> None:
        """Judge scheme, name, port and literal address."""
        ...

    def check_addresses(self, host: str, port: int, addresses: Sequence[Address], *, scheme: str) -> None:
        """Judge what a name resolved to."""
        ...

    def check_proxied(self, target: Target) -> None:
        """Judge what a proxy will resolve unseen."""
        ...

    def is_local(self, target: Target) -> bool:
        """Tell whether the target names this machine, so that it may be called while offline."""
        ...


class Hosts:
    """A list of hosts: `*`, `example.com`, `*.example.com` (any depth, not the name itself), `host:port`, CIDR."""

    def __init__(self, patterns: Iterable[str], *, key: str) -> None:
        self.any = False
        self._names: set[tuple[str, int | None]] = set()
        self._suffixes: list[tuple[str, int | None]] = []
        self.networks: tuple[Network, ...] = ()
        for pattern in patterns:
            self._add(pattern.strip().lower(), key)

    def _add(self, pattern: str, key: str) -> None:
        if pattern == "*":
            self.any = True
            return
        if "/" in pattern:
            try:
                self.networks += networks([pattern])
            except ValueError as error:
                raise ConfigurationError(f"{key}: {pattern!r} is neither a host nor a CIDR block") from error
            return
        host, port = _split_port(pattern)
        if not host or (host.startswith("*") and not host.startswith("*.")) or "*" in host[1:]:
            raise ConfigurationError(f"{key}: {pattern!r} is not a host, '*.domain', CIDR block or host:port")
        if host.startswith("*."):
            self._suffixes.append((host[1:], port))
        else:
            self._names.add((host.removesuffix("."), port))

    def match(self, host: str, port: int, address: Address | None = None) -> bool:
        """Tell whether the list names the host, or a network that holds its literal address."""
        if self.any or (host, None) in self._names or (host, port) in self._names:
            return True
        if any(host.endswith(suffix) and wanted in (None, port) for suffix, wanted in self._suffixes):
            return True
        return address is not None and self.covers(address)

    def covers(self, address: Address) -> bool:
        """Tell whether a network of the list holds the address or the IPv4 address inside it."""
        return within(address, self.networks) or within(inner(address), self.networks)


def _split_port(pattern: str) -> tuple[str, int | None]:
    if pattern.startswith("["):
        host, _, rest = pattern[1:].partition("]")
        return host, int(rest[1:]) if rest[1:].isdigit() else None
    host, colon, port = pattern.rpartition(":")
    if colon and ":" not in host and port.isdigit():
        return host, int(port)
    return pattern, None


class NetworkPolicy:
    """The rules of `tools.network`: public addresses only, unless loopback or a private block is admitted.

    settings: the section; allow_private: CIDR texts admitted beside those of the section.
    """

    follow_redirects = True

    def __init__(self, settings: Any, *, allow_private: Iterable[str] = ()) -> None:
        self._settings = settings
        self._allowed = Hosts(settings.allowed_hosts, key="tools.network.allowed_hosts")
        self._blocked = Hosts(settings.blocked_hosts, key="tools.network.blocked_hosts")
        self._blocked_ports = frozenset(settings.blocked_ports)
        self._loopback = bool(settings.allow_loopback)
        try:
            self._private = networks([*settings.allow_private, *allow_private])
        except ValueError as error:
            raise ConfigurationError(f"tools.network.allow_private: {error}") from error

    def admitting(self, allow_private: Iterable[str]) -> NetworkPolicy:
        """Return the same rules with further private blocks admitted."""
        return NetworkPolicy(self._settings, allow_private=allow_private)

    def check(self, target: Target) -> None:
        """Judge name, port and literal address. Raises NetworkDenied: host_denied, port_denied, address_denied."""
        url, host, port, address = target.text, target.host, target.port, target.address
        if address is None and self._is_denied_name(host):
            raise denied(url, "host_denied", f"the name {host!r} is local to this machine or network")
        if self._blocked.match(host, port, address):
            raise denied(url, "host_denied", "tools.network.blocked_hosts names the host")
        by_address = address is None and bool(self._allowed.networks)
        if not by_address and not self._allowed.match(host, port, address):
            raise denied(url, "host_denied", "tools.network.allowed_hosts does not name the host")
        if port in self._blocked_ports:
            raise denied(url, "port_denied", f"port {port} is in tools.network.blocked_ports")
        if address is not None and not self._admits(address):
            raise denied(url, "address_denied", f"{host} is not a public address")

    def check_addresses(self, host: str, port: int, addresses: Sequence[Address], *, scheme: str) -> None:
        """Judge every address of a name; one bad one denies the host. The message does not tell which."""
        by_address = not self._allowed.match(host, port)
        for address in addresses:
            if not self._admits(address):
                raise _address_denied(host, "the name leads to an address that is not public")
            if self._blocked.covers(address):
                raise _address_denied(host, "the name leads into a network of tools.network.blocked_hosts")
            if by_address and not self._allowed.covers(address):
                raise _address_denied(host, "tools.network.allowed_hosts names neither the host nor its network")

    def check_proxied(self, target: Target) -> None:
        """Judge a target that a proxy will resolve: a name must be allowed as a name, its network is unseen."""
        if not self._allowed.match(target.host, target.port, target.address):
            raise denied(target.text, "host_denied", "tools.network.allowed_hosts does not name the host")

    def is_local(self, target: Target) -> bool:
        """Tell whether the target is loopback by name or by literal address."""
        return target.host == "localhost" if target.address is None else is_loopback(target.address)

    def _is_denied_name(self, host: str) -> bool:
        if host == "localhost":
            return not self._loopback
        return host in _DENIED_NAMES or host.endswith(_DENIED_SUFFIXES) or host.startswith("metadata.")

    def _admits(self, address: Address) -> bool:
        if not is_denied(address):
            return True
        if self._loopback and is_loopback(address):
            return True
        return within(inner(address), self._private)


class ProviderPolicy:
    """The rules of model services: https anywhere; http to loopback, private addresses and `allow_http_hosts`."""

    follow_redirects = False

    def __init__(self, allow_http_hosts: Iterable[str] = ()) -> None:
        self._http_hosts = Hosts(allow_http_hosts, key="providers.allow_http_hosts")

    def check(self, target: Target) -> None:
        """Judge scheme and literal address. Raises NetworkDenied, code `url_denied`."""
        if target.scheme == "https" or target.address is None:
            return
        self.check_addresses(target.host, target.port, [target.address], scheme=target.scheme)

    def check_addresses(self, host: str, port: int, addresses: Sequence[Address], *, scheme: str) -> None:
        """Judge the addresses of an http host."""
        if scheme == "https" or self._http_hosts.match(host, port):
            return
        for address in addresses:
            if not (is_loopback(address) or is_private(address) or self._http_hosts.covers(address)):
                raise denied(
                    f"http://{host}:{port}/",
                    "url_denied",
                    "http is only for loopback and private addresses: use https or add the host to "
                    "providers.allow_http_hosts",
                )

    def check_proxied(self, target: Target) -> None:
        """Judge an http name that a proxy will resolve: it must be in the list, its address is unseen."""
        if target.scheme == "http" and target.address is None and not self._http_hosts.match(target.host, target.port):
            raise denied(target.text, "url_denied", "http through a proxy is only for providers.allow_http_hosts")

    def is_local(self, target: Target) -> bool:
        """Tell whether the target is loopback by name or by literal address."""
        return target.host == "localhost" if target.address is None else is_loopback(target.address)


def _address_denied(host: str, reason: str) -> NetworkDenied:
    return NetworkDenied(
        f"{host!r} is not allowed: {reason}",
        code="address_denied",
        details={"violation": "network_access", "host": host, "rule": reason},
    )
