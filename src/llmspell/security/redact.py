"""Taking secrets out of text and data before they are shown or stored.

Three nets: values that were announced (`add_secret`), values with a known shape, values beside a secret-shaped name.
Only the matching part is replaced, by `[REDACTED:<8 hex>]`: a keyed hash, so that equal secrets compare equal within
one Redactor and nothing can be recovered. Every pattern starts at a point it cannot start at again inside its own
match, and repeats possessively or within bounds: the cost is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmspell.base.secret_names import is_secret_name

MIN_SECRET_CHARS = 6
MAX_DEPTH = 64

_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_\-]{12,}+"
    r"|gsk_[A-Za-z0-9]{16,}+|xai-[A-Za-z0-9\-]{16,}+|AIza[A-Za-z0-9_\-]{30,}+|A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[posu]_[A-Za-z0-9]{16,}+|github_pat_[A-Za-z0-9_]{16,}+|glpat-[A-Za-z0-9_\-]{16,}+"
    r"|xox[abprs]-[A-Za-z0-9\-]{10,}+|hf_[A-Za-z0-9]{16,}+|npm_[A-Za-z0-9]{16,}+"
    r"|(?<![_\-])eyJ[A-Za-z0-9_\-]{4,}+\.[A-Za-z0-9_\-]{4,}+\.[A-Za-z0-9_\-]{4,}+"
    r")"
    r"|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^\-]|-(?!----END))*+(?:-----END [A-Z0-9 ]{0,40}-----)?"
    r"|(?P<url>://[^\s/:@]{0,256}+:)(?P<password>[^\s/@]{1,256}+)(?=@)"
    r"|\b(?P<bearer>[Bb](?:earer|EARER) {1,4}+)(?P<token>[A-Za-z0-9._~+/=\-]{8,}+)"
)
# Looking for literals is several times cheaper than running a pattern, and most text has none of them.
_MARKS = (
    "sk-", "gsk_", "xai-", "AIza", "AKIA", "ASIA", "ghp_", "gho_", "ghs_", "ghu_", "github_pat_", "glpat-", "xox",
    "hf_", "npm_", "eyJ", "-----BEGIN", "://", "earer ", "EARER ",
)  # fmt: skip
_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
MAX_NAME_CHARS = 80
# A part of every secret name; only the names that hold one are looked at closely.
_HINT = re.compile(
    r"pass|pwd|secret|credential|authoriz|cookie|token|(?:api|private|signing|encryption)[_.\-]?key|ion[_.\-]?string"
)
_HINTS = ("pass", "pwd", "secret", "credential", "authoriz", "cookie", "token", "key", "string")
_LOWER = {code: code + 32 for code in range(65, 91)}
_REST = re.compile(r"[A-Za-z0-9_.\-]*+")
_VALUE = re.compile(
    r"(?P<between>\\?[\"']?\s{0,4}+[=:]\s{0,4}+(?:(?:[Bb]earer|[Bb]asic|[Tt]oken)\s{1,4}+)?\\?[\"']?)"
    r"(?P<value>[^\s\"',;&<>(){}\[\]\\]{8,}+)"
)


class Redactor:
    """Redacts with one key. key: 16 to 64 bytes, random if absent; give the store's to compare across runs."""

    def __init__(self, key: bytes | None = None) -> None:
        if key is None:
            import os

            key = os.urandom(16)
        self._key = key
        self._secrets: dict[str, None] = {}

    def add_secret(self, value: str) -> None:
        """Have this value redacted wherever it appears; shorter than 6 characters is too common and ignored."""
        if len(value) >= MIN_SECRET_CHARS:
            self._secrets[value] = None

    def mark(self, secret: str) -> str:
        """Return what stands for a secret."""
        from hashlib import blake2s

        data = secret.encode("utf-8", "surrogatepass")
        return f"[REDACTED:{blake2s(data, key=self._key[:32], digest_size=4).hexdigest()}]"

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            if secret in text:
                text = text.replace(secret, self.mark(secret))
        if any(mark in text for mark in _MARKS):
            text = _SHAPES.sub(self._shape, text)
        return self._pairs(text) if "=" in text or ":" in text else text

    def redact_value(self, value: Any) -> Any:
        """Return plain data without secrets; fields with secret names lose their whole value."""
        return self._value(value, secret=False, depth=0)

    def _value(self, value: Any, *, secret: bool, depth: int) -> Any:
        if isinstance(value, str):
            if secret:
                return value if not value or value.startswith("[REDACTED:") else self.mark(value)
            return self.redact(value)
        if isinstance(value, bytes):
            if secret:
                return self.mark(value.decode("utf-8", "surrogateescape"))
            return self.redact(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if value is None or isinstance(value, bool):
            return value
        if depth >= MAX_DEPTH:
            return "[REDACTED:too deep]"
        if isinstance(value, Mapping):
            return {
                key: self._value(item, secret=secret or (isinstance(key, str) and is_secret_name(key)), depth=depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            items = [self._value(item, secret=secret, depth=depth + 1) for item in value]
            return items if isinstance(value, list) else tuple(items)
        return self.mark(str(value)) if secret else value

    def _shape(self, match: re.Match[str]) -> str:
        if match["url"] is not None:
            return match["url"] + self.mark(match["password"])
        if match["bearer"] is not None:
            return match["bearer"] + self.mark(match["token"])
        return self.mark(match[0])

    def _pairs(self, text: str) -> str:
        """Replace the values of `name = value` and `"name": value` with secret names; each name is read once."""
        # Lower case of the same length, so that places in it are places in the text.
        lowered = text.lower() if text.isascii() else text.translate(_LOWER)
        if not any(word in lowered for word in _HINTS):
            return text
        pieces: list[str] = []
        done = 0
        hint = _HINT.search(lowered)
        while hint is not None:
            start = hint.start()
            floor = max(done, start - MAX_NAME_CHARS)
            while start > floor and text[start - 1] in _NAME_CHARS:
                start -= 1
            end = _REST.match(text, hint.end()).end()  # type: ignore[union-attr] # it matches the empty text too
            value = _VALUE.match(text, end)
            if value is not None and is_secret_name(text[start:end]) and not value["value"].startswith("REDACTED"):
                pieces += [text[done : value.start("value")], self.mark(value["value"])]
                done = end = value.end()
            hint = _HINT.search(lowered, end)
        return "".join([*pieces, text[done:]]) if pieces else text


_default = Redactor()
redact = _default.redact
redact_value = _default.redact_value
add_secret = _default.add_secret
