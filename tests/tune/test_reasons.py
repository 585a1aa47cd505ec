"""The decision in sentences."""

from __future__ import annotations

import json
import shlex

import pytest
from simulated_bench import SIZE, WAIT, order_for

from paceline.tune import reasons
from paceline.tune.report import Range, Standing
from paceline.tune.statistics.always_valid import Change

WINNER = {SIZE: 4, WAIT: 0.0}


def test_a_gain_is_told_with_its_interval_and_its_blocks():
    said = reasons.proof(12, Range(-0.281, -0.33, -0.224))

    assert (
        said
        == "A/B over 12 blocks in random order: -28.1 % [-33.0, -22.4], by an interval that holds at every look."
    )


@pytest.mark.parametrize(
    ("outcome", "change", "words"),
    [
        ("worse", Range(0.2, 0.1, 0.3), "is worse than the baseline: +20.0 % [+10.0, +30.0]"),
        ("equivalent", Range(0.0, -0.01, 0.01), "are within 2 % of each other"),
        ("undecided", Range(-0.1, -0.3, 0.1), "-10.0 % [-30.0, +10.0]: it may as well be no gain"),
        ("undecided", Range(-0.1, None, None), "by about -10.0 %, and 9 blocks are too few to be sure"),
        ("undecided", Range(-0.1, None, 0.2), "give a larger --budget"),
        ("undecided", Range(), "no block of the A/B test of max_size=4 max_wait_ms=0.0 told anything"),
    ],
)
def test_why_there_is_none_is_told_by_what_is_known(outcome, change, words):
    assert words in reasons.no_gain(WINNER, Change(outcome, 9), change, 0.02)


def test_the_verification_is_told_by_candidates_and_runs():
    rows = [Standing(setting={}, runs=runs, mean_score=1.0, eliminated_after=None) for runs in (3, 2)]

    assert (
        reasons.verified(rows, "one is left") == "It came first of 2 candidates in 5 live runs (one is left)."
    )


@pytest.mark.parametrize(
    ("used", "words"), [(0.95, "saturated; add a replica"), (0.4, "the time of single batches")]
)
def test_what_binds_depends_on_how_much_of_the_server_is_used(used, words):
    assert words in reasons.binds(used)


class TestTheWayBack:
    def test_from_a_file_is_the_old_values_at_the_start(self):
        (command,) = reasons.undo(order_for(), WINNER)

        assert command == f"paceline serve --set {SIZE}=32 --set {WAIT}=20.0"

    def test_from_a_running_server_is_a_call_of_its_admin_page(self):
        (command,) = reasons.undo(order_for(apply=True), WINNER)
        words = shlex.split(command)

        assert words[:4] == ["curl", "-X", "PATCH", "http://simulated/admin/settings"]
        assert json.loads(words[-1]) == {"changes": {SIZE: 32, WAIT: 20.0}}
        assert "Bearer $PACELINE_ADMIN__TOKEN" in command

    def test_from_a_launched_server_is_its_own_values(self):
        assert reasons.undo(order_for(reach="launch"), {SIZE: 4}) == [f"{SIZE} = 32"]
