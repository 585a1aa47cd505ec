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
from paceline.vectors.recall_bound import lower_bound

LEAST_SAMPLES = 20


class QualityGate(Protocol):
    """Scores a server's answers on a fixed set of samples; higher is better."""

    metric: str
    """What a score is, for people: `accuracy`, `recall@10`, `top-10 overlap with the baseline`."""

    def scores(self, setting: Setting) -> Sequence[float]:
        """One score from 0 to 1 for each sample, in the same random order every time, with the server on `setting`.

        Raises TrialFailed.
        """


def check(  # noqa: PLR0913 - keywords
    gate: QualityGate,
    baseline: Sequence[float],
    setting: Setting,
    *,
    allowed: float | None,
    least: float | None = None,
    level: float = 0.95,
) -> QualityCheck:
    """Score `setting` once beside the `baseline` scores.

    `allowed` is the loss of mean score that is accepted: refused when the lower bound of the loss is above it. The
    interval is Student's for the mean of the paired differences. `least` is the mean score that must surely be held:
    refused when the lower bound of the mean is below it. None asks for neither. Raises TrialFailed as the gate does.
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
    loss = Range(mean, mean - half, mean + half)
    verdicts = []
    if least is not None:
        verdicts.append(held(scored.tolist(), least, level))
    if allowed is not None:
        verdicts.append(_lost(mean - half, mean + half, allowed))
    return QualityCheck(
        setting=dict(setting),
        metric=gate.metric,
        samples=count,
        loss=loss,
        allowed=allowed,
        least=least,
        accepted=all(accepted for accepted, _ in verdicts),
        because="; ".join(words for _, words in verdicts),
    )


def held(scores: Sequence[float], least: float, level: float = 0.95) -> tuple[bool, str]:
    """Whether the mean of the scores surely is `least` or more, and the words for it.

    The bound is the one of recall that is promised (`vectors/recall_bound.py`): valid for any numbers from 0 to 1.
    """
    scored = np.asarray(scores, dtype=np.float64)
    bound = lower_bound(scored, level)
    said = f"{scored.mean():.4f}, surely {bound:.4f} or more, and {least:g} must be held"
    return bound >= least, said


def _lost(low: float, high: float, allowed: float) -> tuple[bool, str]:
    if high <= allowed:
        return True, f"it loses at most {high:.4f}, {allowed:g} are allowed"
    said = f"it loses {low:.4f} to {high:.4f}, and {allowed:g} are allowed"
    return low <= allowed, said if low <= allowed else f"{said}; it surely loses more"
