"""Finds how much load a server holds: short runs at rates that the search chooses, and one report of them all."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from paceline.base.errors import ConfigError
from paceline.base.figures import rate as shown_rate
from paceline.base.slo import Objective
from paceline.measure import slo
from paceline.measure.analysis.validity import LATEST_MS, LATEST_SHARE
from paceline.measure.plan import OpenLoop, Plan, Stage
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


@dataclass(frozen=True, slots=True)
class _Try:
    """A run at one rate."""

    report: LoadReport
    records: Path
    held: bool = False


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
    tries: list[_Try] = []
    note = ""
    with TemporaryDirectory(dir=records.parent, prefix=".search-") as folder:
        hunt = _Hunt(plan, goal, stage, Path(folder), onlooker or Onlooker(), check_first=check_first)
        while (rate := search.next_rate()) is not None:
            tried = hunt.at(rate)
            if _generator_gave_up(tried.report) and tried.report.ended != "interrupted":
                tried = hunt.at(rate)  # once may be a neighbour's noise
            if tried.report.ended == "interrupted":
                note = "the search was interrupted"
            elif _generator_gave_up(tried.report):
                note = (
                    f"the search ended at {shown_rate(rate)}: there it was the generator that was at its end"
                )
            if note:
                tries.append(tried)
                break
            tries.append(replace(tried, held=_tell(search, goal, rate, tried.report)))
        chosen = _chosen(tries)
        shutil.move(chosen.records, records)
    return _with_capacity(chosen.report, tries, goal, search, note)


@dataclass(slots=True)
class _Hunt:
    """Carries out the tries, each with a seed of its own: or all but the first would find answers in caches."""

    plan: Plan
    goal: _Goal
    stage: Stage
    folder: Path
    onlooker: Onlooker
    check_first: bool
    count: int = 0

    def at(self, rate: float) -> _Try:
        """One run at `rate`."""
        self.count += 1
        path = self.folder / f"{self.count}.records"
        told = replace(self.onlooker, note=f"try {self.count}: {shown_rate(rate)}")
        plan = _probe(self.plan, self.goal, self.stage, rate, self.plan.seed + self.count - 1)
        report = measure(plan, records=path, onlooker=told, check_first=self.check_first)
        self.check_first = False
        return _Try(report, path)


def _tell(search: CapacitySearch, goal: _Goal, rate: float, report: LoadReport) -> bool:
    """Tell the search of a try; whether the objective held."""
    value = goal.of(report)
    search.tell(
        rate,
        report.done_per_s.value or report.done / max(report.duration_s, 1e-3),
        Interval(value.value, value.low, value.high),
        report.failed / max(1, report.sent),
        offered_per_s=report.offered_per_s,
        rising=report.steady == "rising",
    )
    return search.tried[-1].held


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


def _probe(plan: Plan, goal: _Goal, stage: Stage, rate: float, seed: int) -> Plan:
    assert isinstance(plan.load, OpenLoop)
    seconds = stage.duration_s
    limit_s = seconds + max(DRAIN_S, 10 * goal.objective.target / 1e3)
    stopping = msgspec.structs.replace(
        plan.stopping,
        time_limit_s=min(limit_s, plan.stopping.time_limit_s or limit_s),
        failures_percent=min(OVERLOADED_PERCENT, plan.stopping.failures_percent or OVERLOADED_PERCENT),
    )
    load = msgspec.structs.replace(plan.load, stages=(Stage(seconds, rate, name=stage.name),))
    # What is judged is the objective, so lateness is held against it.
    lag_limit_ms = plan.lag_limit_ms or max(LATEST_MS, LATEST_SHARE * goal.objective.target)
    return msgspec.structs.replace(plan, load=load, stopping=stopping, seed=seed, lag_limit_ms=lag_limit_ms)


def _generator_gave_up(report: LoadReport) -> bool:
    """Not when every connection was busy: then it was the server that did not keep up."""
    most = report.plan.max_connections // report.plan.workers * report.plan.workers
    if report.generator.connections >= most:
        return False
    return any(check.name in _GENERATOR and check.state == "INVALID" for check in report.validity.checks)


def _chosen(tries: list[_Try]) -> _Try:
    held = [tried for tried in tries if tried.held]
    if held:
        return max(held, key=lambda tried: _rate(tried.report))
    return min(tries, key=lambda tried: _rate(tried.report))


def _rate(report: LoadReport) -> float:
    assert isinstance(report.plan.load, OpenLoop)
    return report.plan.load.stages[0].target


def _with_capacity(
    report: LoadReport,
    tries: list[_Try],
    goal: _Goal,
    search: CapacitySearch,
    note: str,
) -> LoadReport:
    found = search.result().rate
    probes = []
    for tried in tries:
        value = goal.of(tried.report)
        probes.append(
            Probe(
                rate_per_s=_rate(tried.report),
                done_per_s=tried.report.done_per_s.value or 0.0,
                value=value.value,
                low=value.low,
                high=value.high,
                held=tried.held,
                seconds=tried.report.duration_s,
            )
        )
    capacity = Capacity(goal.label, Estimate(found.value, found.low, found.high, found.reason), probes)
    interrupted = any(tried.report.ended == "interrupted" for tried in tries)
    return msgspec.structs.replace(
        report,
        capacity=capacity,
        ended="interrupted" if interrupted else report.ended,
        notes=[*report.notes, *([f"Capacity: {note}."] if note else [])],
    )
