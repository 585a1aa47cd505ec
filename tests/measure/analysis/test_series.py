"""A run second by second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_runs import MS, S, failed, row, seconds_of, steady_rows

from paceline.measure.analysis.series import MOST_STEPS, series_of_rows, series_of_seconds
from paceline.measure.failure import Failure
from paceline.measure.records.record import Columns


def test_rates_and_percentiles_of_each_second():
    first = [row(i, i * 100 * MS, 20 * MS) for i in range(10)]
    second = [row(10 + i, S + i * 50 * MS, 40 * MS) for i in range(20)]
    found = series_of_rows(Columns.of(first + second), 2.0, 1)

    assert (found.step_s, found.at_s) == (1.0, [0.0, 1.0])
    assert found.offered_per_s == [10.0, 20.0]
    assert found.done_per_s == [10.0, 20.0]
    assert found.failed_per_s == [0.0, 0.0]
    assert found.p50_ms == pytest.approx([20.0, 40.0])


def test_answers_count_when_they_come_and_their_latency_when_they_were_due():
    found = series_of_rows(Columns.of([row(0, 100 * MS, 1_500 * MS)]), 2.0, 1)

    assert found.done_per_s == [0.0, 1.0]
    assert found.p95_ms == [1_500.0, None]
    assert found.in_flight == pytest.approx([0.9, 0.6])


def test_failures_are_counted_when_they_are_known():
    rows = [failed(0, 990 * MS, Failure.TIMEOUT), row(1, 0, MS), failed(2, 500 * MS, Failure.UNSENT)]
    rows[2] = (*rows[2][:5], -1, *rows[2][6:])
    found = series_of_rows(Columns.of(rows), 2.0, 1)

    assert found.failed_per_s == [2.0, 0.0]
    assert found.in_flight == pytest.approx([0.006, 0.0])


def test_a_short_drain_belongs_to_the_last_second_and_a_long_one_has_its_own():
    rows = [row(i, i * 100 * MS, 50 * MS) for i in range(10)]

    assert series_of_rows(Columns.of(rows), 1.2, 1).at_s == [0.0]
    assert series_of_rows(Columns.of(rows), 1.2, 1).offered_per_s == [pytest.approx(10 / 1.2)]
    assert series_of_rows(Columns.of(rows), 1.6, 1).at_s == [0.0, 1.0]


def test_long_runs_have_longer_steps_of_whole_seconds():
    rows = [row(i, i * S, MS) for i in range(3_601)]
    found = series_of_rows(Columns.of(rows), 3_601.0)

    assert found.step_s == 7.0
    assert len(found.at_s) <= MOST_STEPS
    assert found.offered_per_s[0] == 1.0


def test_nothing_makes_one_empty_step():
    found = series_of_rows(Columns.empty(), 0.0, 1)

    assert (found.at_s, found.done_per_s, found.p50_ms) == ([0.0], [0.0], [None])


@given(st.lists(st.tuples(st.integers(0, 20 * S), st.integers(0, 5 * S), st.booleans()), max_size=60))
def test_no_request_is_lost_and_neither_is_its_time(requests):
    rows = [
        failed(i, due, Failure.RESET) if bad else row(i, due, latency)
        for i, (due, latency, bad) in enumerate(requests)
    ]
    end_s = 26.0
    found = series_of_rows(Columns.of(rows), end_s)
    bad = sum(request[2] for request in requests)

    assert sum(found.offered_per_s) == len(rows)
    assert sum(found.failed_per_s) == bad
    assert sum(found.done_per_s) == len(rows) - bad
    spent_s = sum(5 * MS if bad else latency for _, latency, bad in requests) / S
    assert sum(found.in_flight) == pytest.approx(spent_s)
    assert min(found.in_flight) >= 0


def test_histograms_by_second_show_the_same():
    rows = steady_rows(1_000, 100)
    exact, found = series_of_rows(Columns.of(rows), 10.0), series_of_seconds(seconds_of(rows), 10.0)

    assert (found.at_s, found.offered_per_s) == (exact.at_s, exact.offered_per_s)
    assert found.p95_ms == pytest.approx(exact.p95_ms, rel=5e-4)
    assert found.in_flight == pytest.approx([1.0] * 10, rel=0.1)


def test_histograms_of_several_seconds_each_make_steps_of_whole_stretches():
    seconds = [second for second in seconds_of(steady_rows(3_000, 100)) if second.at_s % 4 == 0]
    for second in seconds:
        second.span_s = 4
    found = series_of_seconds(seconds, 30.0)

    assert found.step_s == 4.0
    assert len(found.at_s) == 8
