"""What a plan and a report say, in a sentence: the same words on the terminal and in JUnit."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from paceline.base.figures import against, chosen, duration, estimate, level
from paceline.base.slo import STATES
from paceline.measure.plan import ClosedLoop, Load, Replay, Stage
from paceline.measure.report import Capacity, Check, LoadReport, SloRow

Word = Literal["PASS", "MISSED", "CRITICAL", "NOT JUDGED", "INVALID", "INCONCLUSIVE"]

NOT_JUDGED = "not judged"

COLOURS: dict[str, str] = {
    "PASS": "bold green",
    "MISSED": "bold yellow",
    "CRITICAL": "bold red",
    "NOT JUDGED": "bold",
    "INVALID": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "met": "green",
    "missed": "yellow",
    "critical": "red",
    "growing": "yellow",
    "held": "green",
    "not held": "yellow",
}
"""Of verdicts and states where there is colour; the word alone says it too."""


def state(row: SloRow) -> str:
    """The state of an objective in words."""
    return f"{NOT_JUDGED}: {row.reason}" if row.reason and row.value is not None else STATES[row.state]


class Verdict(NamedTuple):
    """One word, and why."""

    word: Word
    because: str


def verdict(report: LoadReport) -> Verdict:
    """INVALID first, then the objectives that were not met, then what could not be told: as the exit status has it."""
    if report.validity.state == "INVALID":
        return Verdict("INVALID", _first_doubt(report))
    if report.capacity is not None:
        found = report.capacity.rate_per_s.value is not None
        return Verdict("PASS" if found else "INCONCLUSIVE", capacity(report.capacity))
    broken = [row for row in report.slo if row.state in {"warning", "critical"}]
    if broken:
        worst: Word = "CRITICAL" if any(row.state == "critical" for row in broken) else "MISSED"
        return Verdict(worst, "; ".join(map(breach, broken)))
    if report.validity.state == "INCONCLUSIVE":
        return Verdict("INCONCLUSIVE", _first_doubt(report))
    counts = Counter(row.state for row in report.slo)
    absent = ", ".join(row.label for row in report.slo if row.state == "unknown")
    if absent and report.plan.thresholds:
        # Somebody asked for exactly these; rows of the default table may stay empty.
        return Verdict("INCONCLUSIVE", f"not measured: {absent}")
    if not counts["ok"]:
        return Verdict("NOT JUDGED", "no objective was measured" if report.slo else "no objectives were set")
    met = f"{counts['ok']} of {len(report.slo)} objectives met"
    return Verdict("PASS", f"{met}; not measured: {absent}" if absent else met)


def _first_doubt(report: LoadReport) -> str:
    first, *others = [check.message for check in doubts(report)] or ["no reason given"]
    return f"{first} (and {len(others)} more reason{'s' if len(others) > 1 else ''})" if others else first


def doubts(report: LoadReport) -> list[Check]:
    """The checks that kept the run from being valid, the worst first."""
    order = {"INVALID": 0, "INCONCLUSIVE": 1}
    checks = [check for check in report.validity.checks if check.state != "VALID"]
    return sorted(checks, key=lambda check: order[check.state])


def breach(row: SloRow) -> str:
    """`p95 latency 342 ms [328, 359], target < 300 ms`."""
    name, limit = ("critical level", row.critical) if row.state == "critical" else ("target", row.target)
    found = against(row.value, row.low, row.high, limit, row.unit)
    return f"{row.label} {found}, {name} {bound(row, limit)}"


def bound(row: SloRow, limit: float) -> str:
    """`< 300 ms`, or `> 50 %` where more is better."""
    return f"{'>' if row.higher_is_better else '<'} {chosen(limit, row.unit)}"


def undecided(row: SloRow) -> str | None:
    """A row whose interval reaches across a level, so that a longer run might judge it otherwise."""
    if row.value is None or row.low is None or row.high is None:
        return None
    for name, limit in (("target", row.target), ("critical level", row.critical)):
        if row.low < limit < row.high:
            found = against(row.value, row.low, row.high, limit, row.unit)
            return f"{row.label} {found}: the interval reaches across its {name} of {chosen(limit, row.unit)}"
    return None


def capacity(found: Capacity) -> str:
    """`capacity 412 req/s [398, 425] at p95 <= 300 ms`."""
    if found.rate_per_s.value is None:
        return f"capacity not found at {found.objective}: {found.rate_per_s.reason or 'no reason given'}"
    return f"capacity {estimate(found.rate_per_s, 'req/s')} at {found.objective}"


def load(plan: Load) -> str:
    """`open loop, poisson: 50 to 400/s in 20 s, 400/s for 1 min 40 s`."""
    if isinstance(plan, Replay):
        speed = "" if plan.speed == 1 else f" at {level(plan.speed)} times its speed"
        return f"trace {plan.path}{speed}"
    if isinstance(plan, ClosedLoop):
        think = f", {plan.think} think time {duration(plan.think_s)}" if plan.think_s else ""
        if plan.requests is None:
            return f"closed loop{think}: {_stages(plan.stages, ' users')}"
        users = " to ".join(dict.fromkeys(level(stage.target) for stage in plan.stages))
        return f"closed loop{think}: {plan.requests:,} requests by {users} users"
    gaps = f"gamma with cv {level(plan.cv)}" if plan.process == "gamma" else plan.process
    return f"open loop, {gaps}: {_stages(plan.stages, '/s')}"


def _stages(stages: tuple[Stage, ...], unit: str) -> str:
    if len(stages) > 4:
        levels = [end for stage in stages for end in (stage.first, stage.target)]
        span = duration(sum(stage.duration_s for stage in stages))
        reach = " to ".join(dict.fromkeys((level(min(levels)), level(max(levels)))))
        return f"{len(stages)} stages, {reach}{unit} in {span}"
    return ", ".join(_stage(stage, unit) for stage in stages)


def _stage(stage: Stage, unit: str) -> str:
    if stage.first == stage.target:
        return f"{level(stage.target)}{unit} for {duration(stage.duration_s)}"
    return f"{level(stage.first)} to {level(stage.target)}{unit} in {duration(stage.duration_s)}"
