"""Judging addresses: which are public, which are loopback or private, and what an IPv6 address hides inside.

Source: the IANA special-purpose registries (RFC 6890 and successors); embedded forms RFC 4291 (mapped, compatible),
RFC 3056 (6to4), RFC 6052 (NAT64).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_V4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
    "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
)
_V6 = "::/128 ::1/128 fc00::/7 fe80::/10 fec0::/10 ff00::/8 100::/64 2001::/23 2001:db8::/32 64:ff9b:1::/48"
DENIED_V4: tuple[IPv4Network, ...] = tuple(IPv4Network(text) for text in _V4.split())
DENIED_V6: tuple[IPv6Network, ...] = tuple(IPv6Network(text) for text in _V6.split())
PRIVATE: tuple[Network, ...] = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_LOOPBACK_V6 = IPv6Address("::1")
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def parse(text: str) -> Address | None:
    """Return the address `text` spells in full, or None; short, octal and hex forms are not addresses here."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def inner(address: Address) -> Address:
    """Return the IPv4 address inside a mapped, compatible, 6to4 or NAT64 address, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    value = int(address)
    if address in _NAT64 or (address in _COMPATIBLE and value > 1):
        return IPv4Address(value & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    return address


def is_loopback(address: Address) -> bool:
    """Tell whether the address, or the one inside it, is in 127.0.0.0/8 or is ::1."""
    address = inner(address)
    return address.is_loopback if isinstance(address, IPv4Address) else address == _LOOPBACK_V6


def is_private(address: Address) -> bool:
    """Tell whether the address, or the one inside it, belongs to a private network (not link-local)."""
    return within(inner(address), PRIVATE)


def is_denied(address: Address) -> bool:
    """Tell whether the address, or the one inside it, is anything but public."""
    address = inner(address)
    networks: Iterable[Network] = DENIED_V4 if isinstance(address, IPv4Address) else DENIED_V6
    return within(address, networks)


def within(address: Address, networks: Iterable[Network]) -> bool:
    """Tell whether one of the networks, of either version, holds the address."""
    return any(address.version == network.version and address in network for network in networks)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse CIDR texts. Raises ValueError for a bad one."""
    return tuple(ip_network(text, strict=False) for text in texts)
