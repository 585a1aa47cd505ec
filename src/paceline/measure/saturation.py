"""Finds how much load a server holds: short runs at rates that the search chooses, and one report of them all."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from paceline.base.errors import ConfigError
from paceline.base.slo import Objective
from paceline.measure import slo
from paceline.measure.plan import OpenLoop, Plan, Stage
from paceline.measure.render.figures import rate as shown_rate
from paceline.measure.report import Capacity, Estimate, LoadReport, Probe
from paceline.measure.session import Onlooker, measure
from paceline.measure.statistics.capacity import CapacitySearch
from paceline.measure.statistics.interval import Interval

OVERLOADED_PERCENT = 50.0
"""A probe in which so many of the last requests fail is over."""
DRAIN_S = 5.0
"""A probe's answers are awaited no longer than this, or ten times the limit, after its last request."""
DEFAULT_FAILED_SHARE = 0.01
_LATENCY = re.compile(r"(?:(ttft|tpot|itl)_)?(p[\d.]+)_ms")
_GENERATOR = {"generator_lag", "generator_cpu", "achieved_rate", "unsent"}
"""Checks that, failed, say that the generator was at its end and not the server."""


@dataclass(frozen=True, slots=True)
class _Goal:
    """What must hold, and how a report tells it."""

    objective: Objective
    family: str | None
    quantile: str
    failed_share: float

    @property
    def label(self) -> str:
        """For people: `p95 <= 300 ms`."""
        what = f"{self.family} {self.quantile}" if self.family else self.quantile
        return f"{what} <= {self.objective.target:g} ms"

    def of(self, report: LoadReport) -> Estimate:
        """The latency that is judged."""
        if self.family is None:
            return report.latency_ms.quantiles[self.quantile]
        if report.streaming is None:
            return Estimate(reason="nothing was streamed")
        distributions = {
            "ttft": report.streaming.ttft_ms,
            "tpot": report.streaming.tpot_ms,
            "itl": report.streaming.itl_ms,
        }
        return distributions[self.family].quantiles[self.quantile]


def find_capacity(
    plan: Plan, *, records: Path, onlooker: Onlooker | None = None, check_first: bool = True
) -> LoadReport:
    """The highest rate at which the first latency percentile among the thresholds holds its target.

    The plan's load gives the first rate and how long each is tried. The report is that of the highest rate that held
    (without one, of the lowest tried), with `capacity`; its records become `records`. Raises ConfigError, Unreachable.
    """
    goal = _goal(plan)
    load = plan.load
    if not isinstance(load, OpenLoop) or len(load.stages) != 1:
        raise ConfigError(
            "a search for the capacity needs one constant rate to begin with; give --rate and --duration",
            param="load",
        )
    stage = load.stages[0]
    search = CapacitySearch(
        goal.objective.target, stage.target, failed_share=goal.failed_share, seed=plan.seed
    )
    if records.exists():
        raise ConfigError(f"records file {records} exists already; choose another name", param="records")
    watching = onlooker or Onlooker()
    tries: list[tuple[LoadReport, Path, bool]] = []
    note = ""
    with TemporaryDirectory(dir=records.parent, prefix=".search-") as folder:
        while (rate := search.next_rate()) is not None:
            number = len(tries) + 1
            path = Path(folder) / f"{number}.records"
            told = replace(watching, note=f"try {number}: {shown_rate(rate)}")
            report = measure(
                _probe(plan, goal, stage, rate, number), records=path, onlooker=told, check_first=check_first
            )
            check_first = False
            if report.ended == "interrupted":
                tries.append((report, path, False))
                note = "the search was interrupted"
                break
            if _generator_gave_up(report):
                if note:
                    tries.append((report, path, False))
                    note = f"the search ended at {shown_rate(rate)}: there it was the generator that was at its end"
                    break
                note = "again"  # once may be a neighbour's noise
                path.unlink()
                continue
            note = ""
            value = goal.of(report)
            search.tell(
                rate,
                report.done_per_s.value or 0.0,
                Interval(value.value, value.low, value.high),
                report.failed / max(1, report.sent),
                offered_per_s=report.offered_per_s,
                rising=report.steady == "rising",
            )
            tries.append((report, path, search.tried[-1].held))
        chosen, path = _chosen(tries)
        shutil.move(path, records)
    return _with_capacity(chosen, tries, goal, search, note)


def _goal(plan: Plan) -> _Goal:
    objectives = slo.objectives(plan.thresholds)
    errors = next((objective for objective in objectives if objective.name == "error_percent"), None)
    share = DEFAULT_FAILED_SHARE if errors is None else errors.target / 100
    for objective in objectives:
        found = _LATENCY.fullmatch(objective.name)
        if found:
            return _Goal(objective, found[1], found[2], share)
    raise ConfigError(
        "a search for the capacity needs a latency percentile to hold; give --threshold 'p(95)<300'",
        param="thresholds",
    )


def _probe(plan: Plan, goal: _Goal, stage: Stage, rate: float, number: int) -> Plan:
    """With a seed of its own, or every try but the first would find its answers in the server's cache."""
    assert isinstance(plan.load, OpenLoop)
    seconds = stage.duration_s
    limit_s = seconds + max(DRAIN_S, 10 * goal.objective.target / 1e3)
    stopping = msgspec.structs.replace(
        plan.stopping,
        time_limit_s=min(limit_s, plan.stopping.time_limit_s or limit_s),
        failures_percent=min(OVERLOADED_PERCENT, plan.stopping.failures_percent or OVERLOADED_PERCENT),
    )
    load = msgspec.structs.replace(plan.load, stages=(Stage(seconds, rate, name=stage.name),))
    return msgspec.structs.replace(plan, load=load, stopping=stopping, seed=plan.seed + number - 1)


def _generator_gave_up(report: LoadReport) -> bool:
    return any(check.name in _GENERATOR and check.state == "INVALID" for check in report.validity.checks)


def _chosen(tries: list[tuple[LoadReport, Path, bool]]) -> tuple[LoadReport, Path]:
    held = [(report, path) for report, path, held in tries if held]
    if held:
        return max(held, key=lambda one: _rate(one[0]))
    report, path, _ = min(tries, key=lambda one: _rate(one[0]))
    return report, path


def _rate(report: LoadReport) -> float:
    assert isinstance(report.plan.load, OpenLoop)
    return report.plan.load.stages[0].target


def _with_capacity(
    report: LoadReport,
    tries: list[tuple[LoadReport, Path, bool]],
    goal: _Goal,
    search: CapacitySearch,
    note: str,
) -> LoadReport:
    found = search.result().rate
    probes = []
    for tried, _, held in tries:
        value = goal.of(tried)
        probes.append(
            Probe(
                rate_per_s=_rate(tried),
                done_per_s=tried.done_per_s.value or 0.0,
                value=value.value,
                low=value.low,
                high=value.high,
                held=held,
                seconds=tried.duration_s,
            )
        )
    capacity = Capacity(goal.label, Estimate(found.value, found.low, found.high, found.reason), probes)
    interrupted = any(tried.ended == "interrupted" for tried, _, _ in tries)
    return msgspec.structs.replace(
        report,
        capacity=capacity,
        ended="interrupted" if interrupted else report.ended,
        notes=[*report.notes, *([f"Capacity: {note}."] if note else [])],
    )
