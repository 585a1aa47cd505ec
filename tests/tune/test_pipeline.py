"""Whole tunes of a simulated server, from the baseline to the decision."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from simulated_bench import (
    ADAPTIVE,
    ERRORS,
    KNOBS,
    P95,
    QUICK,
    SIZE,
    SLOW,
    WAIT,
    SimulatedBench,
    order_for,
    poisson,
)

from machine_noise import MEASURED
from paceline.base.errors import ConfigError
from paceline.base.slo import Objective
from paceline.tune.calibrate import posterior
from paceline.tune.goal import Goal
from paceline.tune.knob import Knob
from paceline.tune.pipeline import Tuner
from paceline.tune.report import decode, encode
from paceline.tune.watcher import Silence

POOLING = Knob("embed.pooling", "mean", ("mean", "cls"), quality=True)
IMPOSSIBLE = Goal((Objective("p95_ms", "p95 latency", 1, 2, "ms"), ERRORS))


@pytest.fixture(autouse=True)
def _a_rough_calibration_will_do(monkeypatch):
    monkeypatch.setattr(posterior, "DRAWS", 48)


def tune(bench, order=None, watcher=None):
    """A report that has been through JSON, as every reader gets it."""
    report = Tuner(bench, order or order_for(), watcher or Silence(), now=bench.now).run()
    read = decode(encode(report))
    assert read.why
    return read


def said(report):
    return " ".join([*report.why, *report.warnings])


def phases(report):
    """In order, each once."""
    return list(dict.fromkeys(trial.phase for trial in report.trials))


class Judge:
    """A quality gate: each setting's scores on 40 samples, as `scores_of` says."""

    metric = "accuracy"

    def __init__(self, scores_of):
        self.asked = []
        self._scores_of = scores_of

    def scores(self, setting):
        self.asked.append(dict(setting))
        return [self._scores_of(setting)] * 39 + [0.5]


class TestAGain:
    def test_is_found_verified_proven_and_written(self):
        """Without --apply the server is back on its baseline, and the winner is for `serve --config`."""
        bench = SimulatedBench(noise=MEASURED)
        report = tune(bench)

        assert report.outcome == "written"
        assert report.winner
        assert report.winner.keys() <= {WAIT, SIZE, ADAPTIVE}
        assert phases(report) == ["baseline", "calibrate", "verify", "a/b"]
        assert report.ab.verdict == "better"
        assert report.ab.change.high < -0.5
        assert (bench.setting, bench.events[-1], "keep" in bench.events) == ({}, "revert", False)
        assert report.undo == [
            f"paceline serve {' '.join(f'--set {name}={before(name)}' for name in sorted(report.winner))}"
        ]

    def test_is_applied_in_steps_that_held(self):
        """With --apply the winner stays, one change at a time."""
        bench = SimulatedBench()
        report = tune(bench, order_for(apply=True, values={SIZE: (1, 32), WAIT: (2.0, 20.0)}))

        assert report.outcome == "applied"
        assert bench.setting == report.winner == report.steps[-1].setting
        assert bench.events[-1] == "keep"
        assert [step.held for step in report.steps] == [True] * len(report.winner)

    def test_is_told_with_what_was_expected(self):
        """Each verified setting stands beside its prediction, and the best ten runs were enough."""
        report = tune(SimulatedBench())
        verified = [trial for trial in report.trials if trial.phase == "verify"]
        before_ab = [trial for trial in report.trials if trial.phase != "a/b"]

        assert len(before_ab) <= 10
        assert all(trial.predicted_p95_ms.value for trial in verified)
        near = [abs(trial.values["p95_ms"] / trial.predicted_p95_ms.value - 1.0) < 0.35 for trial in verified]
        assert all(near)
        assert {row.name for row in report.calibration.coefficients} >= {"a", "b", "c", "enter_s", "fixed_s"}
        assert len(report.predictions) == 24
        assert report.settings_total == 24
        assert report.simulated_per_s > 0
        assert [row.objective.name for row in report.after] == ["p95_ms", "error_percent"]
        assert report.after[0].value < report.baseline[0].value

    def test_is_the_same_for_the_same_seed(self):
        """Nothing is left to chance that a seed does not decide."""
        first, second = (tune(SimulatedBench()) for _ in range(2))

        assert first.winner == second.winner
        assert [trial.values for trial in first.trials] == [trial.values for trial in second.trials]


