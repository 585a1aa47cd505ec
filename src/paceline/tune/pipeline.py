"""One tune, in order: baseline -> calibrate -> search -> quality -> verify -> A/B -> apply.

Whatever happens, the server is back on its baseline at the end unless the winner was applied, and there is a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Final

from paceline.base.clock import Clock, monotonic
from paceline.base.errors import ConfigError, TrialFailed
from paceline.tune import reasons
from paceline.tune.ab import AbResult as Tested
from paceline.tune.ab import Block, run_ab
from paceline.tune.ab_summary import change_of, summary
from paceline.tune.apply import Rollout, steps
from paceline.tune.bench import Bench, LiveRun
from paceline.tune.blackbox import BlackBoxSearch
from paceline.tune.calibration import CORNERS, Calibrator
from paceline.tune.goal import Goal
from paceline.tune.journal import Journal, about, slo_values, told
from paceline.tune.judge import Judge
from paceline.tune.observation import Observation
from paceline.tune.order import Order
from paceline.tune.report import Outcome, Range, TuneReport
from paceline.tune.search import Search
from paceline.tune.setting import Setting, key, label
from paceline.tune.simulator import Expected, Simulator, interval
from paceline.tune.space import Space
from paceline.tune.statistics.always_valid import fewest_blocks
from paceline.tune.verification import Verification
from paceline.tune.watcher import Watcher

BLOCKS: Final = 24
"""Of the A/B test at most, where the budget allows."""
SEGMENT_S: Final = 1.5
SEGMENT_REQUESTS: Final = 200
"""A block replays one part of the trace on either side, at least so much of it: p95 of less is mostly luck."""
RESTING_S: Final = 0.7
"""Of a live run beside its load: getting ready, and reading the records."""
ROOM: Final = 0.5
"""Share of the fewest blocks for which there must be time: a budget may be overdrawn by a little, not by a test."""
PROPOSALS: Final = 4
"""Of a live search for each run: those that the quality gate refuses cost none."""
SHOWN: Final = 2_000
"""Predictions in the report at most, the best ones."""


class Tuner:
    """Carries out one order."""

    def __init__(self, bench: Bench, order: Order, watcher: Watcher, *, now: Clock = monotonic) -> None:
        """Raises ConfigError when every knob changes answers and nothing measures their quality."""
        unjudged = [knob.name for knob in order.space.knobs if knob.quality and order.gate is None]
        if unjudged:
            order = replace(
                order, space=Space([knob for knob in order.space.knobs if knob.name not in unjudged])
            )
        self._bench, self._order, self._watcher = bench, order, watcher
        self._goal = order.goal
        self._journal = Journal(bench, order, watcher, now=now)
        if unjudged:
            self._journal.warnings.append(
                f"{', '.join(unjudged)}: changes answers, and nothing measures their quality; left out."
            )
        self._simulator: Simulator | None = None
        self._predicted: dict[object, Expected] = {}
        self._judge = Judge(order, self._journal, watcher)
        self._speed = 1.0

    def run(self) -> TuneReport:
        """Tune. Raises ConfigError for an order that cannot be carried out with this load or on this server."""
        found = self._journal.found
        self._check_budget()
        try:
            found["outcome"] = self._tune()
        except KeyboardInterrupt:
            self._end(
                "interrupted", "Stopped by hand before it was decided; the server is back on its baseline."
            )
        except TrialFailed as failure:
            self._end("failed", f"Could not go on: {failure.message}.")
        finally:
            if found.get("outcome") != "applied":
                self._bench.revert()
        return self._journal.report()

    def _check_budget(self) -> None:
        """Raises ConfigError when not even the shortest tune fits."""
        runs = 2 if self._order.station is None else 2 + CORNERS
        least_s = runs * self._bench.duration_s + self._ab_s(fewest_blocks())
        if self._order.budget_s < least_s:
            raise ConfigError(
                f"--budget {self._order.budget_s:g}s: with trials of {self._bench.duration_s:.3g} s a tune takes "
                f"{least_s:.0f} s at the least; give it more, or shorten the trials with --duration",
                param="budget",
            )

    def _tune(self) -> Outcome:
        baseline = self._baseline()
        proposed = self._candidates(baseline)
        candidates = [setting for setting in proposed if self._judge.accepts(setting)]
        if not candidates and (proposed or self._judge.refused_all):
            return self._nothing_holds("No candidate is left that the quality gate accepts.")
        if not candidates:
            return self._nothing_holds(
                "No setting that was tried holds the SLO, besides the baseline."
                if self._simulator is None
                else "In simulation no setting differs from the baseline."
            )
        winner = self._verify(candidates)
        if winner is None:
            return self._nothing_holds("The baseline holds the SLO and no candidate does.")
        tested = self._ab(winner, baseline)
        if tested is None:
            return self._keep(
                f"No time was left to prove {label(winner)}: {max(self._journal.left_s, 0.0):.0f} s of the budget, and "
                f"the A/B test takes {self._ab_s(fewest_blocks()):.0f} s; give a larger --budget."
            )
        return self._decide(winner, tested, baseline)

    def _end(self, outcome: Outcome, because: str) -> None:
        """Before a decision: what was about to be turned on is no winner."""
        self._journal.found |= {"outcome": outcome, "winner": {}, "undo": []}
        self._journal.why.append(because)

    def _check_server(self) -> None:
        """When the last run failed: whether it was the setting's fault. Raises TrialFailed when the server is gone."""
        if self._journal.trials[-1].failed:
            self._journal.live("verify", {})

    # -- baseline -------------------------------------------------------------------------------------------------

    def _baseline(self) -> LiveRun:
        self._watcher.phase("baseline", 1)
        run = self._journal.live("baseline", {})
        if not run.observation.answered_ms.size:
            raise TrialFailed(
                f"none of {run.observation.sent} requests was answered well with the server's own settings; "
                "check the load with `paceline measure`"
            )
        self._trace = self._bench.trace()
        counted = self._order.station is not None
        self._journal.found["workload"] = about(self._order.source, self._trace, counted=counted)
        self._journal.found["baseline"] = slo_values(self._goal, told(self._goal, run.observation))
        for objective in self._goal.unmeasured(self._goal.measured(run.observation)):
            self._journal.warnings.append(
                f"{objective.label} is not told by these runs, so it is not judged."
            )
        return run

    # -- candidates -----------------------------------------------------------------------------------------------

    def _candidates(self, baseline: LiveRun) -> list[Setting]:
        if self._order.station is None:
            return self._tried_out(baseline)
        self._watcher.phase("calibrate", 3)
        calibrator = Calibrator(self._bench, self._order, self._journal, self._watcher, baseline, self._trace)
        simulator = self._simulator = calibrator.run()
        unknown = [knob.name for knob in self._order.space.knobs if not simulator.models(knob.name)]
        self._journal.found["modelled"] = frozenset(
            knob.name for knob in self._order.space.knobs if simulator.models(knob.name)
        )
        if unknown:
            self._journal.warnings.append(
                f"What {', '.join(unknown)} does is not simulated, so it stays as it is; --blackbox tries it live."
            )
        return self._simulated(simulator)

    def _simulated(self, simulator: Simulator) -> list[Setting]:
        order = self._order
        self._watcher.phase(f"simulate {order.space.size or 0:,} settings", None)
        search = Search(simulator, order.space, order.goal)
        if order.goal.aim == "throughput":
            self._speed = search.most_speed()
        ranked = search.run(self._speed)
        self._predicted = {key(one.setting): one for one in ranked}
        shown = ranked[:SHOWN]
        self._journal.found["predictions"] = simulator.predict(shown, speed=self._speed)
        self._journal.found["settings_simulated"] = len(simulator.seen)
        self._journal.found["simulated_per_s"] = simulator.simulated / max(simulator.seconds, 1e-9)
        self._watcher.step(
            f"{simulator.simulated:,} simulations in {simulator.seconds:.1f} s; best looks "
            f"{label(ranked[0].setting)}: p95 {ranked[0].values['p95_ms']:.1f} ms"
        )
        died = {key(trial.setting) for trial in self._journal.trials if trial.failed}
        chosen = search.candidates(order.candidates + len(died))
        return [setting for setting in chosen if key(setting) not in died][: order.candidates]

    def _tried_out(self, baseline: LiveRun) -> list[Setting]:
        """Black box: the best of what a live search proposes, with two thirds of the runs that are left.

        What changes answers too much is not run: the quickest settings are often those.
        """
        order = self._order
        runs = max(1, (order.max_runs - self._journal.runs) * 2 // 3)
        search = BlackBoxSearch(
            order.space.knobs, runs if order.gate is None else PROPOSALS * runs, seed=order.seed
        )
        self._judge.begin()
        self._watcher.phase("search live", runs)
        first = baseline.observation
        score = self._goal.log_score(first)
        search.tell({}, score if isfinite(score) else None, self._goal.violation(self._goal.measured(first)))
        while runs:
            if (
                self._journal.left_s
                < self._ab_s(fewest_blocks()) + (order.candidates + 1) * self._journal.run_s
            ):
                break
            setting = search.propose()
            if setting is None:
                break
            if not self._judge.accepts(setting):
                search.tell(setting, None, 1.0)
                continue
            runs -= 1
            try:
                seen = self._journal.live("calibrate", setting).observation
            except TrialFailed:
                search.tell(setting, None, 1.0)
                continue
            values = self._goal.measured(seen)
            score = self._goal.log_score(seen)
            search.tell(setting, score if isfinite(score) else None, self._goal.violation(values))
        return [setting for setting in search.best(order.candidates) if setting]

    # -- verify ---------------------------------------------------------------------------------------------------

    def _verify(self, candidates: Sequence[Setting]) -> Setting | None:
        """The candidate that live runs prefer; None when none holds the SLO."""
        affordable = int((self._journal.left_s - self._ab_s(fewest_blocks())) / self._journal.run_s)
        runs = max(1, min(self._order.max_runs - self._journal.runs, affordable))
        self._watcher.phase("verify live", runs)
        test = Verification(self._journal, self._goal, self._predicted, self._expectation)
        winner = test.run(candidates, runs, self._speed)
        self._ended = test.ended
        return winner

    def _expectation(self, setting: Setting) -> Range | None:
        one = self._predicted.get(key(setting))
        if one is None or self._simulator is None:
            return None
        return interval(one, self._simulator.utilisation([setting], speed=self._speed)[0])

    # -- A/B ------------------------------------------------------------------------------------------------------

    def _ab_s(self, blocks: int) -> float:
        return blocks * 2 * (self._bench.duration_s / self._parts() / self._speed + RESTING_S)

    def _parts(self) -> int:
        """Into how many parts the trace is cut."""
        duration_s = self._bench.duration_s / self._speed
        return max(1, min(int(duration_s / SEGMENT_S), self._bench.requests // SEGMENT_REQUESTS))

    def _ab(self, winner: Setting, baseline: LiveRun) -> Tested | None:
        """Winner against baseline, block by block, both on trial in turns; None when there is no time for it."""
        room = self._journal.left_s / self._ab_s(1)
        if room < ROOM * fewest_blocks():
            return None
        blocks = max(fewest_blocks(), min(BLOCKS, int(room)))
        self._watcher.phase("A/B", 2 * blocks)
        turn = {"a": 0, "b": 0}
        parts = self._parts()
        size = self._bench.requests // parts

        def runner(side: str, setting: Setting) -> Observation:
            number = turn[side] % parts
            turn[side] += 1
            part = (number * size, (number + 1) * size)
            return self._journal.live("a/b", setting, speed=self._speed, part=part).observation

        def told_block(block: Block) -> None:
            change = change_of(block.so_far, self._goal)
            low, high = (
                "?" if limit is None else f"{100 * limit:+.0f}" for limit in (change.low, change.high)
            )
            self._watcher.step(f"block {block.number}: {100 * (change.value or 0.0):+.1f} % [{low}, {high}]")

        tested = run_ab(
            lambda: runner("a", {}),
            lambda: runner("b", winner),
            self._contest(baseline),
            max_blocks=blocks,
            margin=self._order.margin,
            seed=self._order.seed,
            on_block=told_block,
        )
        for name, side in (("the baseline", tested.a), (label(winner), tested.b)):
            if side.failures:
                self._journal.warnings.append(
                    f"{len(side.failures)} of {len(tested.blocks)} runs of {name} in the A/B test failed: "
                    f"{side.failures[0]}"
                )
        self._journal.found["ab"] = summary(tested, self._contest(baseline), self._order.margin)
        return tested

    def _contest(self, baseline: LiveRun) -> Goal:
        """What is compared: the aim, or what the baseline misses when it misses something that can be compared."""
        missed = self._goal.binding(self._goal.measured(baseline.observation))
        if missed is None or self._goal.aim == "throughput" or not missed.name.endswith("_ms"):
            return self._goal
        return Goal((missed, *(one for one in self._goal.objectives if one.name != missed.name)), "latency")

    # -- decide ---------------------------------------------------------------------------------------------------

    def _decide(self, winner: Setting, tested: Tested, baseline: LiveRun) -> Outcome:
        change = change_of(tested.change, self._goal)
        if tested.change.outcome == "undecided":
            self._check_server()
        if tested.change.outcome != "better":
            self._journal.found["after"] = self._journal.found["baseline"]
            return self._keep(reasons.no_gain(winner, tested.change, change, self._order.margin))
        missed = self._goal.binding(tested.b.values)
        if missed is not None and self._goal.binding(tested.a.values) is None:
            self._journal.found["after"] = self._journal.found["baseline"]
            return self._keep(
                f"{label(winner)} changes it by {reasons.percent(change)}, but misses {missed.label}, which the baseline holds."
            )
        self._journal.found["winner"] = dict(winner)
        self._journal.found["after"] = slo_values(self._goal, dict(tested.b.values))
        self._journal.why += [
            reasons.proof(len(tested.blocks), change),
            *self._reasons(winner),
        ]
        self._journal.found["undo"] = reasons.undo(self._order, winner)
        if not self._order.apply:
            return "written"
        return self._applied(winner, baseline)

    def _applied(self, winner: Setting, baseline: LiveRun) -> Outcome:
        path = steps(winner, self._goal, self._simulator)
        self._watcher.phase("apply in steps", len(path))
        rollout = Rollout(self._journal, self._goal, baseline.observation)
        held = rollout.run(path)
        self._journal.found["steps"] = rollout.done
        if not held:
            self._journal.why.append(f"Rolled back: {rollout.done[-1].because}.")
            return "rolled back"
        self._bench.keep(winner)
        return "applied"

    def _keep(self, because: str) -> Outcome:
        self._journal.why.append(because)
        self._journal.why.append("The baseline stays.")
        return "kept"

    def _nothing_holds(self, because: str) -> Outcome:
        """There is no winner: the baseline stays if it holds the SLO, else which setting comes closest, and what binds."""
        self._check_server()
        tried = [
            trial for trial in self._journal.trials if trial.violation is not None and trial.phase != "a/b"
        ]
        closest = min(tried, key=lambda trial: trial.violation or 0.0)
        binding = self._goal.binding(closest.values)
        if binding is None:
            return self._keep(
                f"{label(closest.setting)} held the SLO once and not again; more live runs (--max-runs) could tell."
                if closest.setting
                else because
            )
        self._journal.found["closest"] = closest.setting
        self._journal.found["after"] = slo_values(self._goal, closest.values)
        self._journal.why.append(reasons.closest(closest, self._goal))
        if self._simulator is not None:
            self._journal.why.append(reasons.binds(self._simulator.utilisation([closest.setting])[0]))
        return "infeasible"

    def _reasons(self, winner: Setting) -> list[str]:
        """Why it won, from what was simulated and what was run."""
        expected, baseline = self._predicted.get(key(winner)), self._predicted.get(key({}))
        found: list[str] = []
        if expected is not None and baseline is not None and self._simulator is not None:
            found = reasons.simulated(winner, expected, baseline, self._simulator, self._goal)
        return [*found, reasons.verified(self._journal.found.get("standings", []), self._ended)]
