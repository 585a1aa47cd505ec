"""When numbers can be believed, and what to do when they cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_runs import MS, lag

from paceline.measure.analysis.distribution import distribution, empty
from paceline.measure.analysis.tally import Pace
from paceline.measure.analysis.validity import Asked, Evidence, first_problem, lag_limit_ms, validity
from paceline.measure.records.histogram import Histogram
from paceline.measure.report import Estimate

GOOD = Evidence(
    latency=distribution([10.0] * 1_000),
    steady="steady",
    constant=True,
    open_loop=True,
    failures={},
    lag=Histogram(lag(20_000)),
    pace=Pace(1_000, 9.99, 1_000, 9.99),
    cpu_percent=30.0,
    max_connections=64,
    asked={"p95_ms": Asked(Estimate(10.0, 9.9, 10.1), 0.95, 1_000)},
)


def judged(**changes):
    """State of the run and the message of the check behind it."""
    found = validity(replace(GOOD, **changes))
    return found.state, first_problem(found)


def test_a_good_run_says_what_was_looked_at():
    found = validity(GOOD)

    assert found.state == "VALID"
    assert [check.name for check in found.checks] == [
        "answers",
        "generator_lag",
        "achieved_rate",
        "generator_cpu",
        "effective_samples_p95_ms",
        "steady",
    ]
    assert all(check.state == "VALID" and check.message for check in found.checks)


@pytest.mark.parametrize(
    ("p50_ms", "limit_ms"),
    [
        (None, 1.0),
        (1_000.0, 1.0),
        (20.0, 1.0),
        (10.0, 0.5),
        (6.0, 0.3),
        (4.0, 0.25),
        (0.1, 0.25),
    ],
)
def test_lag_must_stay_below_1_ms_and_5_percent_of_the_median(p50_ms, limit_ms):
    assert lag_limit_ms(p50_ms) == pytest.approx(limit_ms)


@pytest.mark.parametrize(
    ("late_ns", "latency_ms", "state"),
    [
        (900_000, 50.0, "VALID"),
        (1_100_000, 50.0, "INVALID"),
        (1_100_000, 5_000.0, "INVALID"),
        (400_000, 10.0, "VALID"),
        (600_000, 10.0, "INVALID"),
        (240_000, 0.2, "VALID"),
        (270_000, 0.2, "INVALID"),
    ],
)
def test_a_generator_that_sends_late_is_what_was_measured(late_ns, latency_ms, state):
    found, message = judged(latency=distribution([latency_ms] * 1_000), lag=Histogram(lag(late_ns)))

    assert found == state
    assert state == "VALID" or ("left late" in message and "workers" in message)


@pytest.mark.parametrize(
    ("sent", "span_s", "state"),
    [
        (1_000, 9.99, "VALID"),
        (991, 9.99, "VALID"),
        (985, 9.99, "INVALID"),
        (1_000, 10.05, "VALID"),
        (1_000, 10.2, "INVALID"),
        (1_000, 9.5, "INVALID"),
        (1, 0.0, "INVALID"),
    ],
)
def test_the_sending_rate_must_be_the_schedules_within_1_percent(sent, span_s, state):
    assert judged(pace=Pace(1_000, 9.99, sent, span_s))[0] == state


@given(st.integers(2, 10_000), st.floats(0.001, 1e5))
def test_a_schedule_that_was_kept_is_not_off(number, span_s):
    assert Pace(number, span_s, number, span_s).off_percent == 0.0


def test_a_single_request_has_no_rate():
    assert Pace(1, 0.0, 1, 0.0).off_percent == 0.0


@pytest.mark.parametrize(("percent", "state"), [(85.0, "VALID"), (85.1, "INVALID")])
def test_a_busy_generator_may_be_the_slow_one(percent, state):
    assert judged(cpu_percent=percent)[0] == state
    assert judged(cpu_percent=percent, open_loop=False, lag=None, pace=None)[0] == state


def test_requests_without_a_connection_make_the_run_invalid():
    state, message = judged(failures={"unsent": 3})

    assert state == "INVALID"
    assert "all 64 connections" in message


def test_a_run_without_a_good_answer_is_invalid_and_names_the_commonest_failure():
    state, message = judged(latency=empty("no value"), failures={"timeout": 2, "refused": 90})

    assert state == "INVALID"
    assert "refused (90 requests)" in message


def test_a_run_that_is_all_warm_up_is_invalid():
    state, message = judged(latency=empty("no value"))

    assert state == "INVALID"
    assert "warm-up" in message


@pytest.mark.parametrize(
    ("events", "gaps_asked", "state"),
    [
        (1_000, False, "VALID"),
        (1_049, False, "VALID"),
        (1_060, False, "INVALID"),
        (500, False, "VALID"),
        (500, True, "INCONCLUSIVE"),
    ],
)
def test_events_are_compared_with_the_servers_usage(events, gaps_asked, state):
    """More events than tokens cannot be; fewer are several tokens to an event, which only gaps suffer from."""
    assert judged(usage_tokens=1_000, token_events=events, gaps_asked=gaps_asked)[0] == state


def test_packed_events_are_explained():
    checks = validity(replace(GOOD, usage_tokens=1_000, token_events=500)).checks

    assert any("2.00 tokens into an event" in check.message for check in checks)


def test_a_server_that_tells_no_tokens_while_it_sends_some_is_invalid():
    assert judged(usage_tokens=0, token_events=10)[0] == "INVALID"


def test_a_quantile_needs_independent_samples():
    few = Asked(Estimate(10.0, 9.0, None, "12 independent samples, p99 needs 1,000"), 0.99, 500)
    state, message = judged(asked={"p99_ms": few})

    assert state == "INCONCLUSIVE"
    assert "12 independent samples, p99 needs 1,000" in message
    assert "run longer" in message


@pytest.mark.parametrize(("count", "state"), [(199, "INCONCLUSIVE"), (200, "VALID")])
def test_under_a_load_that_changes_the_samples_are_counted(count, state):
    asked = Asked(Estimate(10.0, reason="the load was not constant"), 0.95, count)

    assert judged(constant=False, asked={"p95_ms": asked})[0] == state


def test_a_quantile_without_a_value_is_inconclusive():
    asked = Asked(Estimate(reason="no tokens were kept"), 0.95, 0)

    assert judged(asked={"itl_p95_ms": asked}) == ("INCONCLUSIVE", "itl p95: no tokens were kept")


@pytest.mark.parametrize(
    ("steady", "state"),
    [("steady", "VALID"), ("rising", "INCONCLUSIVE"), ("falling", "VALID"), ("unknown", "VALID")],
)
def test_a_latency_that_rises_to_the_end_is_inconclusive(steady, state):
    assert judged(steady=steady)[0] == state
    assert judged(steady=steady, open_loop=False, lag=None, pace=None)[0] == state


def test_a_growing_queue_is_said_of_an_open_loop_only():
    assert "above capacity" in judged(steady="rising")[1]
    assert "above capacity" not in judged(steady="rising", open_loop=False)[1]


def test_invalid_outweighs_inconclusive():
    assert judged(steady="rising", lag=Histogram(lag(5 * MS)))[0] == "INVALID"


def test_what_is_not_known_is_not_checked():
    found = validity(replace(GOOD, lag=None, pace=None, cpu_percent=None, asked={}))

    assert [check.name for check in found.checks] == ["answers", "steady"]
