"""The model of a step's time, fitted while the engine runs."""

from __future__ import annotations

import numpy as np
import pytest

from paceline.generate.step_log import RING, StepLog


def fed(steps: int, *, noise: float = 0.0, true=(8e-3, 6e-4, 4e-4, 2e-7)) -> StepLog:
    rng = np.random.default_rng(3)
    log = StepLog()
    for number in range(steps):
        prompt = int(rng.choice([0, 0, 0, 16, 128, 500]))
        decoding = int(rng.integers(0, 32))
        context = decoding * int(rng.integers(50, 800)) + prompt
        seconds = float(np.dot(true, (1, prompt, decoding, context))) * rng.lognormal(0.0, noise)
        log.add(
            number * 0.01,
            prompt_tokens=prompt,
            decoding=decoding,
            context_tokens=context,
            run_s=seconds * 0.9,
            step_s=seconds,
        )
    return log


def test_the_fit_finds_what_steps_cost():
    time = fed(300).time

    assert time.of(128, 8, 3000) == pytest.approx(8e-3 + 128 * 6e-4 + 8 * 4e-4 + 3000 * 2e-7, rel=0.01)


def test_noise_moves_it_little():
    time = fed(600, noise=0.1).time

    assert time.of(128, 8, 3000) == pytest.approx(8e-3 + 128 * 6e-4 + 8 * 4e-4 + 3000 * 2e-7, rel=0.1)


def test_no_part_of_the_time_is_negative():
    """Decoding alone tells nothing of prompts; what cannot be told apart is 0, not below."""
    log = StepLog()
    for number in range(64):
        log.add(
            0.0,
            prompt_tokens=0,
            decoding=8,
            context_tokens=800 + number,
            run_s=0.01,
            step_s=0.01 - number * 1e-6,
        )

    time = log.time
    assert min(time.fixed_s, time.prompt_token_s, time.decoding_s, time.context_token_s) >= 0.0
    assert time.of(0, 8, 800) == pytest.approx(0.01, rel=0.05)


def test_recent_steps_count_more_than_old_ones():
    """The machine got twice as slow."""
    log = fed(400)
    slow = fed(1200, true=(16e-3, 12e-4, 8e-4, 4e-7))
    for step in slow.recent():
        log.add(
            0.0,
            prompt_tokens=int(step["prompt_tokens"]),
            decoding=int(step["decoding"]),
            context_tokens=int(step["context_tokens"]),
            run_s=float(step["run_s"]),
            step_s=float(step["step_s"]),
        )

    assert log.time.of(0, 8, 800) == pytest.approx(16e-3 + 8 * 8e-4 + 800 * 4e-7, rel=0.05)


def test_the_log_keeps_the_last_steps_in_order():
    log = fed(RING + 10)

    kept = log.recent()
    assert len(kept) == RING
    assert kept["at_s"].tolist() == sorted(kept["at_s"].tolist())
    assert log.recent(5)["at_s"].tolist() == kept["at_s"][-5:].tolist()
