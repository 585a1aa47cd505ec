"""The rules of a draw, on the plain twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.generate.draw import WEIGHT, Fault, Shape, draw, weigh
from paceline.generate.randomness import uniform

LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.25, 0.05], np.float32))


def reached(shape: Shape) -> list[int]:
    """Tokens that some random number gives."""
    return sorted({draw(LOGITS, shape, number)[0] for number in np.linspace(0, 1, 997, endpoint=False)})


def test_tokens_lie_side_by_side_by_id():
    """0.1 | 0.4 | 0.2 | 0.25 | 0.05."""
    drawn = [
        draw(LOGITS, Shape(), number)[0] for number in (0.0, 0.09, 0.11, 0.49, 0.51, 0.69, 0.71, 0.94, 0.96)
    ]

    assert drawn == [0, 0, 1, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        (Shape(), [0, 1, 2, 3, 4]),
        (Shape(temperature=0.0), [1]),
        (Shape(temperature=9e-6), [1]),
        (Shape(top_k=1), [1]),
        (Shape(top_k=2), [1, 3]),
        (Shape(top_k=99), [0, 1, 2, 3, 4]),
        (Shape(top_p=0.39), [1]),
        (Shape(top_p=0.41), [1, 3]),
        (Shape(top_p=0.84), [1, 2, 3]),
        (Shape(top_p=0.0), [1]),
        (Shape(min_p=0.49), [1, 2, 3]),
        (Shape(min_p=1.0), [1]),
    ],
)
def test_what_a_cut_keeps(shape: Shape, kept: list[int]):
    assert reached(shape) == kept


def test_top_p_counts_what_top_k_left():
    """Of 0.4, 0.25 and 0.2 the first two are 0.76."""
    assert reached(Shape(top_k=3, top_p=0.75)) == [1, 3]
    assert reached(Shape(top_k=3, top_p=0.77)) == [1, 2, 3]


def test_tokens_as_likely_as_the_last_one_kept_stay_with_it():
    logits = np.array([1, 2, 1, 1], np.float32)

    assert {draw(logits, Shape(top_k=2), number)[0] for number in np.linspace(0, 1, 99, endpoint=False)} == {
        0,
        1,
        2,
        3,
    }


def test_the_lowest_id_wins_among_the_likeliest():
    assert draw(np.array([1, 3, 3], np.float32), Shape(temperature=0), 0.9) == (1, Fault.NONE)


def test_frequencies_are_those_of_the_softmax():
    """20,000 draws at temperature 1.7: each token's share to five standard deviations."""
    tempered = np.exp(LOGITS.astype(np.float64) / 1.7)
    expected = tempered / tempered.sum()
    drawn = [draw(LOGITS, Shape(temperature=1.7), uniform(3, place))[0] for place in range(20_000)]
    shares = np.bincount(drawn, minlength=5) / len(drawn)

    assert np.all(np.abs(shares - expected) < 5 * np.sqrt(expected / len(drawn)))


@given(st.lists(st.floats(-60, 60, width=32), min_size=2, max_size=50), st.floats(0.01, 2))
def test_weights_are_the_softmax_in_whole_numbers(logits: list[float], temperature: float):
    row = np.array(logits, np.float32)
    weights = weigh(row, Shape(temperature=temperature).scale)
    exact = np.exp((row.astype(np.float64) - row.max()) / temperature) * WEIGHT

    assert weights.max() == WEIGHT
    np.testing.assert_allclose(weights, exact, rtol=2e-5, atol=0.6)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([0.0, np.nan], Fault.NOT_A_NUMBER),
        ([np.inf, np.nan], Fault.NOT_A_NUMBER),
        ([0.0, np.inf], Fault.INFINITE),
        ([-np.inf, -np.inf], Fault.NOTHING_LEFT),
    ],
)
def test_a_row_that_is_no_distribution_is_told(row: list[float], fault: Fault):
    assert draw(np.array(row, np.float32), Shape(), 0.5) == (-1, fault)


def test_masked_tokens_are_never_drawn():
    logits = np.array([-np.inf, 0, -np.inf, 0, -np.inf], np.float32)

    assert {draw(logits, Shape(temperature=2), number)[0] for number in np.linspace(0, 1, 99)} == {1, 3}
