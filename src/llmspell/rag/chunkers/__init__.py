"""Ways of cutting a text into chunks, one module each: the file name is the name of the strategy."""

from __future__ import annotations

from llmspell.base.registry import Registry, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmspell.rag.chunkers._base import Options, Span

ALIASES = {"sliding": "sliding-window", "semantic": "recursive", "none": "none-"}
_registry = Registry("llmspell.rag.chunkers")


def names() -> list[str]:
    """Return the names of all strategies, as configuration spells them."""
    return sorted(name.rstrip("-").replace("-", "_") for name in _registry.names())


def cut_text(text: str, strategy: str, options: Options) -> list[Span]:
    """Return the spans of a text by a strategy; they cover it. Raises InvalidArgument for an unknown one."""
    name = strategy.replace("_", "-")
    module = _registry.get(ALIASES.get(name, name))
    if module is None:
        from llmspell.errors import InvalidArgument

        near = nearest(strategy, names(), limit=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InvalidArgument(
            f"there is no chunking strategy {strategy!r}{hint}; there are: {', '.join(names())}",
            details={"name": "strategy", "value": strategy, "allowed": names()},
        )
    if not text:
        return []
    spans: list[Span] = module.chunk(text, options)
    return spans
