"""Scopes and keys of stored state: their text, their rules, and the one physical key each pair has.

    text                                            kind, id
    ""  nil  global                                 global, ""
    user:7  session:s  agent:a  tool:t  workflow:w  that kind, the rest
    hook:h  custom:n
    user  agent  ...  (bare)                        that kind, "default" (or the current one, when `current` names it)
    anything else, `tenant:acme`                    custom, the whole text

The physical key is `<kind>:<id>:<key>` with `:` and `%` of the id percent-escaped, in UTF-8: two different pairs never
share one, and the keys of one scope are one byte range.
"""

from __future__ import annotations

from typing import NamedTuple

from llmspell.errors import InvalidKey, InvalidScope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_KEY = 256
MAX_SCOPE_AND_KEY = 512
KINDS = ("global", "user", "session", "agent", "tool", "workflow", "hook", "custom")
COMPONENT_KINDS = ("agent", "tool", "hook")
_FORBIDDEN = (
    ("..", "no '..'"),
    ("\\", "no backslash"),
    ("//", "no '//'"),
    ("\0", "no NUL"),
    ("\r", "no CR"),
    ("\n", "no LF"),
)
_CACHE_LIMIT = 4096


class Scope(NamedTuple):
    """One scope; `prefix` begins the physical key of everything in it."""

    kind: str
    ident: str
    prefix: bytes

    @property
    def text(self) -> str:
        """The canonical text: `global`, or `<kind>:<id>`."""
        return self.kind if self.kind == "global" else f"{self.kind}:{self.ident}"


def nfc(text: str) -> str:
    """Return `text` in normal form C."""
    if text.isascii():
        return text
    from unicodedata import normalize

    return normalize("NFC", text)


def make(kind: str, ident: str) -> Scope:
    """Build a scope of a known kind. Raises InvalidScope."""
    shown = f"{kind}:{ident}"
    if kind not in KINDS:
        raise _bad_scope(shown, f"the kind is one of {', '.join(KINDS)}")
    if kind == "global":
        return Scope("global", "", b"global::")
    if not ident:
        raise _bad_scope(shown, "the id is not empty")
    if any(sign in ident for sign in "\0\r\n"):
        raise _bad_scope(shown, "no NUL, CR or LF")
    if len(shown) >= MAX_SCOPE_AND_KEY:
        raise _bad_scope(shown[:40] + "...", f"scope and key together have at most {MAX_SCOPE_AND_KEY} characters")
    try:
        prefix = f"{kind}:{_escape(ident)}:".encode()
    except UnicodeEncodeError as error:
        raise _bad_scope(ascii(shown), "valid UTF-8") from error
    return Scope(kind, ident, prefix)


def parse(text: str | None, current: Mapping[str, str] | None = None) -> Scope:
    """Return the scope a text means.

    current: ids that bare kinds stand for (`{"session": "s1"}`); another bare kind means id `default`.
    Raises InvalidScope.
    """
    if not text:
        return GLOBAL
    if current and text in current and text in KINDS and text not in ("global", "custom"):
        return make(text, nfc(current[text]))
    found = _parsed.get(text)
    if found is None:
        found = _parse(nfc(text))
        if len(_parsed) >= _CACHE_LIMIT:
            _parsed.clear()
        _parsed[text] = found
    return found


def _parse(text: str) -> Scope:
    if text == "global":
        return GLOBAL
    kind, colon, ident = text.partition(":")
    if kind not in KINDS or kind == "global":
        return make("custom", text)
    return make(kind, ident if colon else "default")


def check_key(key: str) -> str:
    """Return the key in normal form C. Raises InvalidKey naming the broken rule."""
    if not key.isascii():
        key = nfc(key)
    if not 0 < len(key) <= MAX_KEY:
        raise _bad_key(key[:40], f"1 to {MAX_KEY} characters")
    for sign, rule in _FORBIDDEN:
        if sign in key:
            raise _bad_key(key, rule)
    if key.startswith(("__", "$$")):
        raise _bad_key(key, "no leading '__' or '$$' (reserved)")
    return key


def physical(scope: Scope, key: str) -> bytes:
    """Return the one physical key of a pair. Raises InvalidKey."""
    key = check_key(key)
    if len(scope.kind) + len(scope.ident) + 1 + len(key) > MAX_SCOPE_AND_KEY:
        raise _bad_key(key, f"scope and key together have at most {MAX_SCOPE_AND_KEY} characters")
    try:
        return scope.prefix + key.encode()
    except UnicodeEncodeError as error:
        raise _bad_key(ascii(key), "valid UTF-8") from error


def physical_of(scope: str | None, key: str) -> bytes:
    """Return the physical key of a scope text and a key; the newest few thousand are remembered."""
    raw = _physical.get((scope, key))
    if raw is None:
        raw = physical(parse(scope), key)
        if len(_physical) >= _CACHE_LIMIT:
            _physical.clear()
        _physical[scope, key] = raw
    return raw


def split(raw: bytes) -> tuple[Scope, str] | None:
    """Return the pair of a physical key, or None for a key of another family (`meta::...`)."""
    kind, _, rest = raw.partition(b":")
    ident, colon, key = rest.partition(b":")
    if not colon or kind.decode("ascii", "replace") not in KINDS:
        return None
    return Scope(kind.decode(), _unescape(ident.decode()), kind + b":" + ident + b":"), key.decode()


def _escape(ident: str) -> str:
    return ident.replace("%", "%25").replace(":", "%3A")


def _unescape(ident: str) -> str:
    return ident.replace("%3A", ":").replace("%25", "%")


def _bad_key(key: str, rule: str) -> InvalidKey:
    return InvalidKey(f"the key {key!r} breaks the rule: {rule}", details={"key": key, "rule": rule})


def _bad_scope(text: str, rule: str) -> InvalidScope:
    return InvalidScope(f"the scope {text!r} breaks the rule: {rule}", details={"scope": text, "rule": rule})


GLOBAL = make("global", "")
_parsed: dict[str, Scope] = {}
_physical: dict[tuple[str | None, str], bytes] = {}
