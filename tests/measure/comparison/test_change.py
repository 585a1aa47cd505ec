"""One difference: its interval from two others, and the verdict on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.comparison.change import Quantity, judge, mover
from paceline.measure.report import Estimate


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [
        (0.06, 0.08, 0.10, "slower"),
        (0.02, 0.06, 0.10, "slower"),
        (-0.10, -0.08, -0.06, "faster"),
        (-0.04, 0.00, 0.04, "equivalent"),
        (0.01, 0.02, 0.03, "equivalent"),  # sure, but it does not matter
        (-0.05, 0.00, 0.05, "equivalent"),
        (0.01, 0.04, 0.07, "inconclusive"),  # sure, and perhaps it matters
        (-0.01, 0.06, 0.13, "inconclusive"),
        (-0.20, 0.00, 0.20, "inconclusive"),
    ],
)
def test_the_verdict_at_a_margin_of_five_per_cent(low, value, high, verdict):
    assert judge(Estimate(value, low, high), 0.05) == verdict


def test_more_is_better_where_the_quantity_says_so():
    assert judge(Estimate(0.2, 0.1, 0.3), 0.05, higher_is_better=True) == "faster"
    assert judge(Estimate(-0.2, -0.3, -0.1), 0.05, higher_is_better=True) == "slower"


@pytest.mark.parametrize("unknown", [Estimate(), Estimate(0.2), Estimate(0.2, None, 0.3)])
def test_without_an_interval_there_is_no_verdict(unknown):
    assert judge(unknown, 0.05) == "inconclusive"


def test_symmetric_intervals_add_as_errors_do():
    found = mover(Estimate(100.0, 97.0, 103.0), Estimate(110.0, 106.0, 114.0))

    assert (found.value, found.low, found.high) == pytest.approx((10.0, 5.0, 15.0))
    assert (found.relative, found.relative_low, found.relative_high) == pytest.approx((0.1, 0.05, 0.15))
    assert found.detectable == pytest.approx(5.0 * (1.96 + 0.8416) / 1.96, rel=1e-4)


def test_skewed_intervals_keep_their_skew():
    found = mover(Estimate(100.0, 99.0, 104.0), Estimate(100.0, 99.0, 104.0))

    assert (found.low, found.high) == pytest.approx((-(17**0.5), 17**0.5))
    found = mover(Estimate(100.0, 100.0, 100.0), Estimate(110.0, 109.0, 114.0))
    assert (found.low, found.high) == pytest.approx((9.0, 14.0))


numbers = st.floats(0.001, 1e6)


@given(numbers, numbers, st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_interval_holds_the_difference(a, b, below, above):
    found = mover(*(Estimate(x, x * (1 - below), x * (1 + above)) for x in (a, b)))

    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (Estimate(reason="12 samples"), Estimate(1.0, 0.9, 1.1), "12 samples"),
        (Estimate(1.0, 0.9, 1.1), Estimate(1.0, reason="few windows"), "few windows"),
        (Estimate(), Estimate(), "not measured in both runs"),
        (Estimate(1.0), Estimate(1.0), "no interval of both runs"),
    ],
)
def test_what_is_missing_is_said(a, b, reason):
    found = mover(a, b)

    assert (found.low, found.high, found.reason) == (None, None, reason)


def test_nothing_is_relative_to_nothing():
    zero = Estimate(0.0, 0.0, 0.1)
    share = Quantity("x", "x", "ms", decides=True).estimated(zero, zero, 0.05)
    points = Quantity("x", "x", "%", decides=True, in_points=True).estimated(zero, zero, 0.5)

    assert (share.relative.value, share.verdict, points.verdict) == (None, "inconclusive", "equivalent")
