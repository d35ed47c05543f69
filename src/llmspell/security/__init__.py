"""What a run may touch outside itself: paths, environment names, profiles; and what must not be shown: secrets.

`profiles` is imported on the start path and holds plain literals only; everything else loads at first use.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.security.access import Security
    from llmspell.security.redact import Redactor, add_secret, redact, redact_value

__all__ = ["Redactor", "Security", "add_secret", "redact", "redact_value"]

_HOMES = {
    "Redactor": "redact",
    "Security": "access",
    "add_secret": "redact",
    "redact": "redact",
    "redact_value": "redact",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
