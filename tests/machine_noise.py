"""Runs of one trace on a shared machine: noise from run to run, slow drift, and now and then a run that was hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MachineNoise:
    """Of log scores; the defaults are what identical settings showed on two shared cores."""

    run_sd: float = 0.08
    drift_sd: float = 0.06
    drift_s: float = 30.0
    """In which the drift forgets (autocorrelation 1/e)."""
    run_s: float = 4.0
    """From the start of a run to that of the next."""
    outlier_share: float = 0.05
    slower: tuple[float, float] = (1.3, 2.0)

    def runs(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """What `count` runs in a row add to the log score of their setting."""
        keeps = np.exp(-self.run_s / self.drift_s)
        pushes = self.drift_sd * rng.standard_normal(count)
        drift = np.empty(count)
        level = 0.0
        for index, push in enumerate(pushes):
            level = push if index == 0 else keeps * level + np.sqrt(1.0 - keeps**2) * push
            drift[index] = level
        hit = rng.random(count) < self.outlier_share
        return (
            self.run_sd * rng.standard_normal(count)
            + drift
            + hit * np.log(rng.uniform(*self.slower, size=count))
        )


MEASURED = MachineNoise()
QUIET = MachineNoise(drift_sd=0.0, outlier_share=0.0)
ROUGH = MachineNoise(run_sd=0.12, drift_sd=0.10, outlier_share=0.10)
