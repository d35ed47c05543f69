"""Fusion: best is one, equal scores rank equal, weights choose."""

import pytest

from llmspell.vectors import fuse


def test_first_in_every_arm_is_one():
    assert fuse.reciprocal({"a": {1: 0.9, 2: 0.1}, "b": {1: 5.0}}, k=60)[1] == pytest.approx(1.0)


def test_equal_scores_have_equal_ranks():
    fused = fuse.reciprocal({"a": {1: 0.5, 2: 0.5, 3: 0.1}}, k=60)
    assert fused[1] == fused[2] == pytest.approx(1.0)
    assert fused[3] == pytest.approx(61 / 63)


def test_weights_are_normalised_and_missing_counts_nothing():
    fused = fuse.weighted(
        {"vector": {1: 0.2, 2: 0.8, 3: 0.5}, "keyword": {1: 0.4, 3: 0.2}}, {"vector": 3, "keyword": 1}
    )
    assert fused == {1: pytest.approx(0.25), 2: pytest.approx(0.75), 3: pytest.approx(0.375 + 0.125)}


def test_an_arm_without_hits_changes_nothing():
    assert fuse.weighted({"vector": {1: 1.0}, "keyword": {}}, {"vector": 1, "keyword": 1}) == {1: 0.5}
