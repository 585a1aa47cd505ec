"""Streams and long runs, whose figures come from histograms."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from known_runs import MS, STREAMED, constant_rate, mm1, plan, row, run_of, seconds_of, steady_rows

from paceline.measure.analysis import distribution
from paceline.measure.analysis.summary import summarise
from paceline.measure.failure import Failure
from paceline.measure.records.record import Second
from paceline.measure.report import decode, encode


def test_a_streamed_run_reports_its_tokens():
    rows, streams = [], []
    for i in range(400):
        due = i * 25 * MS
        times = [due + 50 * MS + k * 10 * MS for k in range(11)]
        rows.append(
            row(
                i,
                due,
                160 * MS,
                first_ns=times[0],
                last_ns=due + 160 * MS,
                completion_tokens=11,
                prompt_tokens=5,
                token_events=11,
            )
        )
        streams.append((i, times))
    made = plan(
        constant_rate(40, 10), payload=STREAMED, thresholds=("ttft p(95)<60", "tpot p(95)<5", "itl p(95)<50")
    )
    report = summarise(run_of(made, rows, streams=streams))

    assert report.streaming.ttft_ms.quantiles["p50"].value == pytest.approx(50)
    assert {row.name: row.state for row in report.slo} == {
        "ttft_p95_ms": "ok",
        "tpot_p95_ms": "critical",
        "itl_p95_ms": "ok",
    }
    assert report.goodput_percent == 0.0
    assert next(one for one in report.validity.checks if one.name == "tokens").state == "VALID"


def test_histograms_by_second_and_rows_tell_the_same():
    rows = mm1(20_000, 200, 0.6)
    made = plan(constant_rate(200, 100))
    exact = summarise(run_of(made, rows))
    seconds = seconds_of(rows)
    counted = summarise(
        run_of(msgspec.structs.replace(made, records="histogram"), seconds=seconds, scheduled=20_000)
    )

    assert (counted.sent, counted.done, counted.failures) == (exact.sent, exact.done, exact.failures)
    assert counted.statuses == exact.statuses
    for name in ("p50", "p95", "p99"):
        mine, theirs = counted.latency_ms.quantiles[name], exact.latency_ms.quantiles[name]
        assert mine.value == pytest.approx(theirs.value, rel=5e-4)
    p95, truth = counted.latency_ms.quantiles["p95"], exact.latency_ms.quantiles["p95"]
    assert 0.4 < (p95.high - p95.low) / (truth.high - truth.low) < 2.5
    assert counted.done_per_s.value == pytest.approx(exact.done_per_s.value, rel=0.01)
    assert counted.series.offered_per_s[:100] == exact.series.offered_per_s[:100]
    assert counted.goodput_percent == exact.goodput_percent
    assert counted.validity.state == "VALID"


def test_failures_are_counted_in_histograms_too():
    second = Second(at_s=0, stage=0, sent=10, failed={int(Failure.RESET): 4, int(Failure.UNSENT): 1}, done=6)
    second.latency = second.service = dict(Counter({1000: 6}))
    report = summarise(
        run_of(plan(constant_rate(10, 1), records="histogram"), seconds=[second], scheduled=11)
    )

    assert report.failures == {"reset": 4, "unsent": 1}
    assert report.done == 6


def test_more_rows_than_are_worth_sorting_go_through_histograms(monkeypatch):
    run = run_of(plan(constant_rate(1_000, 20)), mm1(20_000, 1_000, 0.5))
    exact = summarise(run)
    monkeypatch.setattr(distribution, "MOST_SORTED", 1_000)
    counted = summarise(run)

    assert counted.latency_ms.count == 20_000
    for name in ("p50", "p95"):
        mine, theirs = counted.latency_ms.quantiles[name], exact.latency_ms.quantiles[name]
        assert mine.value == pytest.approx(theirs.value, rel=5e-4)
        assert 0.5 < (mine.high - mine.low) / (theirs.high - theirs.low) < 2.0
    assert counted.stages[0].p99_ms == pytest.approx(exact.stages[0].p99_ms, rel=5e-4)
    assert counted.validity.state == exact.validity.state


def test_reports_survive_json():
    report = summarise(run_of(plan(constant_rate(100, 10)), steady_rows(1_000, 100)))

    assert decode(encode(report)) == report
