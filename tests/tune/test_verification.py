"""A few candidates live."""

from __future__ import annotations

import pytest
from simulated_bench import ERRORS, P95, SIZE, WAIT, SimulatedBench, order_for

from paceline.base.slo import Objective
from paceline.tune.goal import Goal
from paceline.tune.journal import Journal
from paceline.tune.verification import Verification
from paceline.tune.watcher import Silence

QUICK, SLOW = {WAIT: 0.0}, {SIZE: 16}


def verification(goal=None, **bench):
    goal = goal or Goal((P95, ERRORS))
    journal = Journal(SimulatedBench(**bench), order_for(goal=goal), Silence())
    return Verification(journal, goal, {}, lambda setting: None), journal


def test_the_one_that_is_clearly_better_wins_and_the_other_is_dropped():
    test, journal = verification()

    assert test.run([SLOW, QUICK], 6, 1.0) == QUICK
    best, other = journal.found["standings"]
    assert (best.setting, best.eliminated_after, best.because) == (QUICK, None, "best")
    assert other.setting == SLOW
    assert other.eliminated_after == journal.runs <= 6
    assert test.ended == "one is left"


def test_more_candidates_than_runs_are_not_run():
    test, journal = verification()
    test.run([QUICK, SLOW, {SIZE: 4}], 1, 1.0)

    assert [trial.setting for trial in journal.trials] == [QUICK]


def test_a_candidate_at_which_the_server_dies_does_not_win():
    test, journal = verification(disturbed=lambda number, setting: None if setting == QUICK else 1.0)

    assert test.run([QUICK, SLOW], 4, 1.0) == SLOW
    assert journal.trials[0].failed


def test_nobody_wins_when_all_die():
    test, _ = verification(disturbed=lambda number, setting: None)

    assert test.run([QUICK, SLOW], 4, 1.0) is None


class TestAnObjectiveThatIsMissed:
    TIGHT = Goal((Objective("p95_ms", "p95 latency", 0.5, 1, "ms"),))

    def test_by_all_leaves_no_winner(self):
        assert verification(self.TIGHT)[0].run([QUICK], 4, 1.0) is None

    def test_once_is_looked_at_again(self):
        """One run may be an outlier."""
        test, journal = verification(self.TIGHT)
        test.run([QUICK], 4, 1.0)

        assert len(journal.trials) == 2

    def test_under_stress_is_left_to_the_test_against_the_baseline(self):
        assert verification(self.TIGHT)[0].run([QUICK], 4, 2.0) == QUICK


@pytest.mark.parametrize(("aim", "sign"), [("latency", 1), ("throughput", -1)])
def test_scores_are_in_the_unit_of_the_aim(aim, sign):
    test, journal = verification(Goal((P95, ERRORS), aim))
    test.run([QUICK], 3, 1.0)

    (row,) = journal.found["standings"]
    assert row.mean_score is not None
    assert row.mean_score * sign > 0
