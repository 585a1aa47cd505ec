"""Where a noisy latency crosses its limit."""

from __future__ import annotations

import random
from math import exp, log

import pytest

from paceline.measure.statistics.crossing import Point, crossing, crossing_interval, spread_of


def latency(rate):
    """p95 of M/M/1 at 100 a second, in seconds."""
    return -log(0.05) / (100 - rate)


def test_exact_points_of_one_queue_give_its_exact_crossing():
    """1 / latency is a straight line there."""
    points = [Point(rate, latency(rate), 1e-6) for rate in (50.0, 75.0, 85.0)]

    assert crossing(points, latency(80.0)) == pytest.approx(80.0, rel=1e-6)


def test_the_interval_covers_under_noise():
    """10 % noise at six rates, 100 times."""
    noise = random.Random(3)
    covered = 0
    for seed in range(100):
        points = [
            Point(rate, latency(rate) * exp(noise.gauss(0, 0.1)), 0.1) for rate in (70, 74, 78, 82, 84, 86)
        ]
        low, high = crossing_interval(points, latency(80.0), 0.95, seed)
        covered += low <= 80.0 <= high

    assert covered >= 89


def test_one_rate_or_a_latency_that_falls_has_no_crossing():
    """Nothing to draw a line through."""
    falling = [Point(10.0, 5.0, 0.1), Point(20.0, 4.0, 0.1)]

    assert crossing([Point(10.0, 1.0, 0.1)] * 3, 2.0) is None
    assert crossing(falling, 4.5) is None
    assert crossing_interval(falling, 4.5, 0.95, 1) is None


def test_the_spread_of_an_interval():
    """Its half-width in logarithms over 1.96."""
    assert spread_of(exp(-0.196), exp(0.196), 0.95) == pytest.approx(0.1, rel=1e-4)
