import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.flow.run_time import DEFAULT_PRIOR, RunTime

CPU = (0.5e-3, 0.1e-3, 80e-6, 1e-7)
GPU = (8e-3, 0.02e-3, 1e-6, 0.0)


def truth(coefficients, rows, length):
    a, b, c, d = coefficients
    return a + rows * (b + length * (c + length * d))


def mixed_shape(rng):
    length = math.ceil(math.exp(rng.uniform(math.log(8), math.log(128))) / 8) * 8
    return rng.randint(1, max(1, min(32, 512 // length))), length


def taught(coefficients, batches=300, outliers=0.0, seed=3):
    rng, run_time = random.Random(seed), RunTime()
    for _ in range(batches):
        rows, length = mixed_shape(rng)
        slow = rng.uniform(3, 10) if rng.random() < outliers else 1.0
        run_time.observe(rows, length, truth(coefficients, rows, length) * rng.gauss(1.0, 0.03) * slow)
    return run_time


def test_before_the_first_batch_the_prior_speaks():
    run_time = RunTime()

    assert run_time.predict(4, 64) == pytest.approx(truth(DEFAULT_PRIOR, 4, 64))


def test_the_first_batch_sets_the_scale_of_the_prior():
    run_time = RunTime()
    before = run_time.predict(2, 16)

    run_time.observe(4, 64, 10 * run_time.predict(4, 64))

    assert run_time.predict(2, 16) == pytest.approx(10 * before)


@pytest.mark.parametrize("coefficients", [CPU, GPU], ids=["cpu", "gpu"])
def test_it_learns_an_engine_from_mixed_batches(coefficients):
    run_time = taught(coefficients)

    for rows, length in [(1, 8), (1, 128), (4, 128), (32, 16), (8, 64)]:
        assert run_time.predict(rows, length) == pytest.approx(truth(coefficients, rows, length), rel=0.1)


def test_it_tells_the_fixed_cost_of_a_batch_from_the_cost_of_its_rows():
    assert taught(GPU).a == pytest.approx(8e-3, rel=0.1)
    assert taught(CPU).a < 1.5e-3


def test_page_faults_do_not_bend_it():
    run_time = taught(CPU, outliers=0.03)

    assert run_time.predict(4, 128) == pytest.approx(truth(CPU, 4, 128), rel=0.1)


def test_a_lasting_change_of_speed_is_learned():
    run_time = taught(CPU)
    rng = random.Random(5)
    for _ in range(200):
        rows, length = mixed_shape(rng)
        run_time.observe(rows, length, 3 * truth(CPU, rows, length))

    assert run_time.predict(4, 128) == pytest.approx(3 * truth(CPU, 4, 128), rel=0.2)


def test_one_shape_only_still_orders_the_others():
    run_time = RunTime()
    for _ in range(500):
        run_time.observe(4, 64, 0.02)

    assert run_time.predict(4, 64) == pytest.approx(0.02, rel=0.01)
    assert run_time.predict(1, 64) < run_time.predict(2, 64) < 0.02 < run_time.predict(8, 64)


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(1, 512), st.floats(1e-6, 100)), max_size=40))
def test_whatever_it_sees_it_predicts_a_finite_time_that_grows_with_the_batch(batches):
    run_time = RunTime()
    for batch in batches:
        run_time.observe(*batch)

    assert min(run_time.a, run_time.b, run_time.c, run_time.d) >= 0
    assert 0 <= run_time.predict(1, 8) <= run_time.predict(2, 8) <= run_time.predict(2, 512) < math.inf


def test_a_run_without_duration_teaches_nothing():
    run_time = RunTime()
    run_time.observe(1, 8, 0.0)

    assert run_time.batches_total == 0


def test_row_seconds_and_token_rate_follow_from_the_prediction():
    run_time = RunTime((8e-3, 1e-3, 0.0, 0.0))

    assert run_time.row_s(4, 64) * 4 == pytest.approx(run_time.predict(4, 64))
    assert run_time.tokens_per_s(4, 64) == pytest.approx(256 / 12e-3)


@pytest.mark.parametrize("prior", [(0.0, 0.0, 0.0, 0.0), (1.0, -1.0, 0.0, 0.0)])
def test_a_prior_that_cannot_be_is_refused(prior):
    with pytest.raises(ValueError, match="prior"):
        RunTime(prior)
