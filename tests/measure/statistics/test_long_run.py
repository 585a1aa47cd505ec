"""The variance of the mean of autocorrelated samples."""

from __future__ import annotations

import numpy as np
import pytest

from paceline.measure.statistics.long_run import cell_count, inflation, lag_one, long_run, merge


@pytest.mark.parametrize(
    ("samples", "cells"), [(95, 0), (96, 24), (191, 24), (192, 48), (768, 192), (10**6, 192)]
)
def test_cells_hold_four_samples_or_more(samples, cells):
    """24 to 192 of them, each a doubling."""
    assert cell_count(samples) == cells


def test_neighbours_that_alternate_or_follow():
    """Lag-1 correlation has its sign, and none for a constant."""
    assert lag_one([1.0, -1.0] * 20) < -0.9
    assert lag_one([float(index) for index in range(40)]) > 0.8
    assert lag_one([3.0] * 10) == 0.0


def test_inflation_of_an_ar1_process():
    """(1 + r) / (1 - r), at least 1 and at most 9."""
    assert inflation(-0.5) == 1.0
    assert inflation(0.5) == pytest.approx(3.0)
    assert inflation(0.99) == pytest.approx(9.0)


def test_merging_means_neighbours():
    """Four cells to two."""
    assert merge([1.0, 3.0, 5.0, 9.0], 2) == [2.0, 7.0]


@pytest.mark.parametrize(("phi", "most"), [(0.0, 1.25), (0.9, 1.5), (0.98, 1.6)])
def test_finds_the_long_run_variance_of_ar1(phi, most):
    """On average between the truth and a little above it: never believe that we know more than we do."""
    random = np.random.default_rng(5)
    count, runs = 9_600, 60
    noise = random.standard_normal((count + 500, runs))
    values = np.empty_like(noise)
    state = np.zeros(runs)
    for row in range(count + 500):
        state = phi * state + noise[row]
        values[row] = state
    cells = values[500:].reshape(192, -1, runs).mean(axis=1).T

    found = np.mean([long_run(row, count // 192).variance for row in cells.tolist()])

    assert 0.95 <= found * (1 - phi) ** 2 <= most
