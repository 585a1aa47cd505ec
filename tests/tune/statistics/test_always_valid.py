"""The interval holds at every look, whatever the machine does, and the verdict is read from it."""

from __future__ import annotations

from math import exp, inf, log, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine_noise import MEASURED, QUIET, ROUGH
from paceline.base.errors import ConfigError
from paceline.tune.statistics.always_valid import FAILED, AbTest, always_valid, centre, fewest_blocks


def differences(noise, rng, blocks, change=0.0):
    """Log score of B minus that of A; a coin says which half of the block is whose."""
    first, second = noise.runs(rng, 2 * blocks).reshape(blocks, 2).T
    return change + np.where(rng.random(blocks) < 0.5, second - first, first - second)


def looks(seen):
    """The interval after each block."""
    return [always_valid(seen[:blocks]) for blocks in range(fewest_blocks(), len(seen) + 1)]


def test_covers_at_every_look():
    """80 tests of 16 blocks on a rough machine: one in twenty may miss once."""
    rng = np.random.default_rng(5)
    change = log(0.8)
    missed = sum(
        not all(low <= change <= high for low, high in looks(differences(ROUGH, rng, 16, change)))
        for _ in range(80)
    )

    assert missed <= 4


@pytest.mark.slow
@pytest.mark.parametrize("noise", [QUIET, MEASURED, ROUGH], ids=["quiet", "measured", "rough"])
def test_covers_at_every_look_of_hundreds_of_tests(noise):
    """At 30 blocks, 400 tests; 0.95 less three standard errors."""
    rng = np.random.default_rng(6)
    covered = sum(
        all(low <= -0.1 <= high for low, high in looks(differences(noise, rng, 30, -0.1))) for _ in range(400)
    )

    assert covered >= 0.917 * 400


def test_the_coin_alone_is_enough():
    """Noise without a mean, drifting away by a factor in each block: still no more than one false verdict in 20."""
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(60):
        places = np.cumsum(rng.standard_cauchy(40)).reshape(20, 2)
        seen = np.where(rng.random(20) < 0.5, 1, -1) * (places[:, 1] - places[:, 0] + 0.7)
        wrong += any(not low <= 0 <= high for low, high in looks(seen))

    assert wrong <= 3


def test_is_narrow_when_the_machine_is_quiet():
    """8 % from run to run: +- 10 % after 15 blocks and +- 7 % after 30, at worst a third more."""
    rng = np.random.default_rng(8)
    rows = [differences(QUIET, rng, 30) for _ in range(20)]

    def half(blocks):
        return np.median([np.subtract(*always_valid(row[:blocks])[::-1]) / 2 for row in rows])

    assert half(15) < 0.13
    assert half(30) < 0.09


def test_an_outlier_costs_a_few_blocks_however_large():
    """Nine that agree bound the change; with an outlier among them it takes fourteen, and then the outlier's size is nothing."""
    plain = list(0.01 * np.random.default_rng(9).standard_normal(13) - 0.2)

    def above(outlier, blocks):
        return always_valid([*plain[:3], outlier, *plain[3:]][:blocks])[1]

    assert always_valid(plain[:9])[1] < -0.18
    assert above(0.4, 10) > 0.0
    assert above(0.4, 14) < -0.18
    assert above(FAILED, 14) == pytest.approx(above(0.4, 14), abs=1e-3)


@given(st.lists(st.floats(-0.5, 0.5).map(lambda x: round(x, 3)), min_size=6, max_size=12), st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_swapping_sides_mirrors_the_interval_and_a_change_shifts_it(seen, change):
    """Nothing favours A, B or 0."""
    low, high = always_valid(seen)
    mirrored = always_valid([-each for each in seen])
    shifted = always_valid([each + change for each in seen])

    assert low <= high
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
    assert shifted == pytest.approx((low + change, high + change), abs=0.01)


def test_a_stricter_level_is_wider():
    """And needs more blocks before it says anything."""
    seen = list(differences(QUIET, np.random.default_rng(3), 20))
    (low, high), (lower, higher) = always_valid(seen, 0.9), always_valid(seen, 0.99)

    assert lower < low < high < higher
    assert [fewest_blocks(level) for level in (0.9, 0.95, 0.99)] == [5, 6, 8]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_blocks_bound_nothing(count):
    """Five coins that agree are no rarer than 1 in 16."""
    assert always_valid([-0.5] * count) == (-inf, inf)


def test_refuses_what_is_no_number():
    """A failed segment must have been given its place before."""
    with pytest.raises(ValueError, match="must be finite"):
        always_valid([0.0, nan])
    with pytest.raises(ValueError, match="not a number"):
        AbTest().add(nan, 0.0)


def fed(*pairs):
    """A test after these blocks."""
    test = AbTest()
    for a, b in pairs:
        test.add(a, b)
    return test


@pytest.mark.parametrize(("factor", "outcome"), [(0.7, "better"), (1.4, "worse"), (1.001, "equivalent")])
def test_verdicts(factor, outcome):
    """With blocks that hardly differ; relative to A."""
    jitter = np.random.default_rng(4).normal(0, 0.005, 12)
    change = fed(*[(0.0, log(factor) + each) for each in jitter]).verdict(0.05)

    assert change.outcome == outcome
    assert change.low < factor - 1 < change.high
    assert change.value == pytest.approx(factor - 1, abs=0.01)
    assert (change.blocks, change.level) == (12, 0.95)


def test_undecided_until_the_blocks_say_something():
    """No interval at first, then one that is too wide."""
    assert fed().verdict().outcome == "undecided"
    assert fed((0.0, -1.0)).verdict().low is None
    noisy = fed(*[(0.0, each) for each in np.random.default_rng(1).normal(0, 0.2, 10)]).verdict()

    assert noisy.outcome == "undecided"
    assert noisy.low < -0.05


def test_a_surely_tiny_gain_is_no_gain():
    """2 % with an interval inside the margin of 5 %."""
    jitter = np.random.default_rng(4).normal(0, 0.002, 20)
    change = fed(*[(0.0, log(0.98) + each) for each in jitter]).verdict(0.05)

    assert change.high < 0
    assert change.outcome == "equivalent"


def test_a_side_that_fails_loses_the_block():
    """By more than any measurement; blocks that both lose say nothing."""
    test = fed(*[(0.0, inf)] * 10, (inf, inf))

    assert test.verdict().outcome == "worse"
    assert (test.verdict().blocks, test.lost) == (10, 1)
    assert fed(*[(inf, 0.0)] * 10).verdict().outcome == "better"


def test_the_centre_shrugs_off_an_outlier():
    """Where the mean would say 100 %."""
    assert centre([0.1, 0.1, 0.1, 0.1, 7.0]) == pytest.approx(0.1)
    assert centre([log(2)] * 3) == pytest.approx(log(2))
    assert exp(centre([0.0])) == 1


@pytest.mark.parametrize("level", [0.2, 1.0])
def test_refuses_a_level_that_is_none(level):
    """With an example."""
    with pytest.raises(ConfigError, match="level"):
        AbTest(level)


@pytest.mark.parametrize("margin", [-0.1, 5.0])
def test_refuses_a_margin_that_is_no_share(margin):
    """5 meant as 5 %, perhaps."""
    with pytest.raises(ConfigError, match=r"0\.05 for 5 %"):
        AbTest().verdict(margin)
