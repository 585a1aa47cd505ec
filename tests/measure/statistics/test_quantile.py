"""Quantiles of ordered samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.statistics.quantile import nearest_rank, quantile

SAMPLES = st.lists(st.floats(0, 1e6), min_size=1, max_size=60).map(sorted)


@given(SAMPLES, st.floats(0, 1))
def test_is_type_7_as_numpy_has_it(ordered, q):
    """The default of NumPy and R."""
    assert quantile(ordered, q) == pytest.approx(float(np.quantile(ordered, q)), rel=1e-9, abs=1e-9)


@given(SAMPLES, st.integers(0, 1000))
def test_nearest_rank_is_a_sample_that_so_many_do_not_exceed(ordered, thousandths):
    """The smallest such sample."""
    value = nearest_rank(ordered, thousandths / 1000)

    assert value in ordered
    assert 1000 * sum(sample <= value for sample in ordered) >= thousandths * len(ordered)
    assert 1000 * sum(sample < value for sample in ordered) < max(thousandths * len(ordered), 1)


@pytest.mark.parametrize("find", [quantile, nearest_rank])
def test_nothing_and_beyond_all_are_refused(find):
    """No quantile of nothing; no 101st percentile."""
    with pytest.raises(ValueError, match="no samples"):
        find([], 0.5)
    with pytest.raises(ValueError, match="outside"):
        find([1.0], 1.01)
