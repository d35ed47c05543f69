"""Building what is sent: method, address with query, headers and the body as bytes, checked before any socket opens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from llmspell.base.secret_names import is_secret_name
from llmspell.errors import InvalidArgument, LimitExceeded

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})

# The connection owns these; Host would also let a caller reach a name that the host rules refuse.
_RESERVED = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect")
) | {"proxy-authorization", "proxy-connection"}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_ALWAYS_DROPPED = frozenset({"authorization", "cookie", "proxy-authorization", "www-authenticate"})


class Outgoing:
    """One request, mutable while redirects rewrite it."""

    __slots__ = ("body", "headers", "method", "url")

    def __init__(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body

    def drop_credentials(self, also: Iterable[str]) -> None:
        """Remove the headers that authenticate, before another origin sees them."""
        private = _ALWAYS_DROPPED | {name.lower() for name in also}
        self.headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in private and not is_secret_name(name)
        }

    def drop_body(self) -> None:
        """Turn the request into one without a body."""
        self.body = None
        self.headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("content-")}


def prepare(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    data: bytes | str | Mapping[str, Any] | None = None,
    files: Sequence[Mapping[str, Any]] | None = None,
    auth: Mapping[str, Any] | None = None,
    max_bytes: int,
) -> Outgoing:
    """Return the request ready to send. Raises InvalidArgument, or LimitExceeded (`request_too_large`)."""
    method = method.upper()
    if method not in METHODS:
        raise InvalidArgument(
            f"method: {method[:20]!r} is not supported, expected one of {', '.join(sorted(METHODS))}",
            details={"name": "method", "allowed": sorted(METHODS)},
        )
    checked = check_headers(headers) if headers else {}
    query = dict(params) if params else {}
    if auth:
        authorize(auth, checked, query)
    if query:
        url = with_query(url, query)
    if json is None and data is None and not files:
        return Outgoing(method, url, checked, None)
    body, kind = encode(json, data, files)
    if len(body) > max_bytes:
        raise LimitExceeded(
            f"the request body has {len(body)} bytes, more than the allowed {max_bytes}",
            code="request_too_large",
            details={"resource": "request_bytes", "limit": max_bytes, "used": len(body)},
        )
    if kind and not any(name.lower() == "content-type" for name in checked):
        checked["Content-Type"] = kind
    return Outgoing(method, url, checked, body)


def check_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers as text. Raises InvalidArgument for bad names, line breaks and reserved headers."""
    checked: dict[str, str] = {}
    for name, value in headers.items():
        text = value if isinstance(value, str) else str(value)
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidArgument(f"headers: {str(name)[:60]!r} is not a header name", details={"name": "headers"})
        if not _HEADER_VALUE.fullmatch(text):
            raise InvalidArgument(
                f"headers: the value of {name} holds control characters or line breaks", details={"name": "headers"}
            )
        if name.lower() in _RESERVED:
            raise InvalidArgument(
                f"headers: {name} is set by the client and cannot be given", details={"name": "headers"}
            )
        checked[name] = text
    return checked


def authorize(auth: Mapping[str, Any], headers: dict[str, str], query: dict[str, Any]) -> None:
    """Add the credentials of `auth` {type, ...} to headers or query. Raises InvalidArgument, never with a value."""
    kind = auth.get("type", "none")
    if kind == "none":
        return
    if kind == "basic":
        from base64 import b64encode

        pair = f"{_part(auth, 'username')}:{_part(auth, 'password')}".encode()
        headers["Authorization"] = "Basic " + b64encode(pair).decode("ascii")
    elif kind == "bearer":
        headers.update(_secret_header("Authorization", f"Bearer {_part(auth, 'token')}"))
    elif kind == "api_key" and auth.get("in", "header") == "query":
        query[str(auth.get("header_name") or "api_key")] = _part(auth, "key")
    elif kind == "api_key":
        headers.update(_secret_header(str(auth.get("header_name") or "X-API-Key"), _part(auth, "key")))
    elif kind == "custom" and isinstance(auth.get("headers"), Mapping):
        for name, value in auth["headers"].items():
            headers.update(_secret_header(str(name), str(value)))
    else:
        raise InvalidArgument(
            f"auth: type {kind!r} is unknown or incomplete, expected none, basic, bearer, api_key or custom",
            details={"name": "auth"},
        )


def auth_header_names(auth: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the header names that `auth` sets, so that other origins do not see them."""
    if not auth:
        return ()
    custom = auth.get("headers")
    names = [str(auth.get("header_name") or "X-API-Key")]
    return (*names, *(str(name) for name in custom)) if isinstance(custom, Mapping) else tuple(names)


def _part(auth: Mapping[str, Any], field: str) -> str:
    value = auth.get(field)
    if not isinstance(value, str):
        raise InvalidArgument(f"auth: {field} is missing for type {auth.get('type')!r}", details={"name": "auth"})
    return value


def _secret_header(name: str, value: str) -> dict[str, str]:
    if not _HEADER_VALUE.fullmatch(value):
        raise InvalidArgument(f"auth: the value for {name} holds control characters", details={"name": "auth"})
    return check_headers({name: value})


def with_query(url: str, query: Mapping[str, Any]) -> str:
    """Return the URL with the fields added to its query; lists repeat the name, None leaves it out."""
    from urllib.parse import urlencode

    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        pairs.extend((name, _text(item)) for item in values if item is not None)
    if not pairs:
        return url
    base, mark, fragment = url.partition("#")
    joint = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    return f"{base}{joint}{urlencode(pairs)}{mark}{fragment}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def encode(
    json: Any, data: bytes | str | Mapping[str, Any] | None, files: Sequence[Mapping[str, Any]] | None
) -> tuple[bytes, str]:
    """Return body and content type. Raises InvalidArgument if more than one form is given or JSON has no form."""
    if files:
        if json is not None or isinstance(data, (bytes, str)):
            raise InvalidArgument("files: expected alone or with form fields", details={"name": "files"})
        return multipart(data or {}, files)
    if json is not None:
        if data is not None:
            raise InvalidArgument("expected json or data, got both", details={"name": "data"})
        try:
            return msgspec.json.encode(json), "application/json"
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgument(f"json: {error}", details={"name": "json"}) from error
    if isinstance(data, Mapping):
        from urllib.parse import urlencode

        return urlencode([(k, _text(v)) for k, v in data.items()]).encode(), "application/x-www-form-urlencoded"
    if isinstance(data, str):
        return data.encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8"
    return bytes(data or b""), "application/octet-stream"


def multipart(fields: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> tuple[bytes, str]:
    """Return a multipart/form-data body and its content type. files: {field, content, filename?, mime_type?}.

    Source: RFC 7578; quotes and line breaks in names are escaped as HTML forms do.
    """
    from secrets import token_hex

    boundary = f"llmspell-{token_hex(16)}"
    parts: list[bytes] = []
    for name, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
        parts += [head.encode(), _text(value).encode(), b"\r\n"]
    for file in files:
        kind = str(file.get("mime_type") or "application/octet-stream")
        if not _HEADER_VALUE.fullmatch(kind):
            raise InvalidArgument("files: mime_type holds control characters", details={"name": "files"})
        filename = _quoted(str(file.get("filename") or "file"))
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(str(file["field"]))}"; '
            f'filename="{filename}"\r\nContent-Type: {kind}\r\n\r\n'
        )
        parts += [head.encode(), bytes(file["content"]), b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
