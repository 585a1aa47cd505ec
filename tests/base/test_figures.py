"""How numbers are written for people."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base import figures


class Estimate(NamedTuple):
    """What reports call an estimate or a range."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


ANY_SIZE = st.floats(min_value=1e-4, max_value=1e7)


@pytest.mark.parametrize(
    ("ms", "written"),
    [
        (0.0, "0 ms"),
        (0.85, "850 us"),
        (0.9996, "1.00 ms"),
        (12.1, "12.1 ms"),
        (123.4, "123 ms"),
        (999.7, "1.00 s"),
        (1240.0, "1.24 s"),
        (-3.2, "-3.20 ms"),
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "-"),
    ],
)
def test_a_latency_has_three_digits_and_the_unit_that_fits(ms, written):
    assert written == figures.latency(ms)


@given(ANY_SIZE)
def test_what_is_written_is_within_half_a_unit_of_the_third_digit(ms):
    amount, unit = figures.latency(ms).replace(",", "").split()
    read = float(amount) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]

    assert abs(read - ms) <= 0.0051 * ms


@given(ANY_SIZE)
def test_a_latency_from_a_microsecond_to_a_quarter_of_an_hour_has_exactly_three_digits(ms):
    if 0.001 <= ms < 999_000:
        assert 3 == len(re.sub(r"\D", "", figures.latency(ms)))


@pytest.mark.parametrize(
    ("per_s", "written"), [(412.3, "412/s"), (9_876, "9,880/s"), (0.5, "0.500/s"), (0, "0/s"), (None, "-")]
)
def test_a_rate(per_s, written):
    assert written == figures.rate(per_s)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0 %"),
        (0.004, "<0.01 %"),
        (0.25, "0.25 %"),
        (12.34, "12.3 %"),
        (99.4, "99.4 %"),
        (99.97, "99.97 %"),
        (99.999, ">99.99 %"),
        (100, "100 %"),
        (None, "-"),
    ],
)
def test_nearly_none_and_nearly_all_are_not_rounded_to_none_and_all(value, written):
    assert written == figures.percent(value)


@pytest.mark.parametrize(
    ("amount", "written"), [(0, "0 B"), (512, "512 B"), (999_999, "1.00 MB"), (1.38e9, "1.38 GB")]
)
def test_bytes(amount, written):
    assert written == figures.size(amount)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.25, "250 ms"),
        (20, "20 s"),
        (12.34, "12.3 s"),
        (59.97, "1 min"),
        (125, "2 min 05 s"),
        (3600, "1 h"),
        (11_220, "3 h 07 min"),
        (None, "-"),
    ],
)
def test_a_duration(seconds, written):
    assert written == figures.duration(seconds)


@pytest.mark.parametrize(
    ("seconds", "written"), [(35, "0:35"), (125.4, "2:05"), (3725, "1:02:05"), (-1, "0:00")]
)
def test_the_clock_of_the_display_never_runs_below_zero(seconds, written):
    assert written == figures.clock(seconds)


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "written"),
    [
        (123.4, 118.1, 129.2, "ms", "123 ms [118, 129]"),
        (10.05, 10.04, 10.06, "ms", "10.05 ms [10.04, 10.06]"),
        (1240, 1116, 1401, "ms", "1.24 s [1.12, 1.40]"),
        (412, 398, 425, "/s", "412/s [398, 425]"),
        (0.078, 0.057, 0.101, "%", "0.08 % [0.06, 0.10]"),
        (4.0, -6.1, 13.9, "ms", "4.0 ms [-6.1, 13.9]"),
        (36e6, 33.1e6, 38.8e6, "bytes", "36.0 MB [33.1, 38.8]"),
        (0.0, 0.0, 0.0, "%", "0 %"),
        (412, 398, 425, "req/s", "412 req/s [398, 425]"),
        (412, None, None, "/s", "412/s"),
    ],
)
def test_an_interval_has_one_unit_and_the_digits_that_tell_its_ends_apart(value, low, high, unit, written):
    assert written == figures.interval(value, low, high, unit)


@given(ANY_SIZE, st.floats(0.0001, 0.9), st.sampled_from(["ms", "/s", "GB", "bytes", "jobs"]))
def test_the_ends_of_an_interval_are_written_in_order(value, width, unit):
    written = figures.interval(value, value * (1 - width), value * (1 + width), unit)
    middle, low, high = (
        float(part.replace(",", "")) for part in re.findall(r"-?\d[\d,]*\.?\d*(?=[ /,\]])", written)
    )

    assert low <= middle <= high


@pytest.mark.parametrize(
    ("found", "written"),
    [
        (Estimate(123.4, 118.1, 129.2), "123 ms [118, 129]"),
        (Estimate(123.4, reason="12 samples"), "123 ms (no interval: 12 samples)"),
        (Estimate(reason="12 samples"), "no value: 12 samples"),
        (Estimate(), "no value: not measured"),
        (Estimate(123.4), "123 ms"),
    ],
)
def test_an_estimate_that_could_not_be_made_says_why_and_is_not_zero(found, written):
    assert written == figures.estimate(found, "ms")


def test_a_value_beside_its_limit_keeps_the_unit_of_the_limit():
    assert "1,240 ms [1,120, 1,400]" == figures.against(1240, 1116, 1401, 500, "ms")


def test_a_value_far_below_its_limit_has_its_own_unit():
    assert ("26.1 MB", "50.0 us") == (
        figures.against(0.0261, None, None, 6, "GB"),
        figures.against(0.05, None, None, 300, "ms"),
    )


def test_a_value_just_over_its_limit_is_not_rounded_onto_it():
    assert "300.4 ms" == figures.against(300.4, None, None, 300, "ms")
    assert "299.96 ms [290.00, 310.00]" == figures.against(299.96, 290, 310, 300, "ms")


@given(st.floats(1, 1000), st.floats(1, 1000))
def test_a_value_that_differs_from_its_limit_by_a_millionth_is_written_differently(value, limit):
    if abs(value - limit) > 1e-6 * limit:
        assert figures.chosen(limit, "ms") != figures.against(value, None, None, limit, "ms")


def test_what_somebody_chose_is_written_as_they_chose_it():
    assert ["300 ms", "0.5 %", "1,500/s", "6 GB"] == [
        figures.chosen(limit, unit) for limit, unit in ((300, "ms"), (0.5, "%"), (1500, "/s"), (6, "GB"))
    ]


def test_a_count_of_something_is_written_in_full_and_a_mean_of_it_is_not():
    assert ("8 jobs", "3.68 jobs", "24,712") == (
        figures.measured(8.0, "jobs"),
        figures.measured(3.678, "jobs"),
        figures.count(24_712),
    )
