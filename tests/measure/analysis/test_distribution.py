"""Quantiles with intervals, from values and from histograms; bins for drawing."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.analysis.distribution import (
    BINS,
    QUANTILES,
    bins,
    distribution,
    empty,
    from_stretches,
    withheld,
)
from paceline.measure.records.histogram import Histogram

LATENCIES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300)


def exponential(number, mean=10.0, seed=1):
    draw = random.Random(seed)
    return [draw.expovariate(1 / mean) for _ in range(number)]


def stretches(values, size):
    """One histogram for each `size` values, ms to ns."""
    found = []
    for start in range(0, len(values), size):
        histogram = Histogram()
        for value in values[start : start + size]:
            histogram.record(round(value * 1e6))
        found.append(histogram.counts)
    return found


@given(LATENCIES)
def test_values_are_those_of_numpy(values):
    found = distribution(values)

    assert found.count == len(values)
    assert (found.min, found.max) == (min(values), max(values))
    assert found.mean.value == pytest.approx(np.mean(values))
    for name, q in QUANTILES.items():
        assert found.quantiles[name].value == pytest.approx(np.quantile(values, q))
    if len(values) > 1:
        assert found.stddev == pytest.approx(np.std(values, ddof=1), abs=1e-9 * max(values))


def test_enough_independent_values_have_an_interval_around_the_truth():
    found = distribution(exponential(20_000))

    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        estimate = found.quantiles[name]
        assert estimate.low < -10 * math.log(1 - q) < estimate.high
        assert estimate.reason is None
    assert found.effective > 15_000


def test_a_single_value_has_no_spread():
    found = distribution([5.0])

    assert (found.stddev, found.mean.value, found.mean.low) == (None, 5.0, None)
    assert found.histogram == [(5.0, 1)]


def test_a_load_that_changed_gives_values_without_intervals():
    found = distribution(exponential(5_000), constant=False)

    for estimate in [found.mean, *found.quantiles.values()]:
        assert estimate.value is not None
        assert (estimate.low, estimate.high) == (None, None)
        assert "not constant" in estimate.reason


def test_nothing_has_no_quantile():
    for found in (distribution([]), from_stretches([]), from_stretches([{}, {}])):
        assert found == empty("no value")
        assert found.quantiles["p95"].value is None


def test_what_is_withheld_keeps_its_counts_only():
    known = distribution(exponential(1_000))
    found = withheld(known, "run is invalid: late")

    assert (found.count, found.histogram) == (1_000, known.histogram)
    assert {estimate.value for estimate in [found.mean, *found.quantiles.values()]} == {None}
    assert {estimate.reason for estimate in found.quantiles.values()} == {"run is invalid: late"}
    assert (found.min, found.max, found.stddev) == (None, None, None)


# -- from histograms


@given(LATENCIES)
def test_histograms_give_the_same_values(values):
    exact, found = distribution(values), from_stretches(stretches(values, 50))

    assert found.count == exact.count
    for name in QUANTILES:
        assert found.quantiles[name].value == pytest.approx(exact.quantiles[name].value, rel=6e-4, abs=1e-6)
    assert found.max == pytest.approx(exact.max, rel=6e-4)
    assert sum(count for _, count in found.histogram) == len(values)


def test_histograms_give_about_the_same_intervals():
    values = exponential(20_000)
    exact, found = distribution(values), from_stretches(stretches(values, 100))

    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        mine, theirs = found.quantiles[name], exact.quantiles[name]
        assert mine.low < -10 * math.log(1 - q) < mine.high
        assert 0.6 < (mine.high - mine.low) / (theirs.high - theirs.low) < 1.7
    assert found.mean.low < 10 < found.mean.high
    assert 10_000 < found.effective <= 20_000


def test_stretches_that_differ_are_worth_fewer_samples():
    """Ten-second spells, alternately fast and slow."""
    spells = [value * (1 if (i // 2_000) % 2 else 3) for i, value in enumerate(exponential(40_000))]
    found, calm = from_stretches(stretches(spells, 100)), from_stretches(stretches(exponential(40_000), 100))

    assert found.effective < calm.effective / 3
    assert found.quantiles["p99"].reason is None or "independent samples" in found.quantiles["p99"].reason


def test_stretches_of_different_size_are_weighed():
    """Half of the stretches hold a tenth of the values."""
    values = exponential(22_000)
    uneven, at = [], 0
    for i in range(400):
        size = 10 if i % 2 else 100
        uneven += stretches(values[at : at + size], size)
        at += size
    found = from_stretches(uneven)

    assert found.quantiles["p95"].low < -10 * math.log(0.05) < found.quantiles["p95"].high


def test_few_stretches_have_no_interval():
    found = from_stretches(stretches(exponential(5_000), 1_000))

    assert found.quantiles["p50"].low is None
    assert "needs 8" in found.quantiles["p50"].reason
    assert found.mean.low is None
    assert from_stretches(stretches(exponential(900), 100)).quantiles["p99"].reason is not None


def test_histograms_of_a_load_that_changed_have_no_intervals():
    found = from_stretches(stretches(exponential(5_000), 100), constant=False)

    assert {estimate.low for estimate in [found.mean, *found.quantiles.values()]} == {None}
    assert found.quantiles["p95"].value is not None


# -- bins


@given(LATENCIES)
def test_bins_hold_every_value_once(values):
    ordered = sorted(values)
    found = bins(ordered)
    edges = [edge for edge, _ in found]

    assert sum(count for _, count in found) == len(values)
    assert len(found) <= BINS
    assert edges == sorted(set(edges))
    assert edges[-1] == ordered[-1]


def test_bins_are_as_wide_as_each_other_on_a_logarithmic_axis():
    edges = [edge for edge, _ in bins(sorted(exponential(10_000)))]
    steps = [math.log(b / a) for a, b in pairwise(edges)]

    assert len(edges) == BINS
    assert steps == pytest.approx([steps[0]] * len(steps))
