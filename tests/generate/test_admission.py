"""Admission counts what will really be computed, and refuses what would come too late."""

from __future__ import annotations

from math import inf

import pytest
from token_runner import TokenRunner

from paceline.base.errors import DeadlineExceeded, Overloaded
from paceline.generate.admission import Admission, AdmissionPolicy
from paceline.generate.engine import Engine
from paceline.generate.sampler import Sampler
from paceline.generate.scheduler import SchedulePolicy
from paceline.generate.step_log import StepTime


def admission(**policy) -> Admission:
    """Of an engine whose prompt tokens cost a millisecond each, with four places."""
    runner = TokenRunner()
    schedule = SchedulePolicy(max_sequences=4, slowdown=2.0)
    engine = Engine(runner, Sampler(97), schedule, lambda out: None)
    engine.steps.time = StepTime(0.0, 1e-3, 1e-3, 0.0)
    return Admission(AdmissionPolicy(**policy), engine, clock=lambda: 100.0)


def test_prompts_that_wait_are_waited_for():
    gate = admission()
    gate.admit(1, 500, inf)

    assert gate.predicted_s(1, 100) == pytest.approx(0.6)


def test_beside_decoding_prompts_have_a_part_of_each_step_only():
    gate = admission()
    gate.admit(1, 500, inf)
    gate.first_token(500)

    assert gate.predicted_s(1, 100) == pytest.approx(0.2)


def test_beyond_the_places_the_mean_time_of_a_sequence_counts():
    gate = admission()
    for _ in range(4):
        gate.admit(1, 0, inf)
        gate.first_token(0)
    gate.ended(8.0)
    gate.admit(1, 0, inf)

    assert gate.predicted_s(1, 1) == pytest.approx(2.0)  # one too many for four places of 8 s each


@pytest.mark.parametrize(("policy", "deadline_at"), [({"slo_ttft_ms": 500.0}, inf), ({}, 100.5)])
def test_a_request_whose_first_token_would_come_too_late_is_refused_with_the_time_to_wait(
    policy, deadline_at
):
    gate = admission(**policy)
    gate.admit(1, 300, deadline_at)

    with pytest.raises(Overloaded, match="700 ms is longer than the 500 ms") as refused:
        gate.admit(1, 400, deadline_at)

    assert refused.value.retry_after_s == pytest.approx(0.2)
    assert (gate.sequences, gate.tokens) == (1, 300)


def test_the_first_one_is_always_admitted():
    gate = admission(slo_ttft_ms=1.0, max_waiting_tokens=10)

    gate.admit(1, 5000, inf)

    assert gate.tokens == 5000


@pytest.mark.parametrize("policy", [{"max_waiting": 2}, {"max_waiting_tokens": 50}])
def test_a_full_line_refuses(policy):
    gate = admission(**policy)
    gate.admit(2, 50, inf)

    with pytest.raises(Overloaded, match="2 sequences of 50 prompt tokens wait"):
        gate.admit(1, 1, inf)

    gate.left(25)
    gate.left(25)
    gate.admit(1, 1, inf)
    assert gate.stats()["waiting_sequences"] == 1


def test_a_deadline_that_is_over_is_not_queued():
    with pytest.raises(DeadlineExceeded, match="500 ms ago"):
        admission().admit(1, 1, 99.5)
