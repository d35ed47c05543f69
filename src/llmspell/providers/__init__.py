"""Model services: resolving a model, one exchange with it, retries, prices. `Providers` is the only way in."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.providers._base import (
        CallOptions,
        Capabilities,
        Embeddings,
        ModelRequest,
        ModelResponse,
        StreamEvent,
        ToolSchema,
    )
    from llmspell.providers._script import Turns
    from llmspell.providers._service import Entry, Providers

__all__ = [
    "CallOptions",
    "Capabilities",
    "Embeddings",
    "Entry",
    "ModelRequest",
    "ModelResponse",
    "Providers",
    "StreamEvent",
    "ToolSchema",
    "Turns",
]

_HOMES = {"Entry": "_service", "Providers": "_service", "Turns": "_script"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, '_base')}"), name)
    globals()[name] = value
    return value
