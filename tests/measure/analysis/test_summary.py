"""A report says what happened, how surely, and nothing that it cannot know."""

from __future__ import annotations

import math

import pytest
from known_runs import MS, S, constant_rate, failed, lag, mm1, plan, row, run_of, steady_rows, users, worker

from paceline.base.errors import ConfigError
from paceline.measure.analysis.summary import summarise
from paceline.measure.failure import Failure
from paceline.measure.plan import OpenLoop, Stage, Stopping
from paceline.measure.records.record import ServerSample
from paceline.measure.report import Capacity, Estimate, decode, encode


def check(report, name):
    return next(check for check in report.validity.checks if check.name == name)


# -- what was measured


def test_the_quantiles_of_a_queue_are_within_their_intervals():
    """The time in an M/M/1 queue is exponential, so every quantile is known."""
    report = summarise(run_of(plan(constant_rate(1_000, 40)), mm1(40_000, 1_000, 0.5)))
    mean_ms = 1.0  # 1 / (2,000/s served - 1,000/s asked)

    assert report.validity.state == "VALID"
    assert report.steady == "steady"
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        estimate = report.latency_ms.quantiles[name]
        truth = -math.log(1 - q) * mean_ms
        width = estimate.high - estimate.low
        assert estimate.low - width / 2 < truth < estimate.high + width / 2
        assert estimate.low < estimate.value < estimate.high
    assert report.latency_ms.effective < report.latency_ms.count / 2


def test_latency_counts_from_the_intended_start_and_service_from_the_actual_one():
    rows = [row(i, i * 10 * MS, 7 * MS, sent_ns=i * 10 * MS + 3 * MS) for i in range(300)]
    report = summarise(run_of(plan(users(1, 3)), rows))

    assert report.latency_ms.quantiles["p50"].value == pytest.approx(7.0)
    assert report.service_ms.quantiles["p50"].value == pytest.approx(4.0)


def test_only_good_answers_have_a_latency_and_failures_are_counted_by_kind():
    rows = steady_rows(1_000, 100)
    rows[10] = failed(10, rows[10][2], Failure.STATUS, status=503)
    rows[11] = failed(11, rows[11][2], Failure.TIMEOUT)
    rows[12] = failed(12, rows[12][2], Failure.TIMEOUT)
    report = summarise(run_of(plan(constant_rate(100, 10)), rows))

    assert (report.sent, report.done, report.failed) == (1_000, 997, 3)
    assert report.failures == {"timeout": 2, "status": 1}
    assert report.statuses == {"200": 997, "503": 1}
    assert report.latency_ms.count == 997
    assert report.received_bytes == 99_700
    assert any("3 requests failed (2 timeout, 1 status)" in note for note in report.notes)
    assert next(row.value for row in report.slo if row.name == "error_percent") == pytest.approx(0.3)


def test_the_rate_of_an_open_loop_is_that_of_the_schedules_time():
    """Answers that come while the last ones are awaited are not throughput."""
    rows = [row(i, i * 10 * MS, 2 * S) for i in range(1_000)]
    report = summarise(run_of(plan(constant_rate(100, 10)), rows))

    assert report.offered_per_s == pytest.approx(100)
    assert report.done_per_s.value == pytest.approx(80, rel=0.01)
    assert report.duration_s == 10
    assert report.series.at_s[-1] == 11


def test_a_closed_loop_that_counts_its_requests_ends_with_the_last_answer():
    rows = [row(i, i * 5 * MS, 5 * MS) for i in range(1_000)]
    report = summarise(run_of(plan(users(1, 3_600, requests=1_000)), rows))

    assert report.duration_s == pytest.approx(5.0)
    assert report.done_per_s.value == pytest.approx(200)
    assert report.offered_per_s is None
    assert any("open loop" in note for note in report.notes)


def test_a_warm_up_is_found_and_cut():
    """The first second is slow: 100 ms instead of 10."""
    rows = steady_rows(2_000, 100)
    rows[:100] = [row(i, i * 10 * MS, 100 * MS) for i in range(100)]
    report = summarise(run_of(plan(constant_rate(100, 20), warmup_s=None), rows))

    assert 1.0 <= report.warmup_s < 3.0
    assert report.latency_ms.max < 12.1
    assert report.steady == "steady"
    assert any("MSER-5" in note for note in report.notes)


def test_a_warm_up_that_was_asked_for_is_cut_as_asked():
    report = summarise(run_of(plan(constant_rate(100, 20), warmup_s=5.0), steady_rows(2_000, 100)))

    assert report.warmup_s == 5.0
    assert report.latency_ms.count == 1_500
    assert report.done_per_s.value == pytest.approx(100, rel=0.01)
    assert report.done == 2_000


