"""How much two runs of one trace at one setting differ, before anything is changed."""

from __future__ import annotations

from math import isfinite

import msgspec

from paceline.base.errors import ConfigError


class RunNoise(msgspec.Struct, frozen=True):
    """Of log scores, so 0.08 is 8 %. The defaults are of a small shared machine and runs of 2 to 5 seconds."""

    run_sd: float = 0.08
    """From run to run."""
    round_sd: float = 0.06
    """From one round of runs to the next: the machine drifts, and takes the runs of a round along."""
    outlier_share: float = 0.05
    """Runs hit by something else on the machine. It only ever makes them slower ..."""
    outlier_mean: float = 0.45
    """... by so much, here a factor of 1.3 to 2,"""
    outlier_sd: float = 0.15
    """give or take this."""

    def __post_init__(self) -> None:
        """Raises ConfigError for noise that is not positive, and for outliers in half of the runs or more."""
        for name in ("run_sd", "round_sd"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} is {value}; noise is above 0, 0.08 for 8 %", param=name)
        if not 0.0 <= self.outlier_share < 0.5:
            raise ConfigError(
                f"outlier_share is {self.outlier_share}; it is a share from 0 to below 0.5",
                param="outlier_share",
            )
