"""Reading a URL for the network: one parser decides, and the connection uses what it said.

The text is refused before parsing if two programs could read it differently (control characters, backslashes,
credentials, escapes in the host); afterwards only what yarl parsed is looked at, because aiohttp connects to that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from llmspell.errors import NetworkDenied
from llmspell.net.address import Address, parse

if TYPE_CHECKING:
    from yarl import URL

MAX_URL_CHARS = 8192

_BAD_TEXT = re.compile(r"[\x00-\x20\x7f-\xa0\\\s]|%(?:00|0[aAdD])")
_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)")
_NAME = re.compile(r"(?!.*\.\.)[a-z0-9_](?:[a-z0-9_.\-]{0,252})")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


class Target(NamedTuple):
    """Where a URL leads. host: lower case, ASCII, no trailing dot; address: of a literal host; text: the URL."""

    url: URL
    scheme: str
    host: str
    port: int
    address: Address | None
    text: str


def denied(text: str, code: str, reason: str) -> NetworkDenied:
    """Return the error of a refused URL; the URL in it carries no credentials and no query."""
    shown = shorten(text)
    return NetworkDenied(
        f"{shown} is not allowed: {reason}",
        code=code,
        details={"violation": "network_access", "url": shown, "rule": reason},
    )


def shorten(text: str) -> str:
    """Return a URL fit for a message: printable, no credentials, no query, at most 200 characters."""
    text = re.split(r"[?#]", text, maxsplit=1)[0]
    text = re.sub(r"(//)[^/]*@", r"\1", text)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return repr(text if len(text) <= 200 else text[:200] + "...")


def read_url(text: str) -> Target:
    """Parse a URL under the syntax rules. Raises NetworkDenied, code `url_denied`."""
    if len(text) > MAX_URL_CHARS:
        raise denied(text, "url_denied", f"it is longer than {MAX_URL_CHARS} characters")
    if _BAD_TEXT.search(text):
        raise denied(
            text, "url_denied", "it holds white space, control characters, a backslash or an escaped NUL, CR or LF"
        )
    start = _AUTHORITY.match(text)
    if start is None or start[1].lower() not in ("http", "https"):
        raise denied(text, "url_denied", "only http:// and https:// URLs can be requested")
    authority = start[2]
    if "@" in authority:
        raise denied(text, "url_denied", "it holds credentials: use the auth option")
    if "%" in authority:
        raise denied(text, "url_denied", "its host holds escapes")
    return _target(text)


def _target(text: str) -> Target:
    from yarl import URL

    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError as error:
        raise denied(text, "url_denied", "it is not a valid URL") from error
    if not host or not port or url.raw_user is not None or url.raw_password is not None:
        raise denied(text, "url_denied", "it names no usable host and port")
    host = host.lower()
    if ":" in host:
        address = parse(host)
        if address is None or "%" in host:
            raise denied(text, "url_denied", "its host is not an IPv6 address")
        return Target(url, url.scheme, host, port, address, str(url))
    bare = host.removesuffix(".")
    if _NUMBER.fullmatch(bare.rpartition(".")[2]):
        address = parse(bare)
        if address is None or bare != host:
            raise denied(text, "url_denied", "its host is a number that is not a plain IPv4 address")
        return Target(url, url.scheme, bare, port, address, str(url))
    if not _NAME.fullmatch(bare):
        raise denied(text, "url_denied", "its host is not a valid name")
    return Target(url, url.scheme, bare, port, None, str(url))
