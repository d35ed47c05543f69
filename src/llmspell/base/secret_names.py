"""Which field names mean a secret: one rule for redaction, headers, configuration and environment names."""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")
_WORDS = frozenset(
    {
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "secrets",
        "credential",
        "credentials",
        "authorization",
        "cookie",
        "token",
        "apikey",
    }
)
_PAIRS = frozenset(
    {
        ("api", "key"),
        ("access", "token"),
        ("auth", "token"),
        ("bearer", "token"),
        ("refresh", "token"),
        ("id", "token"),
        ("private", "key"),
        ("secret", "key"),
        ("signing", "key"),
        ("encryption", "key"),
        ("client", "secret"),
        ("connection", "string"),
    }
)
# A count or a limit of tokens is a number, not a token.
_COUNTED = frozenset({"count", "counts", "limit", "limits", "usage", "budget", "size", "type", "ids"})
_MEASURES = frozenset({"max", "min", "num", "total", "prompt", "completion", "input", "output", "per"})


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether a field of this name holds a secret.

    The name is split on `_ - .` and at case changes, and matched by whole words: `apiKey`, `X-API-Key` and
    `db_password` are secret; `author`, `token_count`, `max_tokens`, `tokenizer` and `authority` are not.
    """
    if len(name) > 256:
        name = name[:256]
    words = [word.lower() for word in _WORD.findall(name)]
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if (word, following) in _PAIRS:
            return True
        if word not in _WORDS:
            continue
        before = words[index - 1] if index else ""
        if word != "token" or not (following in _COUNTED or before in _MEASURES):
            return True
    return False
