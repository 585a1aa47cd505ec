"""A schedule is made from plan and seed alone, and refuses loads that cannot be."""

from __future__ import annotations

from array import array
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.measure.load.schedule import MAX_ARRIVALS, THINK_TIMES, User, make_schedule
from paceline.measure.load.trace import Shape, Trace
from paceline.measure.plan import ClosedLoop, OpenLoop, Plan, Replay, Stage, Target

SECOND = 1_000_000_000


def plan(load, seed=1):
    return Plan(Target("http://x"), load, seed=seed)


def make(load, distinct=3, seed=1, trace=None):
    return make_schedule(plan(load, seed), trace, distinct)


# -- open loop --------------------------------------------------------------------------------------------------------


def test_stages_have_ends_names_and_levels():
    made = make(OpenLoop((Stage(1.5, 10, name="up"), Stage(2, 20, 10)), "constant"))

    assert made.duration_ns == 3_500_000_000
    assert made.stage_ends_ns == (1_500_000_000, 3_500_000_000)
    assert made.stage_names == ("up", "stage 2")
    assert made.levels == (10, 20)
    assert (made.users, made.requests, len(made.think_ns)) == ((), None, 0)


@given(st.integers(1, 50), st.integers(1, 70))
def test_requests_are_taken_in_turn(count, distinct):
    made = make(OpenLoop((Stage(count, 1),), "constant"), distinct)

    assert list(made.request) == [number % distinct for number in range(count)]


@given(st.integers(1, 7), st.integers(0, 99))
def test_workers_together_send_what_one_would(workers, seed):
    """Worker w of W takes the indices w, w + W, ... of a schedule that does not know of them."""
    load = OpenLoop((Stage(1, 50),), "gamma")
    one = make(load, seed=seed)
    parts = [make(load, seed=seed).at_ns[worker::workers] for worker in range(workers)]

    assert sorted(at for part in parts for at in part) == list(one.at_ns)


def test_a_million_arrivals_are_eighteen_bytes_each():
    made = make(OpenLoop((Stage(100, 10_000),), "constant"))

    assert len(made.at_ns) == 1_000_000
    assert (made.at_ns.typecode, made.stage.typecode, made.request.typecode) == ("q", "H", "L")


# -- closed loop ------------------------------------------------------------------------------------------------------


def test_steady_users_are_all_there_from_start_to_end():
    made = make(ClosedLoop((Stage(10, 3),), requests=1000))

    assert made.users == (User(0, 10 * SECOND),) * 3
    assert made.requests == 1000
    assert (len(made.at_ns), len(made.request)) == (0, 0)


def test_users_start_evenly_as_a_ramp_passes_each_whole_number_and_leave_the_same_way():
    made = make(ClosedLoop((Stage(4, 4, 0), Stage(2, 4), Stage(4, 0, 4))))

    assert made.users == tuple(User(k * SECOND, (10 - k) * SECOND) for k in range(4))


def test_a_user_who_comes_back_has_two_spans():
    made = make(ClosedLoop((Stage(1, 2), Stage(1, 1), Stage(1, 2))))

    assert made.users == (User(0, 3 * SECOND), User(0, SECOND), User(2 * SECOND, 3 * SECOND))


@given(
    st.lists(
        st.builds(
            Stage,
            st.integers(1, 5),
            st.integers(0, 9),
            st.one_of(st.none(), st.integers(0, 9)),
        ),
        min_size=1,
        max_size=4,
    ),
    st.floats(0, 1),
)
def test_as_many_users_are_there_as_the_level_rounded_up(chosen, share):
    if not any(stage.first or stage.target for stage in chosen):
        chosen.append(Stage(1, 1))
    made = make(ClosedLoop(tuple(chosen)))
    at_s = share * made.duration_ns / SECOND
    passed_s = at_s
    for stage in chosen:
        if passed_s < stage.duration_s:
            level = stage.first + (stage.target - stage.first) * passed_s / stage.duration_s
            break
        passed_s -= stage.duration_s
    else:
        return
    there = sum(user.start_ns <= at_s * SECOND < user.stop_ns for user in made.users)

    near = abs(level - round(level)) < 1e-6  # within rounding of a crossing
    assert there - np.ceil(level) == 0 or (near and abs(there - level) <= 1 + 1e-6)
    assert list(made.users) == sorted(made.users, key=lambda user: user.start_ns)


def test_think_times_are_constant_or_exponential_with_the_mean_asked_for():
    steady = make(ClosedLoop((Stage(1, 1),), think_s=0.25))
    drawn = make(ClosedLoop((Stage(1, 1),), think_s=0.25, think="exponential"))
    again = make(ClosedLoop((Stage(1, 1),), think_s=0.25, think="exponential"))

    assert list(steady.think_ns) == [250_000_000]
    assert len(drawn.think_ns) == THINK_TIMES
    assert np.mean(drawn.think_ns) == pytest.approx(0.25e9, rel=0.02)
    assert np.std(drawn.think_ns) == pytest.approx(0.25e9, rel=0.03)
    assert drawn.think_ns == again.think_ns


# -- trace ------------------------------------------------------------------------------------------------------------


def trace(*at_s):
    return Trace(array("q", (round(at * SECOND) for at in at_s)), array("L", [0] * len(at_s)), (Shape(1, 1),))


@pytest.mark.parametrize("speed", [1.0, 2.0, 0.5])
def test_a_trace_keeps_its_gaps_divided_by_the_speed(speed):
    made = make(Replay("t", speed=speed), 1, trace=trace(0, 1, 4))

    assert list(made.at_ns) == [0, round(SECOND / speed), round(4 * SECOND / speed)]
    assert list(made.stage) == [0, 0, 0]
    assert made.stage_names == ("trace",)
    assert made.levels == (pytest.approx(3 / (made.duration_ns / SECOND)),)
    assert made.duration_ns == round(6 * SECOND / speed)


@pytest.mark.parametrize("arrivals", [(0,), (0, 0, 0)])
def test_a_trace_of_one_instant_lasts_a_second(arrivals):
    assert make(Replay("t"), 1, trace=trace(*arrivals)).duration_ns == SECOND


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (OpenLoop(()), "0 stages; give 1"),
        (OpenLoop((Stage(1, 0),)), "rate of 0; give at least one"),
        (OpenLoop((Stage(1, inf),)), "stage 1 has an infinite level"),
        (OpenLoop((Stage(1e9, 1),)), "days, 31 are possible; shorten"),
        (OpenLoop((Stage(inf, 1),)), "inf days"),
        (OpenLoop((Stage(86_400, 1e6),)), f"{MAX_ARRIVALS:,} are possible"),
        (ClosedLoop((Stage(1, 2.5),)), "2.5 users; write a whole number"),
        (ClosedLoop((Stage(1, 0),)), "0 users at most; give 1"),
        (ClosedLoop((Stage(1, 1e6),)), "1e\\+06 users at most"),
        (ClosedLoop((Stage(1, 1),), think_s=inf), "think for inf s"),
        (Replay("t"), "trace that was not read"),
    ],
)
def test_a_load_that_cannot_be_is_refused(load, message):
    with pytest.raises(ConfigError, match=message):
        make(load)


def test_a_trace_replayed_too_slowly_is_refused():
    with pytest.raises(ConfigError, match="raise the speed"):
        make(Replay("t", speed=1e-9), 1, trace=trace(0, 1, 2))


def test_without_a_request_there_is_no_schedule():
    with pytest.raises(ConfigError, match="no request to send"):
        make(OpenLoop((Stage(1, 1),)), 0)
