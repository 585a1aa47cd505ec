"""Objectives first, then the aim."""

from __future__ import annotations

from math import inf, log, nan

import pytest

from paceline.base.errors import ConfigError
from paceline.base.slo import Objective
from paceline.tune.goal import Goal
from paceline.tune.observation import Observation

P95 = Objective("p95_ms", "p95 latency", 100, 200, "ms")
ERRORS = Objective("error_percent", "errors", 1, 2, "%")
HITS = Objective("hit_percent", "cache hit rate", 50, 30, "%", higher_is_better=True)
QUEUE = Objective("queue_depth", "queue depth", 50, 100, "jobs")


def run(latency_ms, *, failed=0, cpu_s=None, **metrics):
    """Hundred requests of one latency in two seconds."""
    answered = [float(latency_ms)] * (100 - failed)
    return Observation([*answered, *[nan] * failed], 100, failed, 2.0, cpu_s, metrics)


def test_measures_the_objectives_it_is_given():
    """From the run where it can, else from what the server said; the rest is named."""
    goal = Goal((P95, ERRORS, HITS, QUEUE))
    values = goal.measured(run(80, failed=2, hit_percent=60.0))

    assert values == {"p95_ms": 80, "error_percent": 2, "hit_percent": 60}
    assert goal.unmeasured(values) == (QUEUE,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p99.9_ms", 80),
        ("mean_ms", 80),
        ("max_ms", 80),
        ("rate_per_s", 49),
        ("goodput_percent", 98),
        ("p100_ms", None),
    ],
)
def test_knows_the_quantities_of_a_run(name, expected):
    """By the names that reports use."""
    goal = Goal((Objective(name, name, 1, 2, ""),))

    assert goal.measured(run(80, failed=2)).get(name) == expected


def test_cpu_is_of_all_cores(monkeypatch):
    """As the table of objectives means it; the server's own word counts first."""
    monkeypatch.setattr("paceline.tune.goal.cpu_count", lambda: 4)
    goal = Goal((Objective("cpu_percent", "CPU", 70, 90, "%"),))

    assert goal.measured(run(80, cpu_s=4.0)) == {"cpu_percent": 50}
    assert goal.measured(run(80, cpu_s=4.0, cpu_percent=12.0)) == {"cpu_percent": 12}
    assert goal.measured(run(80)) == {}


@pytest.mark.parametrize(
    ("values", "expected", "binding"),
    [
        ({"p95_ms": 99.0, "error_percent": 0.0}, 0.0, None),
        ({"p95_ms": 120.0, "error_percent": 1.1}, 0.2, P95),
        ({"p95_ms": 120.0, "error_percent": 3.0}, 2.0, ERRORS),
        ({"hit_percent": 40.0}, 0.2, HITS),
        ({"p95_ms": inf}, inf, P95),
        ({}, 0.0, None),
    ],
)
def test_violation_is_the_largest_relative_excess(values, expected, binding):
    """And names what binds."""
    goal = Goal((P95, ERRORS, HITS))

    assert goal.violation(values) == pytest.approx(expected)
    assert goal.binding(values) == binding


def test_a_target_is_to_be_beaten_not_reached():
    """As `Objective.state` has it."""
    assert Goal((P95,)).violation({"p95_ms": 100.0}) > 0


def test_no_errors_at_all_is_a_target_like_another():
    """One error in a hundred is ten times the least target, not a million times the written one."""
    assert Goal((Objective("error_percent", "errors", 1e-9, 1, "%"),)).violation(
        {"error_percent": 1.0}
    ) == pytest.approx(10)


def test_score_is_small_for_the_better_run_in_every_aim():
    """Latency in ms, cost in CPU seconds per good request, throughput as minus good requests per second."""
    objectives = (P95, ERRORS)

    assert Goal(objectives, "latency").score(run(80)) == 80
    assert Goal(objectives, "cost").score(run(80, failed=50, cpu_s=1.0)) == 0.02
    assert Goal(objectives, "throughput").score(run(80, failed=50)) == -25
    assert Goal(objectives, "throughput").score(run(120)) == 0


def test_the_first_latency_among_the_objectives_is_the_one_to_make_small():
    """`p95_ms` without any."""
    assert Goal(()).latency_quantity == "p95_ms"
    assert Goal((ERRORS, Objective("p99_ms", "", 1, 2, "ms"), P95)).latency_quantity == "p99_ms"


@pytest.mark.parametrize(
    ("name", "expected"), [("p95_ms", inf), ("p50_ms", 80), ("mean_ms", 80), ("max_ms", 80)]
)
def test_a_failed_request_is_slower_than_an_answer(name, expected):
    """Six failures in a hundred leave no p95."""
    assert Goal((Objective(name, "", 100, 200, "ms"),)).score(run(80, failed=6)) == expected


@pytest.mark.parametrize(
    ("aim", "better", "worse", "expected"),
    [
        ("latency", run(40), run(80), log(2)),
        ("cost", run(40, cpu_s=1.0), run(40, cpu_s=2.0), log(2)),
        ("throughput", run(40), run(40, failed=50), log(2)),
    ],
)
def test_log_scores_differ_by_ratios(aim, better, worse, expected):
    """Whatever the aim."""
    goal = Goal((P95,), aim)

    assert goal.log_score(worse) - goal.log_score(better) == pytest.approx(expected)


@pytest.mark.parametrize("aim", ["latency", "cost", "throughput"])
def test_a_run_with_nothing_to_show_is_the_worst(aim):
    """Infinitely slow, dear or idle."""
    assert Goal((P95,), aim).log_score(run(80, failed=100, cpu_s=1.0)) == inf


def test_feasible_runs_come_first():
    """Then the less wrong; the score decides among equals."""
    goal = Goal((P95, ERRORS), "cost")
    fast, dear, slow, slower = (
        run(80, cpu_s=1.0),
        run(80, cpu_s=2.0),
        run(120, cpu_s=0.1),
        run(150, cpu_s=0.1),
    )

    assert sorted([slower, slow, dear, fast], key=goal.rank) == [fast, dear, slow, slower]


def test_an_unknown_aim_names_the_three():
    """The way out is in the message."""
    with pytest.raises(ConfigError, match="'speed' does not exist; aim for latency, throughput or cost"):
        Goal((), "speed")


def test_cost_needs_seconds():
    """A remote server tells neither CPU nor engine time."""
    with pytest.raises(ConfigError, match="needs the CPU seconds"):
        Goal((), "cost").score(run(80))
