"""Steady state, or not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from paceline.measure.statistics.trend import trend
from paceline.measure.statistics.warmup import mser5
from queues import response_times


def seen(runs, *, cut=False):
    """How often each answer was given."""
    rows = runs.tolist()
    return Counter(trend(row[mser5(row) :] if cut else row) for row in rows)


@pytest.mark.parametrize("service", ["exponential", "lognormal", "bimodal"])
@pytest.mark.parametrize("start", ["steady", "empty"])
def test_a_stationary_busy_queue_raises_no_alarm(service, start):
    """Utilisation 0.8, 200 runs: at most 5 % by design, and 3.4 standard errors of luck."""
    runs = response_times(
        0.8, samples=6_000, repetitions=200, service=service, seed=3, skip=3_000 if start == "steady" else 0
    )
    answers = seen(runs, cut=start == "empty")

    assert answers["steady"] >= 200 * 0.95 - 10


@pytest.mark.parametrize(("utilisation", "least"), [(1.05, 0.75), (1.2, 0.98)])
def test_a_growing_queue_is_found(utilisation, least):
    """Overload by 5 % and 20 %, 16,000 requests, warm-up cut."""
    answers = seen(response_times(utilisation, samples=16_000, repetitions=60, seed=4), cut=True)

    assert answers["rising"] >= 60 * least


def test_a_service_that_slows_down_is_found():
    """Half as slow again by the end, at utilisation 0.5."""
    runs = response_times(0.5, samples=16_000, repetitions=60, seed=5, skip=1_000)
    answers = seen(runs * np.linspace(1.0, 1.5, 16_000))

    assert answers["rising"] >= 50


def test_a_falling_level_has_its_own_name():
    """A warm-up longer than half the run."""
    noise = np.random.default_rng(1).normal(0, 1, 2_000)

    assert trend((np.linspace(200, 100, 2_000) + noise).tolist()) == "falling"


def test_a_sure_but_small_drift_is_steady_enough():
    """1 % over the run, seen beyond doubt, is not what the word means."""
    assert trend([100 + index / 1_000 for index in range(1_000)]) == "steady"


def test_few_values_say_nothing():
    """Below 200."""
    assert trend([1.0] * 199) == "unknown"
    assert trend([1.0] * 200) == "steady"
