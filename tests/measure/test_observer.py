"""Progress of the whole run from the news of its workers."""

from __future__ import annotations

import time

import pytest

from paceline.base.slo import DEFAULT_OBJECTIVES
from paceline.measure.engine.tally import News
from paceline.measure.failure import Failure
from paceline.measure.load.schedule import make_schedule
from paceline.measure.observer import Observer
from paceline.measure.plan import ClosedLoop, OpenLoop, Plan, Stage, Target

MS = 1_000_000


def observer(load, started_s_ago=1.0):
    schedule = make_schedule(Plan(target=Target(url="http://h/"), load=load), None, 1)
    return Observer(schedule, DEFAULT_OBJECTIVES, time.monotonic_ns() - int(started_s_ago * 1e9))


def news(worker=0, done=0, failures=None, in_flight=0, latencies_ms=(), lag_ms=None, stopping=False):
    failures = failures or {}
    failed = sum(failures.values())
    return News(
        worker=worker,
        sent=done + failed + in_flight,
        done=done,
        failed=failed,
        failures=failures,
        in_flight=in_flight,
        tokens=0,
        latencies_ns=[int(ms * MS) for ms in latencies_ms],
        lag_p99_ns=None if lag_ms is None else lag_ms * MS,
        stopping=stopping,
    )


TEN_SECONDS = OpenLoop((Stage(10, 100),), process="constant")


def test_workers_add_up_and_the_latest_lag_is_shown():
    watch = observer(TEN_SECONDS)
    watch.take([news(0, 10, {1: 2}, 3, lag_ms=0.1), news(1, 20, {5: 1}, lag_ms=0.4)])

    now = watch.progress()

    assert (now.sent, now.done, now.failed, now.in_flight) == (36, 30, 3, 3)
    assert now.failures == {Failure.REFUSED.label: 2, Failure.TIMEOUT.label: 1}
    assert now.lag_p99_ms == pytest.approx(0.4)
    assert (now.scheduled, now.total_s) == (1000, 10)


def test_newer_news_of_a_worker_replaces_the_older():
    watch = observer(TEN_SECONDS)
    watch.take([news(0, 10)])
    watch.take([news(0, 15)])

    assert watch.progress().done == 15


def test_percentiles_are_of_good_answers_and_judged_against_the_objectives():
    watch = observer(TEN_SECONDS)
    watch.take([news(0, 100, latencies_ms=range(1, 1001))])

    now = watch.progress()

    assert now.p50_ms == pytest.approx(500, rel=0.01)
    assert now.recent_p95_ms == pytest.approx(950, rel=0.01)
    states = {row.name: row.state for row in now.slo}
    assert states["p95_ms"] == "critical"
    assert states["error_percent"] == "ok"
    assert states["hit_percent"] == "unknown"


def test_before_any_answer_there_are_no_percentiles():
    now = observer(TEN_SECONDS).progress()

    assert (now.p50_ms, now.recent_p99_ms, now.lag_p99_ms, now.tokens_per_s) == (None,) * 4


def test_failures_are_judged_over_the_last_hundred_requests():
    watch = observer(TEN_SECONDS)
    watch.take([news(0, 50)])
    early = watch.failed_percent()
    watch.take([news(0, 1000)])
    watch.take([news(0, 1000, {5: 100})])

    assert early is None
    assert watch.failed_percent() == 100


def test_the_phase_is_the_stage_and_at_the_end_the_drain():
    load = OpenLoop((Stage(1, 10, name="warm"), Stage(1, 10)))

    assert observer(load, 0.5).progress().phase == "warm"
    assert observer(load, 1.5).progress().phase == "stage 2"
    assert observer(load, 2.5).progress().phase == "drain"


def test_a_number_of_requests_has_no_time_of_its_own():
    now = observer(ClosedLoop((Stage(60, 4),), requests=500)).progress()

    assert (now.total_s, now.scheduled) == (None, 500)