def test_nothing_is_cut_of_a_load_that_changes_and_its_percentiles_have_no_interval():
    load = OpenLoop((Stage(10, 50, name="low"), Stage(10, 100, name="high")))
    low = [row(i, i * 20 * MS, 10 * MS) for i in range(500)]
    high = [row(500 + i, 10 * S + i * 10 * MS, 30 * MS, stage=1) for i in range(1_000)]
    report = summarise(run_of(plan(load, warmup_s=None), low + high))
    p95 = report.latency_ms.quantiles["p95"]

    assert report.validity.state == "VALID"
    assert (report.warmup_s, report.steady) == (0.0, "unknown")
    assert (p95.value, p95.low) == (pytest.approx(30.0), None)
    assert "not constant" in p95.reason
    assert [(s.name, s.level, s.sent, s.done_per_s) for s in report.stages] == [
        ("low", 50, 500, 50.0),
        ("high", 100, 1_000, 100.0),
    ]
    assert [s.p95_ms for s in report.stages] == [pytest.approx(10.0), pytest.approx(30.0)]
    assert any("stages are listed" in note for note in report.notes)
    assert next(row.state for row in report.slo if row.name == "p95_ms") == "ok"


# -- whether it can be believed


def test_an_invalid_run_shows_no_percentile():
    late = worker(lag=lag(5 * MS))
    report = summarise(run_of(plan(constant_rate(100, 10)), steady_rows(1_000, 100), ends=[late]))

    assert report.validity.state == "INVALID"
    for of in (report.latency_ms, report.service_ms):
        assert all(estimate.value is None for estimate in [of.mean, *of.quantiles.values()])
        assert all(estimate.reason.startswith("run is invalid: ") for estimate in of.quantiles.values())
        assert (of.min, of.max, of.stddev) == (None, None, None)
        assert of.count == 1_000
    assert report.done_per_s.value is None
    assert report.goodput_percent is None
    assert report.stages[0].p95_ms is None
    assert report.slo_state != "critical"
    assert all(row.value is None for row in report.slo if row.unit == "ms")
    assert sum(count for _, count in report.latency_ms.histogram) == 1_000
    assert report.series.p95_ms[0] is not None


def test_too_few_samples_for_the_percentile_asked_are_inconclusive():
    made = plan(constant_rate(100, 5), thresholds=("p(99)<300",))
    report = summarise(run_of(made, steady_rows(500, 100)))
    (objective,) = report.slo

    assert report.validity.state == "INCONCLUSIVE"
    assert "p99" in check(report, "effective_samples_p99_ms").message
    assert report.latency_ms.quantiles["p99"].value is not None
    assert "needs 1,000" in report.latency_ms.quantiles["p99"].reason
    assert objective.value == report.latency_ms.quantiles["p99"].value
    assert "needs 1,000" in objective.reason
    assert (objective.state, report.slo_state) == ("unknown", "unknown")


def test_without_thresholds_only_p95_must_be_known():
    report = summarise(run_of(plan(constant_rate(100, 5)), steady_rows(500, 100)))
    states = {row.name: row.state for row in report.slo}

    assert report.validity.state == "VALID"
    assert (states["p95_ms"], states["p99_ms"]) == ("ok", "unknown")
    assert report.slo_state == "ok"


def test_the_quantile_that_a_run_was_to_stop_at_must_be_known():
    made = plan(constant_rate(100, 5), stopping=Stopping(precision=0.05, quantile=0.99))
    report = summarise(run_of(made, steady_rows(500, 100)))

    assert report.validity.state == "INCONCLUSIVE"


def test_a_queue_that_grows_is_inconclusive():
    rows = [row(i, i * 10 * MS, 10 * MS + i * MS) for i in range(1_000)]
    report = summarise(run_of(plan(constant_rate(100, 10)), rows))

    assert report.steady == "rising"
    assert report.validity.state == "INCONCLUSIVE"
    assert "above capacity" in check(report, "steady").message


def test_requests_that_found_no_connection_make_the_run_invalid():
    report = summarise(
        run_of(plan(constant_rate(100, 10)), steady_rows(990, 100), ends=[worker(unsent=10)], scheduled=1_000)
    )

    assert report.validity.state == "INVALID"
    assert report.failures == {"unsent": 10}
    assert report.failed == 10
    assert "connections" in check(report, "unsent").message


