"""The quality gate: a setting that changes answers is refused when it surely costs more than the user allows.

`evaluate` and the vector store fill it; the tuner only compares. Every sample is scored twice, with the baseline and
with the setting, so that what is hard for both does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Protocol

import numpy as np

from paceline.base.student import t_quantile
from paceline.tune.report import QualityCheck, Range
from paceline.tune.setting import Setting

LEAST_SAMPLES = 20


class QualityGate(Protocol):
    """Scores a server's answers on a fixed set of samples; higher is better."""

    metric: str
    """What a score is, for people: `accuracy`, `recall@10`, `top-10 overlap with the baseline`."""

    def scores(self, setting: Setting) -> Sequence[float]:
        """One score for each sample, in the same order every time, with the server on trial with `setting`.

        Raises TrialFailed.
        """


def check(
    gate: QualityGate, baseline: Sequence[float], setting: Setting, *, allowed: float, level: float = 0.95
) -> QualityCheck:
    """Score `setting` once beside the `baseline` scores; `allowed` is the loss of mean score that is accepted.

    Refused when the lower bound of the loss is above `allowed`. The interval is Student's for the mean of the paired
    differences. Raises TrialFailed as the gate does.
    """
    scored = np.asarray(gate.scores(setting), dtype=np.float64)
    losses = np.asarray(baseline, dtype=np.float64) - scored
    count = len(losses)
    if count < LEAST_SAMPLES:
        return QualityCheck(
            setting=dict(setting),
            metric=gate.metric,
            samples=count,
            loss=Range(reason=f"fewer than {LEAST_SAMPLES} samples"),
            allowed=allowed,
            accepted=False,
            because=f"{count} samples cannot tell; give {LEAST_SAMPLES} or more",
        )
    mean = float(losses.mean())
    half = t_quantile(0.5 + level / 2.0, count - 1) * float(losses.std(ddof=1)) / sqrt(count)
    low, high = mean - half, mean + half
    accepted = low <= allowed
    return QualityCheck(
        setting=dict(setting),
        metric=gate.metric,
        samples=count,
        loss=Range(mean, low, high),
        allowed=allowed,
        accepted=accepted,
        because=(
            f"it loses at most {high:.4f}, {allowed:g} are allowed"
            if high <= allowed
            else f"it loses {low:.4f} to {high:.4f}, and {allowed:g} are allowed"
            + ("" if accepted else "; it surely loses more")
        ),
    )
