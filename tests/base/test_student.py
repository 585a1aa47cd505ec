"""Student's t without SciPy."""

from __future__ import annotations

from math import isclose, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.student import t_quantile, t_upper_tail


@pytest.mark.parametrize(
    ("probability", "df", "expected"),
    [
        (0.975, 1, 12.7062047362),
        (0.975, 2, 4.3026527297),
        (0.975, 5, 2.5705818356),
        (0.975, 10, 2.2281388520),
        (0.975, 30, 2.0422724563),
        (0.95, 7, 1.8945786051),
        (0.995, 23, 2.8073356838),
        (0.9995, 4, 8.6103015814),
        (0.975, 120, 1.9799304051),
        (0.975, 1e9, 1.9599639845),
    ],
)
def test_agrees_with_the_tables(probability, df, expected):
    """Published values (NIST, tables of the t distribution)."""
    assert t_quantile(probability, df) == pytest.approx(expected, abs=1e-6)


@given(st.floats(0.5001, 0.9999))
def test_two_degrees_of_freedom_have_a_closed_form(probability):
    """t = (2p - 1) sqrt(2 / (4 p (1 - p)))."""
    exact = (2 * probability - 1) * sqrt(2 / (4 * probability * (1 - probability)))

    assert isclose(t_quantile(probability, 2), exact, rel_tol=1e-8, abs_tol=1e-9)


@given(st.floats(0.001, 0.999), st.floats(1, 500))
def test_is_the_inverse_of_the_tail_and_symmetric(probability, df):
    """P(T > t) is what t was asked for."""
    t = t_quantile(probability, df)

    assert t == pytest.approx(-t_quantile(1 - probability, df), rel=1e-6, abs=1e-9)
    assert t_upper_tail(abs(t), df) == pytest.approx(min(probability, 1 - probability), rel=1e-6)


@pytest.mark.parametrize(("probability", "df"), [(0.0, 5), (1.0, 5), (0.9, 0.5)])
def test_refuses_what_has_no_quantile(probability, df):
    """No probability of 0 or 1, no fraction of a degree."""
    with pytest.raises(ValueError, match="needs a probability"):
        t_quantile(probability, df)
