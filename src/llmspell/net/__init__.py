"""The one door out to the network: addresses checked, bytes counted, time bounded.

Tools go through `HttpClient` under the rules of `tools.network`; model services through the same transport under
`ProviderPolicy`. aiohttp is imported at the first request, not before.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.net.client import HttpClient
    from llmspell.net.policy import NetworkPolicy, ProviderPolicy
    from llmspell.net.response import Response
    from llmspell.net.retry import Retry
    from llmspell.net.sse import Event, SseParser
    from llmspell.net.stream import ByteStream

__all__ = [
    "ByteStream",
    "Event",
    "HttpClient",
    "NetworkPolicy",
    "ProviderPolicy",
    "Response",
    "Retry",
    "SseParser",
]

_HOMES = {
    "ByteStream": "stream",
    "Event": "sse",
    "HttpClient": "client",
    "NetworkPolicy": "policy",
    "ProviderPolicy": "policy",
    "Response": "response",
    "Retry": "retry",
    "SseParser": "sse",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
