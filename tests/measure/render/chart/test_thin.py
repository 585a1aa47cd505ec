"""Thinning keeps peaks of latency and totals of rates."""

from __future__ import annotations

import msgspec
import pytest
from reports import endurance

from paceline.measure.render.chart.thin import known_means, thinned


def test_a_short_series_is_left_as_it_is():
    series = endurance().series

    assert series is thinned(series, len(series.at_s))


def test_the_worst_second_survives():
    series = endurance().series
    peaks = [*series.p99_ms]
    peaks[400] = 9_999.0
    few = thinned(msgspec.structs.replace(series, p99_ms=peaks), 90)

    assert 90 >= len(few.at_s)
    assert 9_999.0 == max(few.p99_ms)
    assert few.step_s == 8 * series.step_s


def test_rates_keep_their_mean():
    series = endurance().series
    few = thinned(series, 90)

    assert sum(series.done_per_s) == pytest.approx(8 * sum(few.done_per_s))


def test_seconds_without_an_answer_stay_unknown():
    series = endurance().series
    silent = msgspec.structs.replace(series, p50_ms=[None] * len(series.at_s))

    assert {None} == set(thinned(silent, 90).p50_ms)


def test_unknown_values_are_left_out():
    assert [(0.0, 1.5), (3.0, 4.0)] == known_means([0.0, 1.0, 2.0, 3.0], [1.0, None, 2.0, 4.0], 2)
