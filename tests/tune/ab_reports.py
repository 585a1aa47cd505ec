"""A/B reports as real ones are: what the renderers are tested with."""

from __future__ import annotations

from msgspec.structs import replace

from paceline.base.slo import Objective
from paceline.tune.ab import Block, Segment
from paceline.tune.ab_report import AbReport, Contender
from paceline.tune.report import AbResult, Range, SloValue
from paceline.tune.statistics.always_valid import Change

P95 = Objective("p95_ms", "p95 latency", 40, 80, "ms")
ERRORS = Objective("error_percent", "errors", 0.5, 2, "%")
POINTS: list[list[float | None]] = [[-0.3, None, None], [-0.28, -0.6, 0.1], [-0.28, -0.35, -0.2]]


def better() -> AbReport:
    """B holds the objective that A misses."""
    blocks = [
        Block(number, first, Segment(48.0), Segment(34.5), Change("undecided", number))
        for number, first in enumerate(("a", "b", "b"), 1)
    ]
    return AbReport(
        run_id="20261124-072738-d90bf2",
        made_at="2026-11-24T07:27:38+00:00",
        paceline="0.1.0",
        aim="latency",
        objectives=[P95, ERRORS],
        source="poisson arrivals at 60/s, texts of 4..64 words",
        requests=180,
        block_s=3.0,
        outcome="better",
        a=contender("the server's own settings", {}, 48.2, []),
        b=contender("settings-b.toml", {"embed.batch.max_size": 8}, 34.7, []),
        ab=AbResult(
            blocks=3,
            metric="p95_ms",
            change=Range(*POINTS[-1]),
            verdict="better",
            baseline_values={"p95_ms": 48.2, "error_percent": 0.0},
            candidate_values={"p95_ms": 34.7, "error_percent": 0.0},
            points=POINTS,
            margin=0.02,
        ),
        blocks=blocks,
        ended="better after 3 blocks",
        seconds=24.0,
        machine="somewhere: 2 cores",
    )


def contender(name: str, setting: dict[str, int], p95: float | None, failures: list[str]) -> Contender:
    """One side with this p95; None when nothing was measured."""
    values = [(P95, p95), (ERRORS, None if p95 is None else 0.0)]
    slo = [SloValue(objective, value, objective.state(value)) for objective, value in values]
    return Contender(
        name, "http://localhost:8080", dict(setting), slo, None if p95 is None else 0.0, failures
    )


def undecided() -> AbReport:
    """For cost, which is no objective."""
    report = better()
    sides = ({**report.ab.baseline_values, "cpu_s": 0.0121}, {**report.ab.candidate_values, "cpu_s": 0.0119})
    ab = replace(
        report.ab,
        metric="cpu_s",
        change=Range(-0.02, -0.09, 0.05),
        verdict="undecided",
        baseline_values=sides[0],
        candidate_values=sides[1],
    )
    return replace(report, aim="cost", outcome="undecided", ab=ab, ended="3 blocks are used up")


def equivalent() -> AbReport:
    """Within the margin."""
    report = better()
    ab = replace(report.ab, verdict="equivalent", change=Range(0.001, -0.01, 0.012))
    return replace(report, outcome="equivalent", ab=ab, ended="equivalent after 3 blocks")


def died() -> AbReport:
    """B never answered."""
    report = better()
    failed = [replace(block, b=Segment(None, failure="connection refused")) for block in report.blocks]
    reason = Range(reason="B has nothing to show in 3 blocks")
    points: list[list[float | None]] = [[1000.0, None, None]] * 3
    ab = replace(report.ab, verdict="worse", change=reason, candidate_values={}, points=points)
    b = contender("settings-b.toml", {"embed.batch.max_size": 8}, None, ["connection refused"] * 3)
    return replace(report, outcome="worse", ab=ab, b=b, blocks=failed, ended="worse after 3 blocks")


def failed() -> AbReport:
    """Neither answered."""
    report = died()
    segment = Segment(None, failure="connection refused")
    blocks = [replace(block, a=segment, b=segment) for block in report.blocks]
    a = contender("the server's own settings", {}, None, ["connection refused"] * 3)
    nothing = Range(reason="A has nothing to show in 3 blocks")
    points: list[list[float | None]] = [[None, None, None]] * 3
    ab = replace(report.ab, change=nothing, verdict="undecided", baseline_values={}, points=points)
    ended = "both sides failed 3 times in a row: connection refused"
    return replace(report, outcome="failed", a=a, ab=ab, blocks=blocks, ended=ended)


def interrupted() -> AbReport:
    """Before the first block was whole."""
    report = better()
    ab = replace(
        report.ab,
        blocks=0,
        verdict="undecided",
        change=Range(),
        baseline_values={},
        candidate_values={},
        points=[],
    )
    nobody = [contender(each.name, each.setting, None, []) for each in (report.a, report.b)]
    return replace(
        report,
        outcome="interrupted",
        a=nobody[0],
        b=nobody[1],
        ab=ab,
        blocks=[],
        ended="stopped by hand after 0 blocks",
    )


AB_VARIANTS = {
    "better": better,
    "undecided": undecided,
    "equivalent": equivalent,
    "died": died,
    "failed": failed,
    "interrupted": interrupted,
}
