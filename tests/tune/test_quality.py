"""The quality gate: paired scores, and an interval of the loss."""

from __future__ import annotations

import numpy as np
import pytest

from paceline.tune.quality import LEAST_SAMPLES, check, held

SOURCE = np.random.default_rng(1)
BASELINE = SOURCE.uniform(0.3, 1.0, 200)
SETTING = {"embed.precision": "int8"}


class Scores:
    """A gate that has scored everything before."""

    metric = "recall@10"

    def __init__(self, scores):
        self._scores = scores

    def scores(self, setting):
        assert setting == SETTING
        return self._scores


def checked(scores, *, allowed=0.01, baseline=BASELINE):
    return check(Scores(scores), baseline, SETTING, allowed=allowed)


def test_what_changes_nothing_is_accepted():
    found = checked(BASELINE, allowed=0.0)

    assert (found.accepted, found.loss.value, found.loss.low, found.loss.high) == (True, 0, 0, 0)
    assert (found.setting, found.metric, found.samples) == (SETTING, "recall@10", 200)


def test_a_loss_surely_beyond_what_is_allowed_is_refused():
    """5 % lost everywhere, give or take 1 %."""
    found = checked(BASELINE - 0.05 + SOURCE.normal(0, 0.01, 200))

    assert not found.accepted
    assert found.loss.low == pytest.approx(0.05, abs=0.004)
    assert "surely loses more" in found.because


def test_a_loss_that_may_be_within_what_is_allowed_is_accepted_and_said():
    """About 1.5 %, but two hundred samples that differ by 20 % cannot tell it from 1 %."""
    noise = SOURCE.normal(0, 0.2, 200)
    found = checked(BASELINE - 0.015 - (noise - noise.mean()))

    assert found.accepted
    assert found.loss.low < 0.01 < found.loss.high
    assert "and 0.01 are allowed" in found.because


def test_samples_that_are_hard_for_both_do_not_blur_it():
    """Scores from 0.3 to 1, and a loss of 2 % with an interval of hundredths of a percent."""
    found = checked(BASELINE - 0.02)

    assert (found.accepted, round(found.loss.low, 6), round(found.loss.high, 6)) == (False, 0.02, 0.02)


def test_a_gain_is_no_loss():
    found = checked(BASELINE + 0.05, allowed=0.0)

    assert found.accepted
    assert found.loss.value == pytest.approx(-0.05)


def test_the_interval_covers_the_true_loss():
    """In about 95 of 100 samples; 400 times a loss of 1 % with noise of 5 %."""
    source = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        baseline = source.uniform(0, 1, 60)
        found = check(Scores(baseline - source.normal(0.01, 0.05, 60)), baseline, SETTING, allowed=1.0)
        covered += found.loss.low <= 0.01 <= found.loss.high

    assert 0.92 <= covered / 400 <= 0.98


def test_too_few_samples_accept_nothing():
    few = BASELINE[: LEAST_SAMPLES - 1]
    found = checked(few, baseline=few)

    assert (found.accepted, found.loss.value) == (False, None)
    assert found.because == "19 samples cannot tell; give 20 or more"


class TestAFloor:
    """`least`: a mean score that must surely be held, whatever the baseline has."""

    def test_is_held_by_a_mean_that_is_surely_above_it(self):
        """What it loses does not matter then."""
        found = check(Scores(BASELINE - 0.1), BASELINE, SETTING, allowed=None, least=0.4)

        assert (found.accepted, found.allowed, found.least) == (True, None, 0.4)
        assert "and 0.4 must be held" in found.because

    def test_is_not_held_by_a_mean_that_only_seems_above_it(self):
        """About 0.65 on average, of two hundred samples that differ much."""
        found = check(Scores(BASELINE), BASELINE, SETTING, allowed=None, least=0.64)

        assert BASELINE.mean() > 0.64
        assert not found.accepted

    @pytest.mark.parametrize(("allowed", "accepted"), [(0.2, True), (0.05, False)])
    def test_and_an_allowed_loss_must_both_be_kept(self, allowed, accepted):
        found = check(Scores(BASELINE - 0.1), BASELINE, SETTING, allowed=allowed, least=0.4)

        assert found.accepted is accepted
        assert "0.4 must be held; it loses" in found.because

    def test_is_wrong_in_few_of_many_samples(self):
        """Scores whose true mean is just below the floor are accepted in at most 5 of 100."""
        source = np.random.default_rng(3)
        accepted = sum(held(source.binomial(10, 0.95, 200) / 10, 0.9501)[0] for _ in range(200))

        assert accepted <= 10
