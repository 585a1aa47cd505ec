"""What is written down during a tune."""

from __future__ import annotations

import pytest
from simulated_bench import ERRORS, SIZE, SimulatedBench, order_for

from paceline.base.errors import TrialFailed
from paceline.base.slo import Objective
from paceline.tune.goal import Goal
from paceline.tune.journal import Journal, slo_values, told
from paceline.tune.observation import Observation
from paceline.tune.report import decode, encode
from paceline.tune.watcher import Silence

HITS = Objective("hit_percent", "cache hit rate", 50, 30, "%", higher_is_better=True)


class Heard(Silence):
    """What a watcher was told."""

    def __init__(self):
        self.steps, self.notes, self.advanced = [], [], 0

    def step(self, text):
        self.steps.append(text)

    def note(self, text):
        self.notes.append(text)

    def advance(self, n=1):
        self.advanced += n


def journal(bench, watcher=None, **changes):
    return Journal(bench, order_for(**changes), watcher or Silence(), now=bench.now)


def test_every_run_is_written_down_with_its_time():
    bench, heard = SimulatedBench(), Heard()
    book = journal(bench, heard)
    book.live("baseline", {})
    book.live("verify", {SIZE: 1})
    first, second = book.trials

    assert [(one.number, one.phase, one.setting) for one in book.trials] == [
        (1, "baseline", {}),
        (2, "verify", {SIZE: 1}),
    ]
    assert (first.at_s, second.at_s) == (0.0, first.seconds)
    assert second.at_s + second.seconds == book.elapsed_s == bench.now()
    assert book.left_s == 300.0 - bench.now()
    assert heard.steps[1].startswith("max_size=1: p95 ")
    assert heard.advanced == 2


def test_a_run_that_failed_is_written_down_too_and_counts():
    bench, heard = SimulatedBench(disturbed=lambda number, setting: None), Heard()
    book = journal(bench, heard)
    with pytest.raises(TrialFailed):
        book.live("verify", {SIZE: 1})

    assert book.trials[0].failed == "the server died during the run"
    assert (book.trials[0].values, book.trials[0].score, book.trials[0].violation) == ({}, None, None)
    assert (book.runs, heard.advanced) == (1, 1)
    assert heard.notes == ["max_size=1: the server died during the run"]


def test_runs_of_the_ab_test_are_not_counted_and_not_shown():
    """They have a budget and a line of their own."""
    bench, heard = SimulatedBench(), Heard()
    book = journal(bench, heard)
    book.live("a/b", {}, part=(0, 90))

    assert (book.runs, heard.steps, heard.advanced) == (0, [], 1)


def test_a_run_takes_what_the_longest_one_took():
    """Before there was any, what the trace takes and a second."""
    bench = SimulatedBench()
    book = journal(bench)
    before = book.run_s
    book.live("baseline", {})

    assert before == bench.duration_s + 1.0
    assert book.run_s == bench.now()


def test_a_run_without_an_answer_has_no_score_and_is_still_json():
    bench = SimulatedBench(disturbed=lambda number, setting: float("nan"))
    book = journal(bench)
    book.live("baseline", {})
    read = decode(encode(book.report()))

    assert (read.trials[0].score, read.trials[0].violation) == (None, None)
    assert "p95_ms" not in read.trials[0].values


def test_there_is_a_report_before_there_is_anything_to_report():
    report = journal(SimulatedBench()).report()

    assert (report.outcome, report.trials, report.workload.requests) == ("failed", [], 180)
    assert report.baseline_setting == {
        "embed.batch.max_wait_ms": 20.0,
        "embed.batch.max_size": 32,
        "embed.batch.adaptive": False,
    }


def test_runs_are_told_by_the_names_of_objectives():
    """Those asked for, those everybody wants to see, and what the server said of itself."""
    observation = Observation([10.0] * 99 + [float("nan")], 100, 1, 2.0, 0.99, {"hit_percent": 60.0})
    values = told(Goal((HITS, Objective("mean_ms", "mean", 20, 30, "ms"))), observation)

    assert values == {
        "p50_ms": 10.0,
        "p95_ms": 10.0,
        "p99_ms": 10.0,
        "error_percent": 1.0,
        "rate_per_s": 49.5,
        "cpu_ms": pytest.approx(10.0),
        "hit_percent": 60.0,
        "mean_ms": 10.0,
    }


def test_objectives_stand_beside_what_was_measured():
    row, unknown = slo_values(Goal((ERRORS, HITS)), {"error_percent": 1.5})

    assert (row.value, row.state) == (1.5, ERRORS.state(1.5))
    assert (unknown.value, unknown.state) == (None, HITS.state(None))


def test_neighbours_on_the_machine_are_told_with_how_often_and_how_much():
    """A run that others disturbed says more about them than about its setting."""
    journal = Journal(SimulatedBench(), order_for(), Silence())
    for share in (2.0, 12.0, 40.0):
        run = Observation([5.0] * 40, sent=40, failed=0, duration_s=1.0, metrics={"others_percent": share})
        journal.write("verify", {}, run, 0.0)

    (warning,) = journal.report().warnings
    assert "used 12 to 40 % of the machine during 2 of 3 live runs" in warning
