"""Ways of cutting a text into chunks, one module each: the file name is the name of the strategy."""

from __future__ import annotations

from llmspell.base.registry import Registry, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmspell.rag.chunkers._base import Options, Span

ALIASES = {"sliding": "sliding-window", "semantic": "recursive", "none": "none-"}
_registry = Registry("llmspell.rag.chunkers")


def names() -> list[str]:
    """Return the names of all strategies, as configuration spells them."""
    return sorted(name.rstrip("-").replace("-", "_") for name in _registry.names())


def known_strategy(strategy: Any) -> str:
    """Return the name of a strategy, for an alias what it stands for. Raises InvalidArgument for an unknown one."""
    name = str(strategy).replace("_", "-")
    name = ALIASES.get(name, name)
    if _registry.get(name) is not None:
        return name.rstrip("-").replace("-", "_")
    from llmspell.errors import InvalidArgument

    near = nearest(str(strategy), names(), limit=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InvalidArgument(
        f"there is no chunking strategy {strategy!r}{hint}; there are: {', '.join(names())}",
        details={"name": "strategy", "value": strategy, "allowed": names()},
    )


def cut_text(text: str, strategy: str, options: Options) -> list[Span]:
    """Return the spans of a text by a strategy; they cover it. Raises InvalidArgument for an unknown one."""
    name = known_strategy(strategy).replace("_", "-")
    module = _registry.get(ALIASES.get(name, name))
    if not text or module is None:
        return []
    spans: list[Span] = module.chunk(text, options)
    return spans
