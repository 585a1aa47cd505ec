"""Tune reports as real ones are, made from a seed: what the renderers are tested with.

`applied()` found a gain and applied it; the others differ where their name says.
"""

from __future__ import annotations

from functools import cache

from msgspec.structs import replace
from tune_figures import (
    BASELINE,
    CALIBRATION,
    FOURTH,
    KNOBS,
    OBJECTIVES,
    QUICK,
    SECOND,
    THIRD,
    WINNER,
    WORKLOAD,
    judged,
    points,
    predictions,
    trials,
    values,
)

from paceline.base.slo import Objective
from paceline.tune.report import (
    AbResult,
    QualityCheck,
    Range,
    SearchedKnob,
    SloValue,
    Standing,
    Step,
    Trial,
    TuneReport,
    Workload,
)
from paceline.tune.setting import Value


@cache
def applied() -> TuneReport:
    """A gain that was proven and applied step by step."""
    blocks = points(-0.63, 0.05)
    change, low, high = blocks[-1]
    return TuneReport(
        run_id="t-20260314-0915",
        made_at="2026-03-14T09:15:02Z",
        paceline="0.1.0",
        url="http://localhost:8080",
        aim="cost",
        objectives=OBJECTIVES,
        budget_s=300.0,
        seconds=187.0,
        workload=WORKLOAD,
        knobs=KNOBS,
        settings_total=1_200,
        outcome="applied",
        winner=WINNER,
        why=[
            "Of the five settings that were run live it holds every objective with the least engine time, in all three rounds.",
            "Waiting binds: at 120 requests/s a batch fills to 4 texts after 2 ms, so a longer wait only adds to latency.",
            "That 2 lanes would be better still was not proven: the difference is within the margin of 3 %.",
        ],
        undo=[
            "curl -X PATCH -H 'Authorization: Bearer ...' http://localhost:8080/admin/settings -d @baseline.json",
            "paceline tune undo t-20260314-0915",
        ],
        baseline_setting=BASELINE,
        baseline=judged(p95_ms=61.2, error_percent=0.0, rate_per_s=119.6),
        after=judged(p95_ms=22.4, error_percent=0.0, rate_per_s=119.8),
        calibration=CALIBRATION,
        predictions=predictions(),
        trials=trials(),
        quality=[
            QualityCheck(
                QUICK, "recall@10", 500, Range(0.004, 0.001, 0.007), 0.01, True, "the loss is below 0.01 for sure"
            ),
            QualityCheck(
                {"embed.precision": "bf16", "embed.lanes": 2}, "recall@10", 500, Range(0.013, 0.006, 0.021), 0.01,
                False, "the loss may be as large as 0.021",
            ),
        ],
        standings=[
            Standing(WINNER, 3, 2.53, None, "least engine time"),
            Standing(THIRD, 3, 2.55, None, "within the margin of the winner"),
            Standing(SECOND, 2, 2.76, 8, "9 % dearer than the best, [4, 15]"),
            Standing(FOURTH, 1, None, 6, "misses p95 latency: 50.1 ms, target 40 ms"),
            Standing(QUICK, 1, None, 6, "misses p95 latency: 47.1 ms, target 40 ms"),
        ],
        ab=AbResult(
            9, "p95_ms", Range(change, low, high), "better", values(61.0, 64.0), values(22.4, 52.0), blocks, 0.03
        ),
        steps=[
            Step({"embed.batch.max_size": 4}, 5.0, values(40.2), True, "p95 40.2 ms, within the guard of 80 ms"),
            Step(WINNER, 5.0, values(22.3), True, "p95 22.3 ms, within the guard of 80 ms"),
        ],
        warnings=["The trace holds 600 requests: p99 rests on 6 of them."],
        machine="bench-04: 32 x AMD EPYC 9354, Linux 6.8",
        seed=7,
        simulated_per_s=1_870.0,
    )  # fmt: skip


@cache
def written() -> TuneReport:
    """As `applied`, but the user wanted a file."""
    return replace(applied(), outcome="written", written_to="tuned.toml", steps=[], undo=["rm tuned.toml"])


@cache
def kept() -> TuneReport:
    """No candidate was better for sure."""
    blocks = points(-0.01, 0.02, 12)
    change, low, high = blocks[-1]
    return replace(
        applied(),
        outcome="kept",
        winner={},
        why=[
            "No candidate was better than the baseline for sure: the interval of the best reaches across zero."
        ],
        undo=[],
        after=judged(p95_ms=22.6, error_percent=0.0, rate_per_s=119.6),
        baseline=judged(p95_ms=22.6, error_percent=0.0, rate_per_s=119.6),
        quality=[],
        steps=[],
        ab=AbResult(
            12, "p95_ms", Range(change, low, high), "undecided", values(22.6), values(22.5), blocks, 0.03
        ),
        warnings=[],
    )


