"""Stopping when the interval is narrow enough, without making it a lie."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from paceline.measure.statistics.interval import quantile_interval
from paceline.measure.statistics.sequential import look, narrow_enough, next_look, stopping_level
from queues import response_times, true_quantile


def test_looks_double():
    """However many requests have been done by then."""
    assert [next_look(seen) for seen in (0, 999, 1_000, 3_500)] == [1_000, 1_000, 2_000, 4_000]


def stopped(row, precision):
    """The look at which the run ends, or None."""
    size = next_look(0)
    while size <= len(row):
        seen = look(row[:size], 0.95, precision)
        if seen.stop:
            return seen
        size = next_look(size)
    return None


@pytest.mark.parametrize(
    ("utilisation", "precision", "most"), [(0.0, 0.05, 16_000), (0.5, 0.15, 16_000), (0.7, 0.15, 64_000)]
)
def test_covers_when_it_stops(utilisation, precision, most):
    """Independent samples and queues started empty, 120 runs: at least 90 % of the intervals at stopping hold."""
    if utilisation:
        runs = response_times(utilisation, samples=most, repetitions=120, seed=15)
        truth = true_quantile(utilisation, 0.95)
    else:
        runs = np.random.default_rng(1).standard_exponential((120, most))
        truth = -log(0.05)
    found = [seen.interval for row in runs if (seen := stopped(row.tolist(), precision))]

    assert len(found) >= 0.8 * 120
    assert sum(interval.low <= truth <= interval.high for interval in found) >= 0.9 * len(found)
    assert all(interval.enough for interval in found)


def test_stops_no_sooner_than_asked():
    """5 % needs about 9 times the samples of 15 %."""
    values = np.random.default_rng(2).standard_exponential(4_000).tolist()

    assert narrow_enough(values, 0.95, 0.15)
    assert not narrow_enough(values, 0.95, 0.02)


def test_decides_at_a_stricter_level_than_it_shows():
    """Two neighbouring looks share the error."""
    values = np.random.default_rng(2).standard_exponential(4_000).tolist()

    assert stopping_level(0.95) == pytest.approx(0.975)
    assert look(values, 0.5, 0.1).precision > 0.9 * quantile_half(values)


def quantile_half(values):
    """Relative half-width of the plain interval of the median."""
    plain = quantile_interval(values, 0.5)
    return (plain.high - plain.low) / 2 / plain.value


def test_never_stops_on_a_handful_or_at_zero():
    """No interval, no stop; no relative width of nothing."""
    assert look([1.0, 2.0], 0.95, 0.5).precision is None
    assert not narrow_enough([0.0] * 2_000, 0.5, 0.5)
