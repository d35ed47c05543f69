"""Merging the rankings of the vector arm and the keyword arm.

    rrf       sum of 1 / (k + rank) over the arms, divided by its best possible value: first in every arm; equal scores
              have equal ranks
    weighted  sum of weight times min-max score over the arms, weights normalised; what an arm did not find has score 0

Source of rrf: Cormack, Clarke and Buettcher 2009.
"""

from __future__ import annotations

from collections.abc import Mapping

Arms = Mapping[str, Mapping[int, float]]


def reciprocal(arms: Arms, *, k: int) -> dict[int, float]:
    """Return the fused score, 0 to 1, of every key. arms: name -> key -> score, better is higher."""
    best = len(arms) / (k + 1)
    fused: dict[int, float] = {}
    for scores in arms.values():
        rank, before = 0, None
        for place, key in enumerate(sorted(scores, key=scores.__getitem__, reverse=True), 1):
            if scores[key] != before:
                rank, before = place, scores[key]
            fused[key] = fused.get(key, 0.0) + 1 / (k + rank) / best
    return fused


def weighted(arms: Arms, weights: Mapping[str, float]) -> dict[int, float]:
    """Return the fused score, 0 to 1, of every key; an arm without a stated weight counts nothing."""
    keys = len(set().union(*arms.values()))
    total = sum(weights.get(name, 0.0) for name in arms) or 1.0
    fused: dict[int, float] = {}
    for name, scores in arms.items():
        if not scores:
            continue
        low = min(scores.values()) if len(scores) == keys else 0.0
        high = max(scores.values())
        for key, score in scores.items():
            part = (score - low) / (high - low) if high > low else float(high > 0)
            fused[key] = fused.get(key, 0.0) + part * weights.get(name, 0.0) / total
    return fused