@cache
def infeasible() -> TuneReport:
    """The objective is below what the engine needs for one text."""
    hard = [Objective("p95_ms", "p95 latency", 5, 8, "ms"), *OBJECTIVES[1:]]
    before = [SloValue(hard[0], 61.2, "critical"), *judged(error_percent=0.0, rate_per_s=119.6)[1:]]
    near = [SloValue(hard[0], 22.4, "critical"), *judged(error_percent=0.0, rate_per_s=119.8)[1:]]
    return replace(
        applied(),
        objectives=hard,
        outcome="infeasible",
        winner={},
        closest=WINNER,
        why=[
            "The engine alone needs 5.4 ms for a text of 71 tokens: no wait and no batch size can get below it.",
            "A smaller model, bf16, or more cores would.",
        ],
        undo=[],
        baseline=before,
        after=near,
        predictions=[replace(row, meets_slo=False) for row in predictions()],
        trials=[
            replace(trial, violation=None if trial.failed else trial.values["p95_ms"] / 5 - 1)
            for trial in trials()[:7]
        ],
        ab=None,
        steps=[],
        quality=[],
        warnings=[],
    )


@cache
def died() -> TuneReport:
    """The server died under one setting and did not start with another; a third won all the same."""
    dead = replace(
        trials()[6],
        values={},
        violation=None,
        score=None,
        failed="the server died after 214 requests: signal 9",
    )
    refused = replace(
        trials()[7],
        values={},
        violation=None,
        score=None,
        failed="the server did not start in 30 s",
        seconds=30.0,
    )
    return replace(
        applied(),
        trials=[*trials()[:6], dead, refused, *trials()[8:]],
        outcome="rolled back",
        steps=[
            Step(
                {"embed.batch.max_size": 4}, 5.0, values(40.2), True, "p95 40.2 ms, within the guard of 80 ms"
            ),
            Step(WINNER, 5.0, values(131.0), False, "p95 131 ms in two windows, guard 80 ms"),
        ],
        why=["The gain of the A/B did not last under live traffic: p95 131 ms in two windows, guard 80 ms."],
        warnings=["The server was restarted twice."],
    )


@cache
def interrupted() -> TuneReport:
    """Ctrl-C during the calibration."""
    return replace(
        applied(),
        outcome="interrupted",
        seconds=31.0,
        winner={},
        why=["Ctrl-C during calibrate; the server is back on its baseline settings."],
        undo=[],
        after=[],
        calibration=None,
        predictions=[],
        trials=trials()[:2],
        quality=[],
        standings=[],
        ab=None,
        steps=[],
        warnings=[],
        simulated_per_s=None,
    )


@cache
def failed() -> TuneReport:
    """Nothing could be measured at all."""
    return replace(
        interrupted(),
        outcome="failed",
        why=["No baseline: nobody listens at http://localhost:8080."],
        baseline=judged(),
        trials=[],
        knobs=[],
    )


@cache
def foreign() -> TuneReport:
    """A server of somebody else: a black box without calibration or simulation."""
    knobs = [
        SearchedKnob("worker_processes", [1, 2, 4], 1, False, False, False),
        SearchedKnob("keepalive", [0, 16, 64], 0, False, False, False, "connections"),
    ]
    winner: dict[str, Value] = {"worker_processes": 2, "keepalive": 64}
    tried: list[dict[str, Value]] = [{}, {"keepalive": 64}, {"worker_processes": 4}, winner]
    return replace(
        applied(),
        url="http://localhost:8088",
        aim="throughput",
        outcome="written",
        written_to="tuned.toml",
        workload=Workload("generated, poisson 400/s, seed 7", 4_000, 10.0, 400.0, 100.0),
        knobs=knobs,
        settings_total=9,
        winner=winner,
        baseline_setting={"worker_processes": 1, "keepalive": 0},
        why=["It answered 31 % more requests/s than the baseline under the same load."],
        undo=["nginx -s stop"],
        calibration=None,
        predictions=[],
        simulated_per_s=None,
        trials=[
            Trial(
                number, "verify" if setting else "baseline", setting, None, values(28.0 - number), 0.0,
                28.0 - number, 5.0 * number, 4.0,
            )
            for number, setting in enumerate(tried, 1)
        ],
        quality=[],
        standings=[Standing(winner, 2, -512.0, None, "most requests/s"), Standing({}, 2, -391.0, 4, "less by 24 %")],
        ab=AbResult(
            6, "rate_per_s", Range(0.31, 0.27, 0.36), "better", {"rate_per_s": 391.0, "p95_ms": 31.0},
            {"rate_per_s": 512.0, "p95_ms": 22.0}, [],
        ),
        steps=[],
        warnings=[],
    )  # fmt: skip


VARIANTS = {
    "applied": applied,
    "written": written,
    "kept": kept,
    "infeasible": infeasible,
    "died": died,
    "interrupted": interrupted,
    "failed": failed,
    "foreign": foreign,
}
