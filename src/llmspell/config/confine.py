"""Which values of a key are wider than others: what an untrusted project file may not set.

`runtime.security.*` and `engines.lua.*` are judged by kind in `guard.py`; this is the table for the keys elsewhere that
confine scripts and tools, name code to load, or name a way out.
"""

from __future__ import annotations

from typing import Any

# a project states its own files and models; these it leaves as they are
FIXED = frozenset({"tools.paths", "tools.network.proxy", "providers.proxy", "providers.use_keyring"})
OPENED_BY_TRUE = frozenset(
    {
        "tools.network.allow_loopback", "tools.network.proxy_trusted", "tools.file_operations.enabled",
        "tools.file_operations.follow_symlinks",
    }
)  # fmt: skip
OPENED_BY_FALSE = frozenset({"tools.network.offline", "providers.offline"})
OPENED_BY_MORE = frozenset(
    {
        "tools.network.allowed_hosts", "tools.network.allow_private", "tools.security.allow",
        "providers.allow_http_hosts",
    }
)  # fmt: skip
OPENED_BY_LESS = frozenset(
    {
        "tools.network.blocked_hosts", "tools.network.blocked_ports", "tools.file_operations.denied_paths",
        "tools.file_operations.blocked_extensions", "tools.security.deny", "tools.security.require_approval",
        "tools.disabled",
    }
)  # fmt: skip
# absent, or empty, means everything
CHOICES = frozenset({"tools.enabled", "tools.file_operations.allowed_extensions"})
_LEVELS = {"safe": 0, "restricted": 1, "privileged": 2}


def opens(path: str, value: Any, before: Any) -> bool:
    """Return whether `value` at `path` allows what `before`, the value of the layers below, does not."""
    if path in FIXED:
        return bool(value != before)
    if path in OPENED_BY_TRUE or path in OPENED_BY_FALSE:
        return value != before and value is (path in OPENED_BY_TRUE)
    if path in OPENED_BY_MORE:
        return "*" not in before and not set(value) <= set(before)
    if path in OPENED_BY_LESS:
        return not set(before) <= set(value)
    if path in CHOICES:
        return bool(before) and not (value and set(value) <= set(before))
    if path == "tools.security.max_level":
        # absent means that of the sandbox profile, of which only `safe` is certain to be no more
        return value is None or _LEVELS[value] > _LEVELS[before or "safe"]
    return False