def test_a_run_without_an_answer_says_why():
    rows = [failed(i, i * 10 * MS, Failure.REFUSED) for i in range(100)]
    rows = [(*values[:3], -1, *values[4:]) for values in rows]
    report = summarise(run_of(plan(constant_rate(100, 1)), rows))

    assert report.validity.state == "INVALID"
    assert "refused (100 requests)" in check(report, "answers").message
    assert report.latency_ms.quantiles["p95"].value is None
    assert check(report, "achieved_rate").state == "VALID"
    assert next(row.state for row in report.slo if row.name == "error_percent") == "critical"


def test_a_run_without_a_single_row_is_reported():
    report = summarise(run_of(plan(constant_rate(100, 1)), [], ends=[], scheduled=100))

    assert (report.ended, report.validity.state, report.sent) == ("broken_off", "INVALID", 0)
    assert decode(encode(report)) == report


# -- how it ended


def test_a_worker_without_a_last_word_means_broken_off():
    rows = steady_rows(600, 100)
    run = run_of(
        plan(constant_rate(100, 60), workers=2), rows, scheduled=6_000, torn="the last block is cut short"
    )
    report = summarise(run)

    assert report.ended == "broken_off"
    assert "1 of 2 workers" in report.ended_because
    assert report.duration_s == pytest.approx(6.0, abs=0.02)
    assert report.validity.state == "VALID"
    assert report.generator.lag_p99_ms == pytest.approx(0.02, rel=0.01)
    assert any("cut short" in note for note in report.notes)


@pytest.mark.parametrize("ended", ["interrupted", "time_limit", "stopped"])
def test_a_run_that_ended_early_is_judged_on_what_it_has(ended):
    run = run_of(
        plan(constant_rate(100, 60)),
        steady_rows(600, 100),
        ends=[worker(ended=ended, ended_because="because")],
        scheduled=6_000,
    )
    report = summarise(run)

    assert (report.ended, report.ended_because) == (ended, "because")
    assert report.done_per_s.value == pytest.approx(100, rel=0.01)
    assert report.validity.state == "VALID"


# -- objectives


def test_goodput_is_the_share_of_all_requests_within_the_strictest_limit():
    rows = [row(i, i * 10 * MS, (400 if i % 10 == 0 else 100) * MS) for i in range(1_000)]
    rows[1] = failed(1, rows[1][2], Failure.RESET)
    made = plan(constant_rate(100, 10), thresholds=("p(95)<300", "p(99)<500", "med<50"))

    assert summarise(run_of(made, rows)).goodput_percent == pytest.approx(89.9)


def test_a_hit_rate_is_not_told_of_a_server_that_tells_only_of_hits():
    """Half of the answers say that they come from a cache, the others nothing: all of them would be a lie."""
    rows = [(*values[:12], 2 if index % 2 else 0) for index, values in enumerate(steady_rows(100, 100))]
    server = [ServerSample(float(at), "process 7", 40.0, 1e9, 20.0, 3.0, None, None) for at in range(2)]

    assert summarise(run_of(plan(constant_rate(100, 1)), rows, server=server)).server.hit_percent is None


def test_objectives_on_everything_that_is_measured_get_a_value():
    made = plan(
        constant_rate(100, 10),
        thresholds=(
            *("avg<20", "max<100", "p(90)<20", "errors<1%", "rate>50", "hits>10%"),
            *("queue<50", "cpu<70%", "memory<6GB", "goodput>90%"),
        ),
    )
    rows = [(*values[:12], 2 if index % 2 else 1) for index, values in enumerate(steady_rows(1_000, 100))]
    server = [ServerSample(float(at), "process 7", 40.0, 1e9, 20.0, 3.0, None, None) for at in range(10)]
    report = summarise(run_of(made, rows, server=server))

    assert {row.name: row.state for row in report.slo} == dict.fromkeys(
        (row.name for row in report.slo), "ok"
    )
    assert report.slo_state == "ok"
    assert report.server.hit_percent == 50.0


def test_a_wrong_threshold_is_refused():
    with pytest.raises(ConfigError, match="p\\(77\\)"):
        summarise(run_of(plan(constant_rate(100, 1), thresholds=("p(77)<3",)), steady_rows(100, 100)))


def test_a_capacity_found_beside_the_run_is_carried():
    capacity = Capacity("p95 <= 300 ms", Estimate(412, 398, 425), [])

    assert summarise(run_of(plan(users(1, 10)), steady_rows(300, 30)), capacity=capacity).capacity == capacity
