"""What happens during a tune, as it happens: every live run is written down before anything is concluded from it."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf, isfinite
from secrets import token_hex
from typing import Any, Final

import numpy as np

from paceline import __version__
from paceline.base.clock import Clock, monotonic
from paceline.base.errors import TrialFailed
from paceline.tune.bench import Bench, LiveRun
from paceline.tune.goal import Goal
from paceline.tune.observation import Observation
from paceline.tune.order import Order
from paceline.tune.report import Phase, Range, SearchedKnob, SloValue, Trial, TuneReport, Workload
from paceline.tune.setting import Setting, label
from paceline.tune.watcher import Watcher
from paceline.tune.workload import Workload as Trace

DISTURBED_PERCENT: Final = 8.0
"""Of all cores, used by neither server nor load generator (`others_percent`), from which on a run is less sure."""


class Journal:
    """Carries out live runs and keeps the book; `report` may be asked at any time."""

    def __init__(self, bench: Bench, order: Order, watcher: Watcher, *, now: Clock = monotonic) -> None:
        self._bench = bench
        self._order = order
        self._watcher = watcher
        self._now = now
        self._began = now()
        self._made_at = datetime.now(UTC)
        self.trials: list[Trial] = []
        self.found: dict[str, Any] = {}
        """Fields of the report that are known by now."""
        self.why: list[str] = []
        self.warnings: list[str] = []

    @property
    def elapsed_s(self) -> float:
        """Since the tune began."""
        return self._now() - self._began

    @property
    def left_s(self) -> float:
        """Of the budget."""
        return self._order.budget_s - self.elapsed_s

    @property
    def run_s(self) -> float:
        """What a live run takes, from those there were."""
        took = [trial.seconds for trial in self.trials if not trial.failed and trial.phase != "a/b"]
        return max(took, default=self._bench.duration_s + 1.0)

    def live(
        self,
        phase: Phase,
        setting: Setting,
        *,
        predicted: Range | None = None,
        speed: float = 1.0,
        part: tuple[int, int] | None = None,
    ) -> LiveRun:
        """One run, written down. Raises TrialFailed, which is written down too."""
        at_s = self.elapsed_s
        try:
            run = self._bench.run(setting, speed=speed, part=part)
        except TrialFailed as failure:
            self._failed(phase, setting, predicted, at_s, failure.message)
            raise
        self.write(phase, setting, run.observation, at_s, predicted=predicted)
        return run

    def write(
        self,
        phase: Phase,
        setting: Setting,
        observation: Observation,
        at_s: float,
        *,
        predicted: Range | None = None,
    ) -> None:
        """Write down a run that was carried out elsewhere."""
        goal = self._order.goal
        values = told(goal, observation)
        violation = goal.violation(goal.measured(observation))
        score = goal.score(observation)
        self.trials.append(
            Trial(
                number=len(self.trials) + 1,
                phase=phase,
                setting=dict(setting),
                predicted_p95_ms=predicted,
                values=values,
                violation=violation if isfinite(violation) else None,
                score=score if isfinite(score) else None,
                at_s=at_s,
                seconds=self.elapsed_s - at_s,
            )
        )
        if phase != "a/b":
            held = "" if violation == 0.0 else "  misses the SLO"
            self._watcher.step(f"{label(setting)}: {_shown(values)}{held}")
        self._watcher.advance()

    def _failed(self, phase: Phase, setting: Setting, predicted: Range | None, at_s: float, why: str) -> None:
        self.trials.append(
            Trial(
                number=len(self.trials) + 1,
                phase=phase,
                setting=dict(setting),
                predicted_p95_ms=predicted,
                values={},
                violation=None,
                score=None,
                at_s=at_s,
                seconds=self.elapsed_s - at_s,
                failed=why,
            )
        )
        self._watcher.note(f"{label(setting)}: {why}")
        self._watcher.advance()

    @property
    def runs(self) -> int:
        """Live runs before the A/B test."""
        return sum(trial.phase in {"baseline", "calibrate", "verify"} for trial in self.trials)

    def _disturbed(self) -> list[str]:
        """What is to be said of neighbours on the server's machine."""
        shares = [trial.values["others_percent"] for trial in self.trials if "others_percent" in trial.values]
        much = [share for share in shares if share > DISTURBED_PERCENT]
        if not much:
            return []
        seen = f"Other programs used {min(much):.0f} to {max(much):.0f} % of the machine during {len(much)} of {len(shares)}"
        return [f"{seen} live runs: what they measured is less sure. Tune again when it is quiet."]

    def report(self) -> TuneReport:
        """What is known."""
        order, found = self._order, dict(self.found)
        found.setdefault("workload", _no_workload(order, self._bench))
        found.setdefault("outcome", "failed")
        found.setdefault("winner", {})
        found.setdefault("undo", [])
        found.setdefault("baseline", [])
        found.setdefault("after", [])
        modelled = found.pop("modelled", frozenset())
        return TuneReport(
            run_id=f"{self._made_at:%Y%m%d-%H%M%S}-{token_hex(3)}",
            made_at=self._made_at.isoformat(timespec="seconds"),
            paceline=__version__,
            url=order.url,
            aim=order.goal.aim,
            objectives=list(order.goal.objectives),
            budget_s=order.budget_s,
            seconds=self.elapsed_s,
            knobs=[
                SearchedKnob(
                    name=knob.name,
                    values=list(knob.values),
                    baseline=knob.baseline,
                    live=knob.live,
                    quality=knob.quality,
                    modelled=knob.name in modelled,
                    unit=knob.unit,
                    cost=knob.cost,
                )
                for knob in order.space.knobs
            ],
            settings_total=order.space.size,
            why=self.why,
            warnings=[*self.warnings, *self._disturbed()],
            baseline_setting=order.space.full({}),
            trials=self.trials,
            machine=order.machine,
            seed=order.seed,
            **found,
        )