def before(name):
    return {WAIT: "20.0", SIZE: "32", ADAPTIVE: "false"}[name]


class TestNoGain:
    def test_the_best_baseline_stays(self):
        """And that is what the report says."""
        bench = SimulatedBench(QUICK, noise=MEASURED)
        report = tune(bench, order_for(QUICK, values={WAIT: (0.0, 10.0), SIZE: (32, 64)}, apply=True))

        assert report.outcome == "kept"
        assert (report.winner, report.undo, bench.setting) == ({}, [], {})
        assert report.why[-1] == "The baseline stays."
        assert "keep" not in bench.events

    def test_a_candidate_that_is_no_better_is_said_to_be_none(self):
        """The A/B test has the last word over what was simulated."""

        def far_slower_than_simulated(number, setting):
            return 9.0 if setting else 1.0

        bench = SimulatedBench(disturbed=far_slower_than_simulated)
        report = tune(bench)

        assert report.outcome == "kept"
        assert report.ab.verdict in {"undecided", "worse", "equivalent"}
        assert report.ab.change.value is not None
        assert report.after == report.baseline

    def test_what_never_differs_in_simulation_is_not_run(self):
        """One text at a time never fills a batch, so its size is all the same."""
        lonely = poisson(5.0, 60)
        report = tune(
            SimulatedBench(QUICK, lonely), order_for(QUICK, values={SIZE: (32, 64)}, budget_s=600.0)
        )

        assert (report.outcome, phases(report)) == ("kept", ["baseline", "calibrate"])
        assert report.why[0] == "In simulation no setting differs from the baseline."

    def test_what_gains_on_the_aim_and_loses_an_objective_is_no_winner(self):
        """The CPU gets cheaper; the p95 that the baseline holds is missed."""
        goal = Goal((Objective("p95_ms", "p95 latency", 12, 24, "ms"), ERRORS), "cost")
        patient = {WAIT: (0.0, 20.0), ADAPTIVE: (True, False)}
        report = tune(SimulatedBench(QUICK), order_for(QUICK, goal=goal, values=patient))

        assert report.outcome == "kept"
        assert report.winner == {}


class TestAnSloOutOfReach:
    def test_is_said_with_the_closest_setting_and_what_binds(self):
        """A p95 of 1 ms is less than a single text takes."""
        bench = SimulatedBench()
        report = tune(bench, order_for(goal=IMPOSSIBLE))

        assert (report.outcome, report.winner, bench.setting) == ("infeasible", {}, {})
        assert report.closest
        assert report.why[0].startswith("No setting holds the SLO. Closest is ")
        assert "p95 latency" in report.why[0]
        assert "for a target of 1 ms" in report.why[0]
        assert "the time of single batches binds" in report.why[1]
        assert report.ab is None

    def test_is_said_to_be_saturation_where_it_is(self):
        """More requests than any setting can answer: not the batches bind, but how many there are."""
        flood = poisson(900.0, 400)
        report = tune(SimulatedBench(workload=flood), order_for(goal=IMPOSSIBLE))

        assert report.outcome == "infeasible"
        assert "it is saturated" in report.why[1]
        assert {row.p95_ms.reason for row in report.predictions} == {"saturated"}
        assert {row.p95_ms.value for row in report.predictions} == {None}


