"""Another order for what was found: maximal marginal relevance, or a function of the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from llmspell.errors import InvalidArgument

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
                "rerank is 'mmr', 'none', {type='mmr', lambda=0.3} or a function",
                details={"name": "rerank", "value": str(given)},
            )
        self.kind = str(stated["type"])
        weight = stated.get("lambda", MMR_LAMBDA)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise InvalidArgument(f"rerank: lambda is a number from 0 to 1, got {weight!r}", details={"name": "lambda"})
        self.weight = float(weight)


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
