"""Turning the winner on in steps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from simulated_bench import ADAPTIVE, ERRORS, P95, SIZE, SLOW, TRUTH, WAIT, SimulatedBench, order_for, poisson

from paceline.tune.apply import Rollout, steps
from paceline.tune.calibrate.posterior import Posterior
from paceline.tune.goal import Goal
from paceline.tune.journal import Journal
from paceline.tune.simulator import Simulator
from paceline.tune.watcher import Silence

GOAL = Goal((P95, ERRORS))


def simulator(workload):
    return Simulator(workload, SLOW, Posterior((TRUTH,), 0.1, 0.0), "embed")


WINNER = {SIZE: 1, WAIT: 0.0}


class TestTheSteps:
    def test_change_one_knob_at_a_time_until_the_winner_is_on(self):
        path = steps({**WINNER, ADAPTIVE: True}, GOAL, simulator(poisson(100.0, 200)))

        assert [len(stop) for stop in path] == [1, 2, 3]
        assert all(before.items() <= after.items() for before, after in pairwise(path))
        assert path[-1] == {**WINNER, ADAPTIVE: True}

    def test_go_by_the_order_whose_worst_stop_is_best(self):
        """A batch of 1 that waits 20 ms for company is no worse than without; a full one is far slower to start."""
        model = simulator(poisson(100.0, 200))
        path = steps({SIZE: 2, WAIT: 5.0}, GOAL, model)
        by_first = {
            name: model.expect([{name: value}], GOAL)[0].values["p95_ms"]
            for name, value in {SIZE: 2, WAIT: 5.0}.items()
        }

        assert next(iter(path[0])) == min(by_first, key=by_first.get)

    def test_of_one_knob_are_one(self):
        assert steps({SIZE: 4}, GOAL, simulator(poisson(100.0, 200))) == [{SIZE: 4}]

    def test_are_in_the_order_of_names_where_nothing_is_simulated(self):
        assert steps(WINNER, GOAL, None) == [{SIZE: 1}, WINNER]

    def test_of_many_knobs_are_not_all_orders(self):
        """Six have 720 orders; the names' will do."""
        many = {f"embed.batch.k{number}": number for number in range(6)}

        assert len(steps(many, GOAL, simulator(poisson(100.0, 50)))) == 6


class TestTheRollout:
    @staticmethod
    def rolled_out(factors, *, path=({SIZE: 1},)):
        """Factors on the latencies of the windows, in order."""
        left = [1.0, *factors]
        bench = SimulatedBench(disturbed=lambda number, setting: left[number - 1])
        journal = Journal(bench, order_for(), Silence(), now=bench.now)
        rollout = Rollout(journal, GOAL, journal.live("baseline", {}).observation)
        return rollout, rollout.run(list(path)), bench

    def test_goes_on_while_windows_are_good(self):
        rollout, held, bench = self.rolled_out([1.0, 1.0], path=[{SIZE: 1}, {SIZE: 1, ADAPTIVE: True}])

        assert held
        assert [(step.setting, step.held) for step in rollout.done] == [
            ({SIZE: 1}, True),
            ({SIZE: 1, ADAPTIVE: True}, True),
        ]
        assert all(step.window_s > 0 and step.values["p95_ms"] > 0 for step in rollout.done)
        assert bench.setting == {SIZE: 1, ADAPTIVE: True}

    def test_one_bad_window_may_be_a_neighbours_doing(self):
        rollout, held, _ = self.rolled_out([20.0, 1.0])

        assert held
        assert [step.held for step in rollout.done] == [False, True]
        assert rollout.done[0].because.endswith("one more window decides")

    def test_two_bad_windows_end_it(self):
        rollout, held, bench = self.rolled_out([20.0, 20.0, 1.0], path=[{SIZE: 1}, {SIZE: 1, ADAPTIVE: True}])

        assert not held
        assert [step.held for step in rollout.done] == [False, False]
        assert rollout.done[-1].because.endswith("rolled back")
        assert bench.runs == 3

    def test_a_window_worse_than_the_baseline_is_bad_though_the_slo_holds(self):
        """From 28 to 42 ms: within the objective of 60, but not what was promised."""
        rollout, held, _ = self.rolled_out([8.0, 8.0])

        assert not held
        assert "latency is" in rollout.done[0].because
        assert "worse than the baseline's" in rollout.done[0].because

    def test_a_missed_slo_is_said_by_its_name(self):
        rollout, _, _ = self.rolled_out([20.0, 20.0])

        assert rollout.done[0].because.startswith("max_size=1: p95 latency is missed by")

    def test_a_server_that_dies_ends_it_at_once(self):
        rollout, held, bench = self.rolled_out([None])

        assert (held, bench.runs) == (False, 2)
        assert rollout.done[0].because == "max_size=1: the server died during the run"


@pytest.mark.parametrize("worse", [1.0, 1.2])
def test_noise_within_the_guard_rails_is_no_reason(worse):
    """A baseline that is rolled out onto itself, 20 % slower by chance."""
    _, held, bench = TestTheRollout.rolled_out([worse], path=[{}])

    assert held
    assert bench.runs == 2
