"""From a text to its chunks: settings of the configuration, of the call, and the strategy they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from llmspell._core import count_tokens
from llmspell.errors import InvalidArgument
from llmspell.rag.chunkers import cut_text, known_strategy
from llmspell.rag.chunkers._base import Options
from llmspell.rag.results import Chunk
from llmspell.vectors.records import Part

if TYPE_CHECKING:
    from llmspell.config.model import Chunking

SIZES = ("chunk_size", "overlap", "min_chunk_size", "max_chunk_size")


class Recipe(NamedTuple):
    """A strategy with its sizes."""

    strategy: str
    options: Options


def recipe(config: Chunking, given: Mapping[str, Any] | None) -> Recipe:
    """Return what to do: keys of `given` win over the configuration. Raises InvalidArgument.

    A stated chunk_size below the configured overlap shortens the overlap to an eighth of it.
    """
    stated = {str(name): value for name, value in (given or {}).items() if value is not None}
    if "chunk_overlap" in stated:
        stated.setdefault("overlap", stated.pop("chunk_overlap"))
    unknown = sorted(set(stated) - {*SIZES, "strategy"})
    if unknown:
        raise InvalidArgument(
            f"chunking: unknown setting {unknown[0]!r}; there are: strategy, {', '.join(SIZES)}",
            details={"name": "chunking", "value": unknown[0]},
        )
    sizes: dict[str, Any] = {name: _whole(name, stated.get(name, getattr(config, name))) for name in SIZES}
    if sizes["chunk_size"] < 1:
        raise InvalidArgument("chunking: chunk_size must be at least 1", details={"name": "chunk_size"})
    if "overlap" not in stated and sizes["overlap"] >= sizes["chunk_size"]:
        sizes["overlap"] = sizes["chunk_size"] // 8
    if sizes["overlap"] >= sizes["chunk_size"]:
        raise InvalidArgument(
            f"chunking: overlap {sizes['overlap']} must be less than chunk_size {sizes['chunk_size']}",
            details={"name": "overlap", "value": sizes["overlap"]},
        )
    strategy = stated.get("strategy", config.strategy)
    return Recipe(known_strategy(strategy), Options(**sizes))


def _whole(name: str, value: Any) -> int:
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 10_000_000:
        raise InvalidArgument(f"chunking: {name} must be a whole number, got {value!r}", details={"name": name})
    return number


def parts(text: str, made: Recipe, name: str = "") -> list[Part]:
    """Return the chunks of a text to store. name: of its file or language, which tells how code is cut."""
    options = made.options._replace(name=name)
    return [
        Part(text[span.start : span.end], span.start, count_tokens(text[span.start : span.end]), span.metadata)
        for span in cut_text(text, made.strategy, options)
    ]


def chunks(text: str, made: Recipe, name: str = "") -> list[Chunk]:
    """Return the chunks of a text with all their places."""
    found, at_char, at_byte = [], 0, 0
    for index, part in enumerate(parts(text, made, name)):
        at_byte += (
            len(text[at_char : part.start].encode())
            if part.start >= at_char
            else -len(text[part.start : at_char].encode())
        )
        at_char = part.start
        found.append(
            Chunk(
                content=part.text,
                index=index,
                byte_offset=at_byte,
                byte_length=len(part.text.encode()),
                char_offset=part.start,
                token_count=part.tokens,
                metadata=part.metadata or {},
            )
        )
    return found