class TestASettingThatKills:
    @pytest.mark.parametrize("deadly", [{SIZE: 1}, {ADAPTIVE: True}, {WAIT: 0.0}])
    def test_is_marked_and_the_others_go_on(self, deadly):
        """Whether it dies in calibration or in verification, another one wins."""
        bench = SimulatedBench(disturbed=lambda number, setting: None if setting == deadly else 1.0)
        report = tune(bench)
        failed = [trial for trial in report.trials if trial.failed]

        assert report.outcome == "written"
        assert report.winner != deadly
        assert all((trial.setting, trial.values, trial.score) == (deadly, {}, None) for trial in failed)

    def test_all_of_them_leaves_the_baseline(self):
        """Which is run once more, to see whether the server is still there."""
        bench = SimulatedBench(disturbed=lambda number, setting: None if setting else 1.0)
        report = tune(bench)

        assert (report.outcome, bench.setting) == ("kept", {})
        assert report.why[0] == "The baseline holds the SLO and no candidate does."
        assert (report.trials[-1].setting, report.trials[-1].failed) == ({}, "")
        assert {row.because for row in report.standings} == {"the run failed"}

    @pytest.mark.parametrize("run", [1, 2, 3, 5, 11, 14])
    def test_for_good_ends_the_tune_with_a_report(self, run):
        """From the n-th run on nobody answers, in whatever phase that is."""
        bench = SimulatedBench(disturbed=lambda number, setting: None if number >= run else 1.0)
        report = tune(bench)

        assert report.outcome == "failed"
        assert report.why == ["Could not go on: the server died during the run."]
        assert report.trials[-1].failed == "the server died during the run"
        assert len(report.trials) >= run
        assert (report.winner, bench.setting, bench.events[-1]) == ({}, {}, "revert")

    def test_a_baseline_that_answers_nothing_is_no_baseline(self):
        """Every latency is lost: there is nothing to compare with."""
        bench = SimulatedBench(disturbed=lambda number, setting: np.nan)
        report = tune(bench)

        assert report.outcome == "failed"
        assert "none of 180 requests was answered well with the server's own settings" in report.why[0]
        assert bench.runs == 1


class Phases(Silence):
    """Knows which phase it is, and how many runs it has had."""

    def __init__(self):
        self.name, self.runs = "", 0

    def phase(self, name, total):
        self.name, self.runs = name, 0


class TestInterrupted:
    @pytest.mark.parametrize(
        ("phase", "run"),
        [
            *(
                ("baseline", 1),
                ("calibrate", 1),
                ("verify live", 1),
                ("verify live", 3),
                ("A/B", 1),
                ("A/B", 2),
            ),
            *(("A/B", 9), ("apply in steps", 1)),
        ],
    )
    def test_in_any_phase_the_server_is_back_and_the_report_whole(self, phase, run):
        """In the n-th live run of each phase."""
        at = Phases()

        def stop(number, setting):
            at.runs += 1
            if (at.name, at.runs) == (phase, run):
                raise KeyboardInterrupt
            return 1.0

        bench = SimulatedBench(disturbed=stop)
        report = tune(bench, order_for(apply=True), at)

        assert (report.outcome, at.name) == ("interrupted", phase)
        assert (bench.setting, bench.events[-1], "keep" in bench.events) == ({}, "revert", False)
        assert len(report.trials) == bench.runs - 1
        assert (report.winner, report.undo) == ({}, [])
        assert report.why[-1].startswith("Stopped by hand")

    def test_between_two_runs(self):
        """While batches are probed for the calibration."""
        bench = StoppedWhileProbing()
        report = tune(bench)

        assert (report.outcome, len(report.trials), bench.events) == ("interrupted", 1, ["run", "revert"])


class StoppedWhileProbing(SimulatedBench):
    def probe(self, rows, length):
        raise KeyboardInterrupt


