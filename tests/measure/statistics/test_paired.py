"""Comparing two runs."""

from __future__ import annotations

import numpy as np
import pytest

from paceline.base.errors import ConfigError
from paceline.measure.statistics.paired import paired, unpaired

REPETITIONS = 200


def queue(gaps, service):
    """(runs, requests) response times; both arguments are (requests, runs)."""
    wait = np.zeros(gaps.shape[1])
    times = np.empty_like(service)
    for row, (gap, work) in enumerate(zip(gaps, service, strict=True)):
        times[row] = wait + work
        wait = np.maximum(wait + work - gap, 0.0)
    return times.T


@pytest.fixture(scope="module")
def runs():
    """One trace at utilisation 0.5 served three times, the third 10 % slower, and another trace; 20 % own noise."""
    random = np.random.default_rng(12)
    shape = (4_000, REPETITIONS)
    gaps, work = random.standard_exponential(shape) / 0.5, random.standard_exponential(shape)

    def own():
        return random.lognormal(-0.02, 0.2, shape)

    first, again = queue(gaps, work * own()), queue(gaps, work * own())
    slower = queue(gaps, work * own() * 1.1)
    other = queue(random.standard_exponential(shape) / 0.5, random.standard_exponential(shape) * own())
    return first, again, slower, other


@pytest.mark.parametrize("q", [None, *(pytest.param(q, marks=pytest.mark.slow) for q in (0.5, 0.95))])
def test_the_same_server_is_seldom_called_different(runs, q):
    """Nominal 5 %, at most 7 % of 200 repetitions."""
    first, again, _, _ = runs
    alarms = sum(paired(a.tolist(), b.tolist(), q).different for a, b in zip(first, again, strict=True))

    assert alarms <= 0.07 * REPETITIONS


@pytest.mark.parametrize("q", [None, 0.5, 0.95])
def test_the_same_server_on_other_traces_is_seldom_called_different(runs, q):
    """Unpaired: nominal 5 %."""
    first, _, _, other = runs
    alarms = sum(unpaired(a.tolist(), b.tolist(), q).different for a, b in zip(first, other, strict=True))

    assert alarms <= 0.1 * REPETITIONS


@pytest.mark.parametrize(("q", "least"), [(None, 0.95), (0.95, 0.85)])
def test_a_tenth_slower_is_found(runs, q, least):
    """And its direction; queueing makes more than a tenth of it."""
    first, _, slower, _ = runs
    found = [paired(a.tolist(), b.tolist(), q) for a, b in zip(first[:30], slower[:30], strict=True)]

    assert sum(difference.different and difference.value > 0 for difference in found) >= least * 30
    assert all(d.relative_low <= d.relative <= d.relative_high for d in found if d.relative)


@pytest.mark.parametrize("q", [None, 0.5, 0.95])
def test_pairing_pays(runs, q):
    """What the trace does to both cancels: under half as wide, half the detectable effect."""
    first, again, _, other = runs
    together = [paired(a.tolist(), b.tolist(), q) for a, b in zip(first[:30], again[:30], strict=True)]
    apart = [unpaired(a.tolist(), b.tolist(), q) for a, b in zip(first[:30], other[:30], strict=True)]
    together, apart = ([d for d in found if d.low is not None] for found in (together, apart))
    width = np.mean([d.high - d.low for d in together]) / np.mean([d.high - d.low for d in apart])

    assert width < 0.5
    assert np.mean([d.detectable for d in together]) < 0.5 * np.mean([d.detectable for d in apart])


@pytest.mark.slow
def test_an_effect_of_the_detectable_size_is_found_four_times_in_five(runs):
    """The promise of `detectable`, for a shift of the mean."""
    first, again, _, _ = runs
    size = np.mean([paired(a.tolist(), b.tolist()).detectable for a, b in zip(first, again, strict=True)])
    found = sum(paired(a.tolist(), (b + size).tolist()).different for a, b in zip(first, again, strict=True))

    assert 0.7 <= found / REPETITIONS <= 0.92


def test_the_interval_of_a_known_shift_covers_it(runs):
    """Exactly half a unit added to every request of the second run."""
    first, again, _, _ = runs
    found = [paired(a.tolist(), (b + 0.5).tolist()) for a, b in zip(first, again, strict=True)]

    assert sum(d.low <= 0.5 <= d.high for d in found) >= 0.9 * REPETITIONS


@pytest.mark.parametrize("q", [None, 0.5, 0.95])
def test_a_run_does_not_differ_from_itself(runs, q):
    """No noise between the pairs, no interval to speak of."""
    row = runs[0][0].tolist()
    same = paired(row, row, q)

    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.different


def test_the_same_seed_says_the_same(runs):
    """A comparison can be repeated to the last digit."""
    a, b = runs[0][0].tolist(), runs[2][0].tolist()

    assert paired(a, b, 0.95) == paired(a, b, 0.95)


def test_what_cannot_be_compared_says_why():
    """Too few pairs; a tail too thin; pairs that are none."""
    values = np.random.default_rng(1).standard_exponential(200).tolist()

    assert paired(values[:20], values[:20]).reason == "20 samples, an interval needs 96 or more"
    assert "p99 needs 1,000" in paired(values, values, 0.99).reason
    assert "p99 needs 1,000" in unpaired(values, values, 0.99).reason
    with pytest.raises(ConfigError, match="give the pairs that both runs answered"):
        paired(values, values[:-1])


def test_a_value_of_zero_has_no_relative_difference():
    """Absolute only."""
    zeros, ones = [0.0] * 200, [1.0] * 200

    assert paired(zeros, ones).relative is None
    assert paired(zeros, ones).value == 1.0
    assert unpaired(zeros, ones).relative is None
