"""The share of failures and its interval."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import sample

from paceline.measure.comparison.error_rate import error_percent, inflation, wilson
from paceline.measure.report import Series


def series(failed, done=None):
    """One step a second; ten requests each unless said otherwise."""
    done = done or [10 - bad for bad in failed]
    steps = len(failed)
    nothing = [None] * steps
    empty = [0.0] * steps
    at = [float(step) for step in range(steps)]
    return Series(1.0, at, empty, done, failed, empty, nothing, nothing, nothing)


def test_wilsons_interval_of_ten_in_a_hundred():
    assert wilson(0.1, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_stays_a_share(failed_of):
    failed, count = failed_of
    low, high = wilson(failed / count, count)

    assert 0 <= low <= failed / count <= high <= 1


def test_no_failure_among_many_still_leaves_some_possible():
    low, high = wilson(0.0, 1000)

    assert (low, high) == (0.0, pytest.approx(0.00383, abs=1e-5))


def test_failures_in_bursts_are_worth_fewer_requests():
    bursts = [10.0, 0, 0, 0, 0, 0, 0, 0, 0, 0] * 10
    spread = [1.0] * 100

    assert inflation(series(spread), 0.1) == 1.0
    assert inflation(series(bursts), 0.1) == pytest.approx(10, rel=0.05)


def test_independent_failures_are_worth_about_all_of_them():
    chance = random.Random(3)
    failed = [float(sum(chance.random() < 0.1 for _ in range(10))) for _ in range(500)]
    share = sum(failed) / 5000

    assert inflation(series(failed), share) < 1.2


def test_of_a_report_in_per_cent():
    found = error_percent(sample(done=990, failed=10, series=series([0.0] * 3)))

    assert found.value == pytest.approx(1.0)
    assert found.low < 1.0 < found.high


@pytest.mark.parametrize(("done", "failed", "value"), [(0, 10, 100.0), (10, 0, 0.0)])
def test_all_or_nothing(done, failed, value):
    assert error_percent(sample(done=done, failed=failed)).value == value


def test_no_request_has_no_share():
    found = error_percent(sample(done=0, failed=0))

    assert (found.value, found.reason) == (None, "no request ended")