class TestQuality:
    def test_a_knob_that_nobody_judges_is_left_out_with_a_warning(self):
        """The others are turned all the same."""
        report = tune(SimulatedBench(), order_for(more=[POOLING]))

        assert report.outcome == "written"
        assert POOLING.name not in report.winner
        assert report.warnings == [
            "embed.pooling: changes answers, and nothing measures their quality; left out."
        ]
        assert POOLING.name not in {knob.name for knob in report.knobs}

    def test_nothing_but_knobs_that_nobody_judges_is_nothing_to_search(self):
        with pytest.raises(ConfigError, match="nothing to search"):
            Tuner(SimulatedBench(), order_for(values={SIZE: (32,)}, more=[POOLING]), Silence())

    @pytest.mark.parametrize(("loses", "accepted"), [(0.0, True), (0.2, False)])
    def test_a_setting_that_changes_answers_goes_through_the_gate(self, loses, accepted):
        """Scored once beside the baseline; refused when it surely loses more than is allowed."""
        judge = Judge(lambda setting: 0.9 - loses * ("embed.pooling" in setting))
        bench = SimulatedBench(disturbed=quicker_with_cls)
        order = order_for(values={SIZE: (32,)}, more=[POOLING], gate=judge, allowed_loss=0.01, blackbox=True)
        report = tune(bench, order)

        assert [check.accepted for check in report.quality] == [accepted]
        assert judge.asked == [{}, {"embed.pooling": "cls"}]
        assert (report.outcome, report.winner) == (
            ("written", {"embed.pooling": "cls"}) if accepted else ("kept", {})
        )
        if not accepted:
            assert report.why[0] == "No candidate is left that the quality gate accepts."

    def test_a_live_search_runs_nothing_that_is_below_the_floor(self):
        """The quickest setting is refused without a run, once, and the next one that holds wins."""
        depth = Knob("vectors.search.ef", 400, (16, 32, 64, 400), quality=True)
        judge = Judge(lambda setting: 0.6 if setting.get(depth.name, 400) < 64 else 0.95)
        bench = SimulatedBench(disturbed=lambda _, setting: setting.get(depth.name, 400) / 400)
        order = order_for(
            values={SIZE: (32,)},
            more=[depth],
            gate=judge,
            allowed_loss=None,
            least_quality=0.7,
            blackbox=True,
        )
        report = tune(bench, order)

        assert (report.outcome, report.winner) == ("written", {depth.name: 64})
        assert {trial.setting.get(depth.name, 400) for trial in report.trials} == {64, 400}
        assert len(judge.asked) == 4
        assert sorted(check.setting[depth.name] for check in report.quality if not check.accepted) == [16, 32]

    def test_a_baseline_below_the_floor_is_told(self):
        judge = Judge(lambda _: 0.5)
        order = order_for(
            values={SIZE: (32,)},
            more=[POOLING],
            gate=judge,
            allowed_loss=None,
            least_quality=0.9,
            blackbox=True,
        )
        report = tune(SimulatedBench(), order)

        assert report.why[0] == "No candidate is left that the quality gate accepts."
        assert "The server's own settings do not hold the quality: accuracy 0.5000" in said(report)


def quicker_with_cls(number, setting):
    return 0.5 if "embed.pooling" in setting else 1.0


class TestAims:
    def test_throughput_is_compared_under_more_load_than_recorded(self):
        """The trace is replayed as fast as the best setting can hold the SLO."""
        goal = Goal((P95, ERRORS), "throughput")
        report = tune(SimulatedBench(SLOW, poisson(300.0, 300)), order_for(goal=goal))
        rates = {trial.phase: trial.values["rate_per_s"] for trial in report.trials}

        assert report.aim == "throughput"
        assert rates["a/b"] > 1.2 * rates["baseline"]
        assert report.ab.metric == "good_per_s"
        assert report.outcome in {"written", "kept"}

    def test_cost_is_cpu_per_good_request(self):
        """One text a batch wastes the price of a batch; company is cheaper."""
        hasty = msgspec.structs.replace(QUICK, batch=msgspec.structs.replace(QUICK.batch, max_size=1))
        goal = Goal((P95, ERRORS), "cost")
        report = tune(SimulatedBench(hasty), order_for(hasty, goal=goal))

        assert report.outcome == "written"
        assert report.winner.get(SIZE) != 1
        assert report.ab.metric == "cpu_s"
        assert report.ab.change.high < 0

    def test_cost_of_a_server_that_does_not_tell_is_refused(self):
        """And the server is left as it was."""
        bench = SimulatedBench(tells=False)
        with pytest.raises(ConfigError, match="needs the CPU seconds of the server"):
            tune(bench, order_for(goal=Goal((P95,), "cost"), blackbox=True))

        assert bench.events[-1] == "revert"


