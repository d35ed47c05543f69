"""The compiled core: what Python is too slow for, in three binaries, each loaded when a name of it is first used.

`_codec` holds the loops over Python objects (pack, unpack, check), `_native` the objects that own memory.
`_guard` is loaded into a Lua state by its path and never imported.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell._core._codec import Ext as Ext
    from llmspell._core._codec import Limits as Limits
    from llmspell._core._codec import check as check
    from llmspell._core._codec import pack as pack
    from llmspell._core._codec import unpack as unpack
    from llmspell._core._native import Filter as Filter
    from llmspell._core._native import Guard as Guard
    from llmspell._core._native import HashEmbedder as HashEmbedder
    from llmspell._core._native import Hits as Hits
    from llmspell._core._native import VectorIndex as VectorIndex
    from llmspell._core._native import count_tokens as count_tokens
    from llmspell._core._native import cpu as cpu
    from llmspell._core._native import cut as cut

_CODEC = frozenset({"DEFAULT", "Ext", "Limits", "check", "pack", "unpack"})


def __getattr__(name: str) -> object:
    if name.startswith("_"):
        raise AttributeError(name)
    binary = "_codec" if name in _CODEC else "_native"
    try:
        module = import_module(f"{__name__}.{binary}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{binary}":
            raise
        raise ImportError(f"the compiled core is not built ({binary} is missing); run: make dev") from error
    try:
        value: object = getattr(module, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    globals()[name] = value
    return value
