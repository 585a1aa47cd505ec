"""Scales keep order and ends, and their ticks are round and inside."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.page.scale import (
    Linear,
    Log,
    Nines,
    around,
    decades,
    from_zero,
    nice_step,
    seconds_step,
)

positive = st.floats(1e-3, 1e6)


@given(st.lists(positive, min_size=1, max_size=20))
def test_from_zero_reaches_a_round_value_above_the_largest(values):
    scale = from_zero(values, 100, 0)

    assert 0 == scale.low
    assert max(values) <= scale.high * (1 + 1e-9)
    assert 100 == scale.at(0)
    assert scale.high == pytest.approx(scale.ticks(5)[-1])
    assert len(scale.ticks(5)) <= 6


@given(st.lists(positive, min_size=1, max_size=20))
def test_around_holds_every_value(values):
    scale = around(values, 100, 0)

    assert scale.low <= min(values) * (1 + 1e-9)
    assert max(values) <= scale.high * (1 + 1e-9)


@given(st.lists(positive, min_size=1, max_size=20))
def test_log_ticks_are_inside_and_ascend(values):
    scale = decades(values, 0, 500)
    ticks = scale.ticks()

    assert sorted(ticks) == ticks
    assert all(-1e-6 <= scale.at(tick) <= 500 + 1e-6 for tick in ticks)


def test_equal_ratios_are_equally_long():
    scale = Log(1, 1000, 0, 300)

    assert [0, 100, 200, 300] == pytest.approx([scale.at(value) for value in (1, 10, 100, 1000)])


def test_many_decades_have_few_ticks():
    assert [1, 10, 100, 1000, 10_000, 100_000] == pytest.approx(Log(1, 100_000, 0, 300).ticks())


def test_every_nine_is_equally_long():
    scale = Nines(0.9999, 0, 400)

    assert [0, 100, 200, 300, 400, 400] == pytest.approx(
        [scale.at(share) for share in (0, 0.9, 0.99, 0.999, 0.9999, 1)]
    )
    assert [0, 0.5, 0.9, 0.99, 0.999, 0.9999] == scale.ticks()


def test_linear_ticks_are_round():
    assert [0, 50, 100, 150, 200, 250] == Linear(0, 270, 0, 1).ticks(6)
    assert [2, 4, 6, 8] == Linear(2, 8, 0, 1).ticks(3)


@given(st.floats(1e-6, 1e9))
def test_a_nice_step_is_not_smaller_than_asked_nor_much_larger(least):
    step = nice_step(least)

    assert least * (1 - 1e-6) <= step <= least * 2.5 * (1 + 1e-6)
    assert any(
        math.isclose(step / 10 ** math.floor(math.log10(step * (1 + 1e-9))), factor)
        for factor in (1, 2, 2.5, 5)
    )


@pytest.mark.parametrize(("duration_s", "expected"), [(60, 10), (180, 30), (3_600, 600), (86_400, 21_600)])
def test_steps_of_time_are_those_of_clocks(duration_s, expected):
    assert expected == seconds_step(duration_s, 6)