class TestTheRollout:
    def test_one_bad_window_is_not_enough(self):
        """A neighbour's doing; the second window decides."""
        at = Phases()
        report = tune(SimulatedBench(disturbed=bad_windows(at, 1)), order_for(apply=True), at)

        assert report.outcome == "applied"
        assert [step.held for step in report.steps[:2]] == [False, True]

    def test_two_bad_windows_roll_it_back(self):
        """Proven in the A/B, and yet it goes back."""
        at = Phases()
        bench = SimulatedBench(disturbed=bad_windows(at, 2))
        report = tune(bench, order_for(apply=True), at)

        assert report.outcome == "rolled back"
        assert [step.held for step in report.steps] == [False, False]
        assert report.why[-1].startswith("Rolled back: ")
        assert (bench.setting, bench.events[-1], "keep" in bench.events) == ({}, "revert", False)

    def test_a_server_that_dies_meanwhile_is_rolled_back(self):
        at = Phases()
        bench = SimulatedBench(disturbed=bad_windows(at, 1, factor=None))
        report = tune(bench, order_for(apply=True), at)

        assert report.outcome == "rolled back"
        assert report.steps[-1].because.endswith("the server died during the run")


def bad_windows(at, count, factor=30.0):
    """The first `count` runs while it is applied."""

    def disturbed(number, setting):
        at.runs += 1
        return factor if at.name == "apply in steps" and at.runs <= count else 1.0

    return disturbed


class TestTheBudget:
    def test_that_cannot_be_enough_is_refused_before_any_run(self):
        bench = SimulatedBench()
        with pytest.raises(ConfigError, match=r"--budget 10s: with trials of 1\.\d+ s a tune takes \d+ s"):
            tune(bench, order_for(budget_s=10.0))

        assert bench.runs == 0

    @pytest.mark.parametrize("budget_s", [40.0, 50.0, 80.0])
    def test_is_kept_to(self, budget_s):
        """By verifying less and proving less, not by saying less."""
        bench = SimulatedBench()
        report = tune(bench, order_for(budget_s=budget_s))

        assert bench.now() < 1.25 * budget_s
        assert report.seconds == pytest.approx(bench.now())
        assert report.outcome in {"written", "kept"}

    def test_that_ran_out_before_the_proof_proves_nothing(self):
        """Runs that take far longer than the trace: there is a candidate, and no time for its A/B test."""
        bench = SimulatedBench()
        slow_clock = iter(range(0, 10_000, 9))
        report = Tuner(bench, order_for(budget_s=60.0), Silence(), now=lambda: float(next(slow_clock))).run()

        assert report.outcome == "kept"
        assert report.why[0].startswith("No time was left to prove ")
        assert (report.ab, bench.setting) == (None, {})


class TestABlackBox:
    def test_is_searched_live_and_proven_alike(self):
        """Without a station nothing is simulated."""
        bench = SimulatedBench(tells=False)
        report = tune(bench, order_for(blackbox=True))

        assert (report.calibration, report.predictions) == (None, [])
        assert report.outcome == "written"
        assert report.ab.verdict == "better"
        assert sum(trial.phase != "a/b" for trial in report.trials) <= 10

    def test_an_slo_out_of_reach_is_said_here_too(self):
        """With the closest of what was tried."""
        report = tune(SimulatedBench(), order_for(goal=IMPOSSIBLE, blackbox=True))

        assert report.outcome == "infeasible"
        assert report.closest is not None

    def test_a_server_that_dies_for_good_ends_it(self):
        """Not the settings failed that were tried after that."""
        bench = SimulatedBench(disturbed=lambda number, setting: None if number > 1 else 1.0)
        report = tune(bench, order_for(blackbox=True))

        assert (report.outcome, report.trials[-1].setting) == ("failed", {})

    def test_a_knob_that_is_not_simulated_is_said(self):
        """It stays as it is, and the report says how to try it."""
        threads = Knob("embed.threads", 1, (1, 2, 4))
        report = tune(SimulatedBench(), order_for(more=[threads]))

        assert "embed.threads" not in report.winner
        assert "What embed.threads does is not simulated" in said(report)
        assert {knob.name for knob in report.knobs if not knob.modelled} == {"embed.threads"}


@pytest.mark.slow
def test_no_gain_is_promised_where_there_is_none():
    """Twenty tunes on a noisy machine whose settings all do the same: one false promise would be luck, three a bug."""
    promised = 0
    for seed in range(20):
        bench = SimulatedBench(QUICK, noise=MEASURED, seed=seed)
        order = order_for(QUICK, values={SIZE: KNOBS[SIZE][1:], WAIT: (0.0, 0.5)}, blackbox=True, seed=seed)
        promised += tune(bench, order).outcome == "written"

    assert promised <= 2
