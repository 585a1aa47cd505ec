"""Slopes that wild values cannot bend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.statistics.theil_sen import theil_sen, thin


@given(st.floats(-5, 5), st.floats(-100, 100), st.integers(8, 300))
def test_a_straight_line_is_its_own_slope(slope, level, count):
    """Whatever the number of points."""
    found = theil_sen([float(at) for at in range(count)], [level + slope * at for at in range(count)])

    assert found.per_s == pytest.approx(slope, abs=1e-9)
    assert found.low == pytest.approx(slope, abs=1e-9)
    assert found.high == pytest.approx(slope, abs=1e-9)


def test_a_quarter_of_wild_values_does_not_matter():
    """Least squares would follow them."""
    random = np.random.default_rng(1)
    at = np.arange(100.0)
    values = 0.2 * at + random.normal(0, 0.1, 100)
    values[random.choice(100, 25, replace=False)] += 1_000

    assert theil_sen(at.tolist(), values.tolist()).per_s == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("count", "phi"), [(60, 0.0), (60, 0.9), (600, 0.9), (3_600, 0.9), (3_600, 0.5)])
def test_the_interval_covers_the_slope_under_autocorrelated_noise(count, phi):
    """Nominal 95 %, 100 runs; 6 misses more would be 2.8 standard errors."""
    random = np.random.default_rng(count)
    covered = 0
    for _ in range(100):
        noise = random.standard_normal(count + 100).tolist()
        level, levels = 0.0, []
        for value in noise:
            level = phi * level + value
            levels.append(level)
        values = [0.01 * at + value for at, value in enumerate(levels[100:])]
        found = theil_sen(list(range(count)), values)
        covered += found.low <= 0.01 <= found.high

    assert covered >= 89


def test_thinning_takes_medians_of_neighbours():
    """One wild value disappears."""
    at, values = thin([0, 1, 2, 3, 4, 5], [1, 1, 99, 2, 2, 2], 2)

    assert at == [1, 4]
    assert values == [1, 2]


def test_few_points_have_no_slope():
    """And say how many it takes."""
    found = theil_sen([0.0, 1.0], [1.0, 2.0])

    assert found.per_s is None
    assert found.reason == "2 points, a slope needs 8 or more"
