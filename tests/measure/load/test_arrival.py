"""Arrivals follow the integral of the rate, whatever draws the gaps."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.load.arrival import arrivals, expected, gaps
from paceline.measure.plan import OpenLoop, Stage

levels = st.one_of(st.just(0.0), st.floats(0.1, 400))
stages = st.lists(
    st.builds(
        Stage,
        st.floats(0.01, 5),
        levels,
        st.one_of(st.none(), levels),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
loads = st.builds(
    OpenLoop, stages, st.sampled_from(["constant", "poisson", "gamma"]), st.sampled_from([0.5, 1.0, 2.0, 8.0])
)


def integral(at_s, load):
    """Requests asked for until `at_s`: the plain twin of what `arrivals` inverts."""
    total = 0.0
    for stage in load.stages:
        passed_s = min(max(at_s, 0.0), stage.duration_s)
        level = stage.first + (stage.target - stage.first) * passed_s / stage.duration_s
        total += (stage.first + level) / 2 * passed_s
        at_s -= stage.duration_s
    return total


@given(loads, st.integers(0, 1 << 40))
def test_arrivals_ascend_within_their_stages_and_the_same_seed_gives_the_same(load, seed):
    at_ns, stage = arrivals(load, seed)
    ends = np.cumsum([one.duration_s for one in load.stages]) * 1e9

    assert len(at_ns) == len(stage)
    assert all(a <= b for a, b in pairwise(at_ns))
    assert all(a <= b for a, b in pairwise(stage))
    for at, number in zip(at_ns, stage, strict=True):
        assert (ends[number - 1] if number else 0) - 1e4 <= at <= ends[number] + 1
        assert load.stages[number].first or load.stages[number].target
    assert (at_ns, stage) == arrivals(load, seed)


@given(stages)
def test_a_constant_process_is_due_where_the_integral_is_whole(chosen):
    load = OpenLoop(chosen, "constant")
    at_ns, _ = arrivals(load, 1)

    assert len(at_ns) == pytest.approx(ceil(expected(chosen)), abs=1)
    reached = [integral(at / 1e9, load) for at in at_ns]
    np.testing.assert_allclose(reached, range(len(at_ns)), atol=2e-3)


def test_a_steady_constant_rate_is_evenly_spaced_from_the_start():
    at_ns, _ = arrivals(OpenLoop((Stage(2, 100),), "constant"), 1)

    assert list(at_ns) == [10_000_000 * number for number in range(200)]


@pytest.mark.parametrize(
    ("rate", "duration_s", "count"), [(0.1, 30, 3), (0.7, 10, 7), (1 / 3, 3, 1), (2.5, 1, 3)]
)
def test_rounding_adds_no_request_at_the_end(rate, duration_s, count):
    assert len(arrivals(OpenLoop((Stage(duration_s, rate),), "constant"), 1)[0]) == count


@pytest.mark.parametrize(
    ("process", "cv"), [("poisson", 1.0), ("gamma", 0.5), ("gamma", 2.0), ("gamma", 4.0)]
)
def test_gaps_have_their_mean_and_their_coefficient_of_variation(process, cv):
    draw = gaps(OpenLoop((Stage(1, 1),), process, cv), 7)
    sample = np.array([draw() for _ in range(100_000)])

    assert sample.mean() == pytest.approx(1, abs=5 * cv / sqrt(len(sample)))
    assert sample.std() == pytest.approx(cv, rel=0.05)


@pytest.mark.parametrize("process", ["constant", "poisson", "gamma"])
def test_a_ramp_is_as_dense_as_its_rate_everywhere(process):
    load = OpenLoop((Stage(40, 1000, 0), Stage(10, 1000), Stage(40, 200, 1000)), process)
    at_ns, stage = arrivals(load, 3)
    found, edges = np.histogram(np.array(at_ns) / 1e9, bins=45, range=(0, 90))
    wanted = np.diff([integral(edge, load) for edge in edges])

    assert np.all(np.abs(found - wanted) <= 6 * 2 * np.sqrt(wanted) + 1)
    assert len(at_ns) == pytest.approx(expected(load.stages), rel=0.03)
    assert list(np.bincount(stage)) == pytest.approx([20_000, 10_000, 24_000], rel=0.06)


def test_poisson_counts_in_equal_windows_vary_as_much_as_their_mean():
    at_ns, _ = arrivals(OpenLoop((Stage(2000, 50),), "poisson"), 11)
    counts = np.bincount(np.array(at_ns) // 1_000_000_000, minlength=2000)

    assert counts.mean() == pytest.approx(50, rel=0.02)
    assert counts.var() == pytest.approx(50, rel=0.15)


def test_another_seed_gives_other_arrivals_of_the_same_load():
    load = OpenLoop((Stage(10, 100),))

    assert arrivals(load, 1)[0] != arrivals(load, 2)[0]