def told(goal: Goal, observation: Observation) -> dict[str, float]:
    """What a run showed, by the names of objectives: those asked for, and what everybody wants to see."""
    values = {
        "p50_ms": observation.p(0.5),
        "p95_ms": observation.p(0.95),
        "p99_ms": observation.p(0.99),
        "error_percent": observation.error_percent,
        "rate_per_s": observation.rate_per_s,
        "cpu_ms": observation.busy_s_per_good() * 1e3,
    }
    values |= dict(observation.metrics) | goal.measured(observation)
    return {name: value for name, value in values.items() if isfinite(value)}


def slo_values(goal: Goal, values: dict[str, float]) -> list[SloValue]:
    """The objectives beside what was measured."""
    return [
        SloValue(objective, values.get(objective.name), objective.state(values.get(objective.name)))
        for objective in goal.objectives
    ]


def about(source: str, trace: Trace, *, counted: bool) -> Workload:
    """The workload for the report. `counted`: the server told how many tokens its texts have."""
    tokens = np.quantile(trace.length, [0.5, 0.95]).tolist() if counted else [None, None]
    distinct = len(set(trace.key.tolist())) / trace.texts
    return Workload(
        source=source,
        requests=trace.requests,
        duration_s=trace.duration_s,
        rate_per_s=trace.requests / trace.duration_s,
        distinct_percent=100.0 * distinct,
        tokens_p50=tokens[0],
        tokens_p95=tokens[1],
    )


def _no_workload(order: Order, bench: Bench) -> Workload:
    return Workload(
        source=order.source,
        requests=bench.requests,
        duration_s=bench.duration_s,
        rate_per_s=bench.requests / bench.duration_s,
        distinct_percent=100.0,
    )


def _shown(values: dict[str, float]) -> str:
    p95 = values.get("p95_ms", inf)
    return f"p95 {p95:.1f} ms, errors {values.get('error_percent', 0.0):.2g} %"
