"""Run times of batches: known coefficients are found again, and what cannot be known is not made up."""

from __future__ import annotations

import numpy as np
import pytest

from paceline.base.errors import ConfigError
from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.calibrate.service_fit import LEAST_BATCHES, ServiceFit, bootstrap, fit

TRUE = ServiceFit(a=1.5e-3, b=2e-4, c=3e-5, d=1.2e-8, contention=0.4, spread=0.0)


def batches(count=400, true=TRUE, *, noise=0.0, seed=1, lanes=2):
    """Of all sizes and lengths, with up to `lanes` at a time."""
    source = np.random.default_rng(seed)
    log = BatchLog(
        rows=source.integers(1, 33, count).astype(float),
        length=8.0 * source.integers(1, 33, count),
        busy=source.integers(1, lanes + 1, count).astype(float),
        run_s=np.ones(count),
    )
    run_s = true.seconds(log) * np.exp(noise * source.standard_normal(count))
    return BatchLog(log.rows, log.length, log.busy, run_s)


def coefficients(one):
    return [one.a, one.b, one.c, one.d, one.contention]


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_finds_the_coefficients_that_made_the_batches(lanes):
    found = fit(batches(lanes=lanes))
    expected = coefficients(TRUE)[: 4 + (lanes > 1)]

    assert coefficients(found)[: len(expected)] == pytest.approx(expected, rel=0.01)
    assert found.spread < 1e-3


def test_noise_costs_little():
    """10 % on each batch are two or three on what 400 of them say a batch takes."""
    log = batches(noise=0.1)
    found = fit(log)

    assert np.abs(found.seconds(log) / TRUE.seconds(log) - 1.0).max() < 0.06
    assert found.contention == pytest.approx(0.4, abs=0.05)
    assert found.spread == pytest.approx(0.1, rel=0.2)


def test_no_coefficient_is_below_zero():
    """Times that fall with the size of a batch have no such explanation; the nearest one is flat."""
    log = batches()
    falling = BatchLog(log.rows, log.length, np.ones(400), 0.01 - 1e-4 * log.rows)
    found = fit(falling)

    assert min(coefficients(found)) >= 0.0
    assert found.a == pytest.approx(0.0085, rel=0.1)
    assert found.b == found.c == found.d == 0.0


def test_a_cost_that_is_not_there_is_not_found():
    found = fit(batches(true=ServiceFit(2e-3, 0.0, 4e-5, 0.0, 0.0, 0.0)))

    assert found.a == pytest.approx(2e-3, rel=1e-3)
    assert found.c == pytest.approx(4e-5, rel=1e-3)
    assert max(found.b * 32, found.d * 32 * 256**2, found.contention) < 1e-4


def test_company_is_no_cost_where_there_was_none():
    """One lane at a time says nothing of two."""
    assert fit(batches(lanes=1)).contention == 0.0


def test_batches_that_something_hit_do_not_count():
    """One in twenty takes five times as long."""
    log = batches(noise=0.03)
    hit = np.where(np.arange(400) % 20 == 0, 5.0, 1.0)
    found = fit(BatchLog(log.rows, log.length, log.busy, log.run_s * hit))

    assert np.abs(found.seconds(log) / TRUE.seconds(log) - 1.0).max() < 0.06
    assert found.spread < 0.05


def test_batches_of_one_shape_are_fitted_as_they_are():
    """Four columns that nobody can tell apart: any explanation will do that gives the time."""
    log = BatchLog(np.full(50, 4.0), np.full(50, 32.0), np.ones(50), np.full(50, 0.006))

    assert fit(log).seconds(log) == pytest.approx(np.full(50, 0.006))


def test_the_bootstrap_covers_the_truth():
    """95 % intervals of the time of a batch, for 15 sets of 100 batches with 10 % noise."""
    shapes = BatchLog(
        np.array([1.0, 8.0, 32.0]), np.array([16.0, 64.0, 128.0]), np.array([1.0, 1.0, 2.0]), np.ones(3)
    )
    truth, covered = TRUE.seconds(shapes), []
    for seed in range(15):
        fits = bootstrap(batches(100, noise=0.1, seed=seed), 40, seed=seed)
        times = np.array([one.seconds(shapes) for one in fits])
        low, high = np.quantile(times, [0.025, 0.975], axis=0)
        covered += ((low <= truth) & (truth <= high)).tolist()

    assert np.mean(covered) >= 0.8


def test_the_bootstrap_begins_with_the_best_fit_and_repeats_itself():
    log = batches(60, noise=0.1)
    fits = bootstrap(log, 8, seed=3)

    assert fits[0] == fit(log)
    assert len(fits) == 8
    assert fits == bootstrap(log, 8, seed=3) != bootstrap(log, 8, seed=4)


def test_too_few_batches_are_refused_with_what_would_help():
    with pytest.raises(ConfigError, match=f"told of 5 batches and {LEAST_BATCHES} are needed.*--duration"):
        fit(batches(5))
