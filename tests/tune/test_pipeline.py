"""Whole tunes of a simulated server, from the baseline to the decision."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_bench import ADAPTIVE, ERRORS, KNOBS, QUICK, SIZE, WAIT, SimulatedBench, order_for, poisson
from whole_tunes import (
    IMPOSSIBLE,
    Phases,
    StoppedWhileProbing,
    bad_windows,
    before,
    phases,
    rough_calibration,  # noqa: F401 - a fixture
    said,
    tune,
)

from machine_noise import MEASURED
from paceline.base.slo import Objective
from paceline.tune.goal import Goal
from paceline.tune.knob import Knob


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
