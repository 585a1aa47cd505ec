"""A leak is told from noise, and neither from too little."""

from __future__ import annotations

import random

import msgspec
import pytest
from known_runs import MS, row

from paceline.measure.analysis.endurance import trends
from paceline.measure.analysis.series import series_of_rows
from paceline.measure.records.record import Columns, ServerSample

NOTHING = series_of_rows(Columns.empty(), 1.0)
MB = 1e6


def samples(number, *, memory=lambda _: None, files=lambda _: None, every_s=1.0):
    return [
        ServerSample(i * every_s, "process 7", None, memory(i * every_s), files(i * every_s))
        for i in range(number)
    ]


def noisy(seed=1, spread=5 * MB):
    draw = random.Random(seed)
    return lambda: draw.gauss(0, spread)


def of(found, name):
    return next(trend for trend in found if trend.name == name)


def test_memory_that_grows_is_growing_at_its_true_rate():
    """10 MB a minute on 500 MB, with noise."""
    noise = noisy()
    found = of(
        trends(samples(600, memory=lambda at: 500 * MB + at / 6 * MB + noise()), NOTHING), "resident memory"
    )

    assert (found.state, found.unit) == ("growing", "MB")
    assert found.per_hour.low < 600 < found.per_hour.high
    assert found.start == pytest.approx(500, rel=0.02)
    assert len(found.values) <= 120


def test_noise_alone_is_flat():
    noise = noisy()
    found = of(trends(samples(600, memory=lambda _: 500 * MB + noise()), NOTHING), "resident memory")

    assert found.state == "flat"
    assert found.per_hour.low < 0 < found.per_hour.high


def test_growth_that_does_not_matter_is_flat_however_sure():
    """1 MB in ten minutes on 500 MB."""
    found = of(trends(samples(600, memory=lambda at: (500 + at / 600) * MB), NOTHING), "resident memory")

    assert found.per_hour.low > 0
    assert found.state == "flat"


def test_noise_that_could_hide_a_leak_is_inconclusive():
    noise = noisy(spread=200 * MB)
    found = of(trends(samples(120, memory=lambda _: 500 * MB + noise()), NOTHING), "resident memory")

    assert found.state == "inconclusive"


def test_memory_that_is_given_back_shrinks():
    found = of(trends(samples(600, memory=lambda at: (500 - at / 6) * MB), NOTHING), "resident memory")

    assert found.state == "shrinking"
    assert found.per_hour.value == pytest.approx(-600)


@pytest.mark.parametrize(("leaked", "state"), [(0, "flat"), (1, "flat"), (20, "growing")])
def test_more_than_one_descriptor_must_be_left(leaked, state):
    found = of(trends(samples(300, files=lambda at: 40.0 + leaked * at / 300), NOTHING), "open files")

    assert found.state == state


def test_a_peak_is_no_growth():
    found = of(
        trends(samples(600, memory=lambda at: (900 if 400 < at < 450 else 500) * MB), NOTHING),
        "resident memory",
    )

    assert found.state != "growing"
    assert found.per_hour.value == 0


def test_the_latency_of_a_server_that_slows_down_grows():
    rows = [row(i, i * 100 * MS, 20 * MS + i * 10_000) for i in range(3_000)]
    found = of(trends([], series_of_rows(Columns.of(rows), 300.0)), "p99 latency")

    assert (found.state, found.unit) == ("growing", "ms")
    assert found.per_hour.value == pytest.approx(360, rel=0.01)


def test_the_warm_up_and_the_drain_are_left_out():
    """Memory grows for 100 s and stays; the answers of the drain are slow."""
    rows = [row(i, i * 100 * MS, (20 if i < 3_000 else 900) * MS) for i in range(3_100)]
    series = series_of_rows(Columns.of(rows), 310.0)
    found = trends(samples(310, memory=lambda at: (400 + min(at, 100)) * MB), series, 100.0, 300.0)

    assert of(found, "resident memory").state == "flat"
    assert of(found, "p99 latency").state == "flat"
    assert max(of(found, "p99 latency").values) == 20.0


def test_a_short_run_is_inconclusive_and_says_why():
    found = of(trends(samples(30, memory=lambda at: (500 + 10 * at) * MB), NOTHING), "resident memory")

    assert found.state == "inconclusive"
    assert "60 s" in found.per_hour.reason


def test_a_handful_of_points_has_no_slope():
    (found,) = trends(samples(3, files=lambda _: 7.0, every_s=100.0), NOTHING)

    assert (found.state, found.per_hour.value) == ("inconclusive", None)
    assert "3 points" in found.per_hour.reason


def test_what_nobody_told_has_no_trend():
    assert trends(samples(100), NOTHING) == []
    assert [trend.name for trend in trends(samples(100, files=lambda _: 1.0), NOTHING)] == ["open files"]
    assert msgspec.json.encode(trends(samples(100, files=lambda _: 1.0), NOTHING))
