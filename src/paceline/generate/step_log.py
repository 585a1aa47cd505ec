"""What each step of the engine computed and how long it took: the calibration of schedule, admission and simulator.

A step's time is modelled as  t = a + b * prompt tokens + c * decoding sequences + d * context tokens  (seconds), fitted
by least squares with exponential forgetting. The form follows what a step does: weights are read once (a), rows are
multiplied (b, c), keys and values are read (d).
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

RING: Final = 4096
FORGET: Final = 0.995
"""Weight of the past at each step: about the last 200 steps count."""
FIT_EVERY: Final = 16
PRIOR: Final = np.array([1e-3, 1e-4, 1e-4, 1e-8])
"""Seconds before anything was measured; outweighed after a few steps."""
SCALE: Final = np.array([1.0, 100.0, 10.0, 10_000.0])
"""Brings the four quantities to like size, or the smallest would drown in rounding."""

STEP: Final = np.dtype(
    [
        ("at_s", "f8"),
        ("prompt_tokens", "i4"),
        ("decoding", "i4"),
        ("context_tokens", "i8"),
        ("run_s", "f8"),
        ("step_s", "f8"),
    ]
)
"""A record of the log; `run_s` is the model's part of `step_s`."""


class StepTime(msgspec.Struct, frozen=True, gc=False):
    """Seconds of a step: fixed, per prompt token, per decoding sequence, per context token."""

    fixed_s: float
    prompt_token_s: float
    decoding_s: float
    context_token_s: float

    def of(self, prompt_tokens: int, decoding: int, context_tokens: int) -> float:
        """Predicted seconds of a step."""
        return (
            self.fixed_s
            + self.prompt_token_s * prompt_tokens
            + self.decoding_s * decoding
            + self.context_token_s * context_tokens
        )


class StepLog:
    """The last steps and the model fitted to them. Written by the engine's thread, read by any."""

    def __init__(self) -> None:
        self._ring = np.zeros(RING, dtype=STEP)
        self.steps = 0
        self._gram = np.diag([1e-3, 1e-3, 1e-3, 1e-3])
        self._moment = self._gram @ (PRIOR * SCALE)
        self.time = StepTime(*PRIOR.tolist())
        """The model as last fitted."""

    def add(  # noqa: PLR0913 - the columns of the log
        self,
        at_s: float,
        *,
        prompt_tokens: int,
        decoding: int,
        context_tokens: int,
        run_s: float,
        step_s: float,
    ) -> None:
        """One step is done."""
        self._ring[self.steps % RING] = (at_s, prompt_tokens, decoding, context_tokens, run_s, step_s)
        self.steps += 1
        x = np.array((1.0, prompt_tokens, decoding, context_tokens)) / SCALE
        # Relative errors count: a long prompt's step must not drown a hundred short ones.
        weight = 1.0 / max(step_s, 1e-5) ** 2
        self._gram *= FORGET
        self._moment *= FORGET
        self._gram += weight * np.outer(x, x)
        self._moment += weight * step_s * x
        if self.steps % FIT_EVERY == 0 or self.steps <= FIT_EVERY:
            self._fit()

    def _fit(self) -> None:
        """Least squares with coefficients >= 0: those below are set to 0, the worst first, and the rest fitted anew."""
        kept = [0, 1, 2, 3]
        ridge = np.diag(1e-9 * np.maximum(np.diag(self._gram), 1e-12))
        while kept:
            index = np.ix_(kept, kept)
            found = np.linalg.solve(self._gram[index] + ridge[index], self._moment[kept])
            if found.min() >= 0.0:
                break
            kept.pop(int(found.argmin()))
        values = np.zeros(4)
        if kept:
            values[kept] = found
        self.time = StepTime(*(values / SCALE).tolist())

    def since(self, number: int) -> tuple[int, np.ndarray]:
        """The number of the next step, and those from `number` on that are still here, oldest first.

        A number beyond the next is from before a restart, and then all are new.
        """
        steps = self.steps
        return steps, self.recent(steps - number if number <= steps else RING)

    def recent(self, count: int = RING) -> np.ndarray:
        """The last `count` steps as records of `STEP`, oldest first."""
        kept = min(self.steps, RING, count)
        order = np.arange(self.steps - kept, self.steps) % RING
        return self._ring[order]
