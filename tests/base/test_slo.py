"""Objectives have three states, and what was not measured is never good."""

from __future__ import annotations

import pytest

from paceline.base.slo import DEFAULT_OBJECTIVES, Objective, judge, worst

LATENCY = Objective("p95_ms", "p95 latency", 300, 600, "ms")
HITS = Objective("hit_percent", "cache hit rate", 50, 30, "%", higher_is_better=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "ok"), (299.9, "ok"), (300, "warning"), (599, "warning"), (600, "critical"), (None, "unknown")],
)
def test_a_latency_is_good_below_its_target(value, expected):
    assert expected == LATENCY.state(value)


@pytest.mark.parametrize(
    ("value", "expected"), [(80, "ok"), (50, "warning"), (40, "warning"), (30, "critical"), (0, "critical")]
)
def test_a_hit_rate_is_good_above_its_target(value, expected):
    assert expected == HITS.state(value)


def test_judge_names_every_objective_and_what_is_missing():
    verdicts = judge({"p95_ms": 10.0})

    assert len(DEFAULT_OBJECTIVES) == len(verdicts)
    assert [("p95_ms", "ok")] == [(v.objective.name, v.state) for v in verdicts if v.value is not None]
    assert "unknown" == worst(verdicts)


def test_the_worst_row_is_the_tables_state():
    good = {
        "p95_ms": 1,
        "p99_ms": 1,
        "error_percent": 0,
        "hit_percent": 99,
        "queue_depth": 0,
        "cpu_percent": 1,
        "memory_gb": 1,
    }

    assert "ok" == worst(judge(good))
    assert "warning" == worst(judge({**good, "cpu_percent": 80}))
    assert "critical" == worst(judge({**good, "cpu_percent": 80, "error_percent": 5}))
