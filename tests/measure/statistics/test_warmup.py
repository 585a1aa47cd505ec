"""MSER-5."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.statistics.warmup import mser5


def plain_twin(values):
    """The definition, in quadratic time."""
    means = np.asarray(values[: len(values) // 5 * 5]).reshape(-1, 5).mean(axis=1)
    errors = [means[cut:].var() / (len(means) - cut) for cut in range(len(means) // 2 + 1)]
    return 5 * int(np.argmin(errors))


@given(st.integers(0, 10_000), st.integers(50, 400), st.floats(0, 20))
def test_agrees_with_its_definition(seed, count, decay):
    """One pass and the textbook cut at the same sample."""
    noise = random.Random(seed)
    values = [noise.gauss(100, 5) + 100 * 0.5 ** (index / (decay + 0.1)) for index in range(count)]

    assert mser5(values) == plain_twin(values)


def test_cuts_a_slow_start_and_little_more():
    """300 slow requests, then steady ones."""
    noise = random.Random(1)
    values = [noise.gauss(300 if index < 300 else 100, 10) for index in range(4_000)]

    assert 300 <= mser5(values) <= 400


def test_never_cuts_more_than_half():
    """A warm-up as long as the run is the trend test's to tell."""
    assert mser5([1000.0 - index for index in range(1_000)]) <= 500


def test_leaves_a_handful_alone():
    """Nothing to learn from 49 values."""
    assert mser5([1e9, *[1.0] * 48]) == 0
    assert mser5([]) == 0


def test_cuts_nothing_of_a_constant():
    """No noise, no warm-up."""
    assert mser5([12.5] * 1_000) == 0
