"""An A/B in the words of a report."""

from __future__ import annotations

import pytest

from paceline.base.slo import Objective
from paceline.tune.ab import AbResult, Side
from paceline.tune.ab_summary import summary
from paceline.tune.goal import Goal
from paceline.tune.report import Range
from paceline.tune.statistics.always_valid import Change

P99 = Objective("p99_ms", "p99 latency", 100, 200, "ms")


def outcome(score_a: float | None, score_b: float | None, change: Change) -> AbResult:
    sides = (Side(score, {"p99_ms": 60.0}, 0.0, 0.0, []) for score in (score_a, score_b))
    return AbResult(change, *sides, [], "better after 8 blocks", 1)


def test_latency_is_called_by_the_objective_that_it_is_about():
    """The objective's own value stands, the score does not replace it."""
    told = summary(outcome(61.0, 48.0, Change("better", 8, -0.2, -0.25, -0.15)), Goal((P99,)), 0.02)

    assert (told.metric, told.verdict, told.margin) == ("p99_ms", "better", 0.02)
    assert told.change == Range(-0.2, -0.25, -0.15)
    assert told.baseline_values == {"p99_ms": 60.0}


def test_cost_stands_beside_the_objectives():
    """CPU seconds of a good request."""
    told = summary(outcome(0.02, 0.01, Change("better", 8, -0.5, -0.6, -0.4)), Goal((P99,), "cost"), 0.02)

    assert told.candidate_values == {"p99_ms": 60.0, "cpu_s": 0.01}


def test_more_good_requests_are_a_positive_change():
    """A score 20 % smaller is a rate 25 % larger, and the ends of the interval change places."""
    change = Change("better", 8, -0.2, -0.5, -0.1)
    told = summary(outcome(-100.0, -125.0, change), Goal((P99,), "throughput"), 0.02)

    assert told.baseline_values["good_per_s"] == 100
    assert (told.change.value, told.change.low, told.change.high) == pytest.approx((0.25, 1 / 9, 1.0))
