"""Another order for what was found: maximal marginal relevance, or a function of the caller."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from llmspell import errors
from llmspell.errors import ComponentError, InvalidArgument, LLMSpellError

if TYPE_CHECKING:
    from llmspell.rag.results import SearchItem

MMR_LAMBDA = 0.3
Rerank = str | Mapping[str, Any] | Callable[..., Any] | None


class Order:
    """What to do after the search. kind: none, mmr or function; weight: lambda of mmr; fn: of the caller."""

    def __init__(self, given: Any) -> None:
        self.kind, self.weight, self.fn = "none", MMR_LAMBDA, None
        if given is None or given == "none":
            return
        if callable(given):
            self.kind, self.fn = "function", given
            return
        stated = {"type": given} if isinstance(given, str) else given
        if not isinstance(stated, Mapping) or stated.get("type") not in ("mmr", "none"):
            raise InvalidArgument(
                "rerank is 'mmr', 'none', 'cohere', 'voyage', {type='mmr', lambda=0.3} or a function",
                details={"name": "rerank", "value": str(given)[:100]},
            )
        unknown = sorted(str(key) for key in set(stated) - {"type", "lambda"})
        if unknown:
            raise InvalidArgument(
                f"rerank: unknown setting {unknown[0]!r}; there are: type, lambda", details={"name": "rerank"}
            )
        self.kind = str(stated["type"])
        weight = stated.get("lambda", MMR_LAMBDA)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise InvalidArgument(f"rerank: lambda is a number from 0 to 1, got {weight!r}", details={"name": "lambda"})
        self.weight = float(weight)

    async def apply(
        self, query: str, items: list[SearchItem], vectors: list[Any], *, timeout_s: float, required: bool
    ) -> tuple[list[SearchItem], list[str]]:
        """Return the items in the new order and what went wrong; then the order is the old one, unless `required`.

        vectors: of the items, None for one without. Raises ComponentError, TimeoutError and what a required one raises.
        """
        if self.kind == "none" or not items:
            return items, []
        if self.fn is None:
            if any(vector is None for vector in vectors):
                return _failed(items, "mmr needs the vector arm", None, required=required)
            return _diverse(items, np.stack(vectors), self.weight), []
        try:
            async with asyncio.timeout(timeout_s):
                given = self.fn(query, [msgspec.to_builtins(item) for item in items])
                answer = await given if inspect.isawaitable(given) else given
        except TimeoutError as error:
            late = errors.TimeoutError(f"rerank: no answer within {timeout_s} s")
            late.__cause__ = error
            return _failed(items, f"no answer within {timeout_s} s", late, required=required)
        except LLMSpellError as error:
            if error.kind in ("cancelled", "resource_limit"):
                raise
            return _failed(items, error.message, error, required=required)
        except Exception as error:
            return _failed(items, f"{type(error).__name__}: {error}", error, required=required)
        if answer == {}:  # an empty table of a script
            answer = []
        if not isinstance(answer, list | tuple):
            return _failed(items, f"the function returned no list but {type(answer).__name__}", None, required=required)
        return _answered(items, answer), []


def _failed(
    items: list[SearchItem], reason: str, error: Exception | None, *, required: bool
) -> tuple[list[SearchItem], list[str]]:
    if required:
        raise error or ComponentError(f"rerank: {reason}", code="rerank_failed")
    return items, [f"rerank: {reason}; the fused order is kept"]


def _answered(items: list[SearchItem], answer: Sequence[Any]) -> list[SearchItem]:
    """Return our items in the order of the answer, with its scores; what it left out is left out."""
    known = {item.id: item for item in items}
    ordered = []
    for entry in answer:
        stated = entry if isinstance(entry, Mapping) else {"id": getattr(entry, "id", entry)}
        ident, score = stated.get("id"), stated.get("score", getattr(entry, "score", None))
        item = known.pop(ident, None) if isinstance(ident, str) else None
        if item is None:
            continue
        if isinstance(score, int | float) and not isinstance(score, bool) and isfinite(score):
            item = _scored(item, float(score), score=float(score))
        ordered.append(item)
    return ordered


def _scored(item: SearchItem, rerank: float, **changes: Any) -> SearchItem:
    return msgspec.structs.replace(item, scores={**item.scores, "rerank": rerank}, **changes)


def _diverse(items: list[SearchItem], matrix: Any, weight: float) -> list[SearchItem]:
    matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    chosen = mmr([item.score for item in items], matrix, k=len(items), weight=weight)
    return [_scored(items[place], 1 - rank / len(items)) for rank, place in enumerate(chosen)]


def mmr(relevance: list[float], vectors: Any, *, k: int, weight: float) -> list[int]:
    """Return k positions: next is the most relevant that is least like those chosen before.

    weight: 1 looks at relevance only, 0 at difference only. vectors: float32 (n, dim) of unit length.
    Source: Carbonell and Goldstein 1998.
    """
    left = np.ones(len(relevance), bool)
    base = weight * np.asarray(relevance, np.float64)
    nearest = np.zeros(len(relevance))
    chosen: list[int] = []
    while len(chosen) < min(k, len(relevance)):
        gains = np.where(left, base - (1 - weight) * nearest, -np.inf)
        best = int(np.argmax(gains))
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return chosen
