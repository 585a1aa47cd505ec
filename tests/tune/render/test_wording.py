"""The verdict is a sentence that stands alone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tune_reports import OBJECTIVES, VARIANTS, applied, infeasible, kept

from paceline.tune.render.wording import (
    because,
    changed,
    changes,
    found,
    gain,
    headline,
    metric,
    relative,
    searched,
    state,
    workload,
)
from paceline.tune.report import Range, SloValue


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("applied", "p95 latency 61.0 ms -> 22.4 ms (-62 % [-67, -58]), applied"),
        ("written", "p95 latency 61.0 ms -> 22.4 ms (-62 % [-67, -58]), written to tuned.toml"),
        (
            "kept",
            "The settings stay as they are: the best candidate is not better for sure, p95 latency -0.9 % [-2.4, +0.7]",
        ),
        (
            "infeasible",
            "No setting meets the objectives; max_cost=128 max_size=4 max_wait_ms=2.0 comes closest, p95 latency 22.4 ms where < 5 ms was asked",
        ),
        ("died", "The new settings were taken back: p95 131 ms in two windows, guard 80 ms"),
        ("interrupted", "Interrupted after 31 s, before a decision"),
        ("failed", "No baseline: nobody listens at http://localhost:8080"),
        ("foreign", "rate 391/s -> 512/s (+31 % [+27, +36]), written to tuned.toml"),
    ],
)
def test_every_outcome_has_a_sentence(name, said):
    assert said == headline(VARIANTS[name]())


def test_what_the_sentence_rests_on_stands_beside_it():
    assert "3 of 3 objectives met with it, 2 of 3 before; A/B of 9 blocks: better" == because(applied())
    assert "3 of 3 objectives met by the settings as they are; A/B of 12 blocks: undecided" == because(kept())


def test_without_an_ab_the_first_objective_that_was_measured_on_both_sides_is_told():
    assert "p95 latency 61.2 ms -> 22.4 ms (-63 %)" == gain(replace(applied(), ab=None))
    assert "A new setting, applied" == headline(replace(applied(), ab=None, after=[]))


def test_a_tune_without_a_candidate_says_so():
    assert "The settings stay as they are: no candidate was better than them" == headline(
        replace(kept(), ab=None)
    )


def test_without_a_setting_that_is_near_none_is_named():
    assert "No setting meets the objectives" == headline(replace(infeasible(), closest=None))
    assert headline(replace(infeasible(), after=[])).endswith("max_wait_ms=2.0 comes closest")


def test_a_setting_in_force_that_misses_a_target_is_no_success():
    missed = [SloValue(OBJECTIVES[0], 55.0, "warning")]

    assert "ok" == state(applied())
    assert "warning" == state(replace(applied(), after=missed))
    assert "unknown" == state(kept())
    assert "warning" == state(replace(kept(), baseline=missed))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Range(-0.28, -0.33, -0.22), "-28 % [-33, -22]"),
        (Range(0.004, -0.021, 0.03), "+0.4 % [-2.1, +3.0]"),
        (Range(-0.28, None, -0.22), "-28 % [?, -22]"),
        (Range(-0.0001), "+0.0 %"),
        (Range(reason="one block"), "no value: one block"),
    ],
)
def test_a_change_has_a_sign_and_as_many_digits_as_it_needs(change, said):
    assert said == relative(change)


def test_nothing_is_said_of_a_change_from_zero_or_from_nothing():
    assert ["-", "-", "-"] == [changed(0.0, 1.0), changed(None, 1.0), changed(1.0, None)]


def test_a_metric_is_called_as_its_objective_or_as_its_name_has_it():
    assert ("rate", "/s") == metric("rate_per_s", OBJECTIVES)
    assert ("p99 latency", "ms") == metric("p99_ms", OBJECTIVES)
    assert ("CPU time a good request", "s") == metric("cpu_s", OBJECTIVES)
    assert ("engine", "ms") == metric("engine_ms", OBJECTIVES)
    assert ("batch size", "") == metric("batch_size", [])


def test_a_changed_knob_is_shown_with_its_old_value_and_how_it_takes_effect():
    rows = changes(applied(), {"embed.lanes": 2, "embed.cache.memory_mb": 0, "unheard.of": True})

    assert [
        ("embed.cache.memory_mb", "64 MB", "0 MB", "live"),
        ("embed.lanes", "1 threads", "2 threads", "after a restart"),
        ("unheard.of", "-", "true", "-"),
    ] == rows


def test_a_value_is_shown_beside_the_level_that_it_crossed():
    assert "80.4 ms" == found(SloValue(OBJECTIVES[0], 80.4, "critical"))
    assert "-" == found(None)


def test_the_load_is_told_with_its_lengths_where_they_are_known():
    report = applied()
    bare = replace(report, workload=replace(report.workload, tokens_p50=None))

    assert workload(report).endswith("61.3 % distinct, 24 tokens (p95 71)")
    assert workload(bare).endswith("61.3 % distinct")


def test_the_search_is_counted_in_settings_live_runs_and_parts():
    report = applied()

    assert "400 of 1,200 settings simulated, 1,870 a second; 9 live runs and 18 parts of an A/B" == searched(
        report
    )
    assert "any number of settings; 1 live run" == searched(
        replace(report, settings_total=None, predictions=[], trials=report.trials[:1])
    )
