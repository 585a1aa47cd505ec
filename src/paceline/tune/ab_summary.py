"""An A/B in the words of a report: what was compared, by its own name, and how it changed."""

from __future__ import annotations

from paceline.tune.ab import AbResult as Tested
from paceline.tune.goal import Goal
from paceline.tune.report import AbResult, Range
from paceline.tune.statistics.always_valid import Change


def summary(tested: Tested, contest: Goal, margin: float) -> AbResult:
    """The change of the compared quantity itself: more good requests a second are a positive one."""
    return AbResult(
        blocks=len(tested.blocks),
        metric=metric_of(contest),
        margin=margin,
        change=_range(tested.change, contest, tested),
        verdict=tested.change.outcome,
        baseline_values=scored(tested.a.values, tested.a.score, contest),
        candidate_values=scored(tested.b.values, tested.b.score, contest),
        points=[_point(block.so_far, contest) for block in tested.blocks],
    )


def metric_of(contest: Goal) -> str:
    """The name of what is compared."""
    return {"latency": contest.latency_quantity, "cost": "cpu_s", "throughput": "good_per_s"}[contest.aim]


def scored(values: dict[str, float], score: float | None, contest: Goal) -> dict[str, float]:
    """With what is compared among the values, where it is no objective."""
    name = metric_of(contest)
    return values if score is None or name in values else values | {name: abs(score)}


def change_of(change: Change, contest: Goal) -> Range:
    """Scores are smaller for the better side; a rate is larger."""
    if contest.aim != "throughput":
        return Range(change.value, change.low, change.high)
    return Range(_inverse(change.value), _inverse(change.high), _inverse(change.low))


def _range(change: Change, contest: Goal, tested: Tested) -> Range:
    """A side without a single score has no change in percent, only a verdict."""
    for name, side in (("A", tested.a), ("B", tested.b)):
        if tested.blocks and side.score is None:
            return Range(reason=f"{name} has nothing to show in {len(tested.blocks)} blocks")
    return change_of(change, contest)


def _point(change: Change, contest: Goal) -> list[float | None]:
    found = change_of(change, contest)
    return [found.value, found.low, found.high]


def _inverse(share: float | None) -> float | None:
    return None if share is None else 1.0 / (1.0 + share) - 1.0
