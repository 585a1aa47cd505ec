"""Random numbers by counting."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paceline.generate.randomness import choice_seed, uniform

seeds = st.integers(-(2**70), 2**70)


@given(seeds, st.integers(0, 10**9))
def test_a_number_lies_in_the_unit_interval_and_follows_from_seed_and_position(seed: int, position: int):
    number = uniform(seed, position)

    assert 0.0 <= number < 1.0
    assert uniform(seed, position) == number


def test_numbers_are_spread_evenly_over_positions_and_over_seeds():
    """Deciles of 20,000 numbers hold a tenth each, to four standard deviations."""
    for numbers in ([uniform(7, place) for place in range(20_000)], [uniform(s, 0) for s in range(20_000)]):
        counts, _ = np.histogram(numbers, bins=10, range=(0, 1))
        assert np.abs(counts - 2000).max() < 4 * np.sqrt(2000 * 0.9)


def test_neighbouring_places_and_seeds_do_not_go_together():
    table = np.array([[uniform(seed, place) for place in range(300)] for seed in range(300)])

    assert abs(np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]) < 0.015
    assert abs(np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]) < 0.015


def test_no_seed_is_another_one_shifted():
    """A plain counter would give seed + step the same numbers one place later."""
    shifted = 5 + 0x9E3779B97F4A7C15

    assert uniform(shifted, 0) != uniform(5, 1)


def test_the_numbers_are_the_same_for_ever():
    """A seed that gave one text gives it after an upgrade, too."""
    assert [uniform(42, place) for place in range(3)] == [
        0.9557467261317436,
        0.48634953628166855,
        0.06735789320333596,
    ]


@given(seeds)
def test_choices_of_one_request_have_their_own_seeds(seed: int):
    assert len({choice_seed(seed, index) for index in range(128)}) == 128
    assert uniform(choice_seed(seed, 0), 3) == uniform(seed, 3)


def test_without_a_seed_nobody_can_foresee_it():
    assert choice_seed(None, 0) != choice_seed(None, 0)
