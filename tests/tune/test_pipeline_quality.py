"""What a gain may cost: quality that is judged, the aims, the budget."""

from __future__ import annotations

import msgspec
import pytest
from simulated_bench import ERRORS, P95, QUICK, SIZE, SLOW, SimulatedBench, order_for, poisson
from whole_tunes import (
    POOLING,
    Judge,
    quicker_with_cls,
    rough_calibration,  # noqa: F401 - a fixture
    said,
    tune,
)

from paceline.base.errors import ConfigError
from paceline.tune.goal import Goal
from paceline.tune.knob import Knob
from paceline.tune.pipeline import Tuner
from paceline.tune.watcher import Silence


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
