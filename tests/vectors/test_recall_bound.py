"""A bound that is below the mean as often as it says, and close to it."""

from __future__ import annotations

import numpy as np
import pytest

from paceline.vectors.recall_bound import lower_bound


def shares(draw: np.random.Generator, count: int, miss: float) -> np.ndarray:
    """Like recall@10: most queries find all, some of the others miss much."""
    missing = draw.random(count) < miss
    return np.where(missing, draw.choice([0.9, 0.8, 0.5, 0.0], count, p=[0.7, 0.2, 0.07, 0.03]), 1.0)


@pytest.mark.parametrize("count", [100, 1000])
@pytest.mark.parametrize("miss", [0.01, 0.1, 0.5])
def test_the_bound_is_above_the_mean_no_more_often_than_allowed(count: int, miss: float) -> None:
    """One time in twenty at most, by the mean of very many."""
    draw = np.random.default_rng(int(count + 100 * miss))
    mean = shares(draw, 1_000_000, miss).mean()

    wrong = sum(lower_bound(shares(draw, count, miss)) > mean for _ in range(300))

    assert wrong <= 300 * 0.05 + 8


def test_the_bound_is_close_to_the_mean() -> None:
    """Half a percent at 1,000 queries of recall 0.995; a perfect 500 prove 0.99."""
    draw = np.random.default_rng(1)

    assert lower_bound(shares(draw, 1000, 0.03)) > shares(draw, 1_000_000, 0.03).mean() - 0.006
    assert lower_bound(np.ones(500)) > 0.99


def test_more_queries_and_less_confidence_bring_it_closer() -> None:
    """At the same mean."""
    few, many = np.tile([1.0, 1.0, 1.0, 0.9], 50), np.tile([1.0, 1.0, 1.0, 0.9], 500)

    assert 0 < lower_bound(few, 0.99) < lower_bound(few, 0.95) < lower_bound(many, 0.95) < 0.975


def test_nothing_measured_promises_nothing() -> None:
    """As does nothing found."""
    assert lower_bound([]) == 0.0
    assert lower_bound(np.zeros(500)) == pytest.approx(0.0, abs=1e-6)
