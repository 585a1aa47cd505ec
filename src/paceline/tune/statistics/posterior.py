"""What a few runs and the predictions say together about each candidate.

A log score is the candidate's own level, plus what its round shares (drift), plus the noise of the run, and now and then
a run is hit and slower. Levels come from the predictions, each as sure as it says, and a common offset of any size
between prediction and machine; the noise is known to a factor of two. Given the scale of the noise and which runs were
hit, all is normal and the posterior has a closed form (Lindley and Smith 1972); both are few enough to be summed over
instead of sampled, which gives the weights of a finite mixture (outliers as by Box and Tiao 1968).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from paceline.tune.statistics.run_noise import RunNoise

Floats = NDArray[np.float64]

MOST_HIT = 2
"""Runs hit at the same time in one verification: three of ten is 1 in 100 for a share of 5 %."""
DRAWS = 4_000
_OFFSET_SD = 2.0
"""Of the offset that all predictions share: a factor of 7, so hardly any knowledge."""
_SCALES = np.array([0.5, 0.71, 1.0, 1.41, 2.0])
_SCALE_WEIGHTS = np.array([0.1, 0.2, 0.4, 0.2, 0.1])


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run."""

    candidate: int
    round: int
    log_score: float


class Posterior:
    """Of the levels of all candidates, after the runs so far."""

    def __init__(
        self, runs: Sequence[Run], predicted: Sequence[float], uncertainty: Sequence[float], noise: RunNoise
    ) -> None:
        prior_mean = np.asarray(predicted, dtype=np.float64)
        prior = np.diag(np.square(np.asarray(uncertainty, dtype=np.float64))) + _OFFSET_SD**2
        if not runs:
            self._weights, self._means, self._spreads = np.ones(1), prior_mean[None], prior[None]
        else:
            self._weights, self._means, self._spreads = _mixture(runs, prior_mean, prior, noise)
        self.mean: Floats = self._weights @ self._means
        """Expected log score of each candidate, on a quiet machine and in a run that nothing hit."""

    def draws(self) -> Floats:
        """(DRAWS, candidates) levels, the same ones for the same runs."""
        rng = np.random.default_rng(1)
        counts = np.floor(self._weights * DRAWS).astype(int)
        counts[np.argmax(self._weights)] += DRAWS - counts.sum()
        parts = []
        for component in np.flatnonzero(counts):
            root = np.linalg.cholesky(self._spreads[component] + 1e-12 * np.eye(self.mean.size))
            normal = rng.standard_normal((counts[component], self.mean.size))
            parts.append(self._means[component] + normal @ root.T)
        return np.concatenate(parts)


def _mixture(
    runs: Sequence[Run], prior_mean: Floats, prior: Floats, noise: RunNoise
) -> tuple[Floats, Floats, Floats]:
    """Weights (m), means (m, candidates) and covariances (m, candidates, candidates)."""
    count = len(runs)
    score = np.array([run.log_score for run in runs])
    which = np.array([run.candidate for run in runs])
    rounds = np.array([run.round for run in runs])
    together = (rounds[:, None] == rounds[None, :]).astype(float)
    hit = np.zeros((sum(1 for _ in _subsets(count)), count))
    for row, chosen in enumerate(_subsets(count)):
        hit[row, list(chosen)] = 1.0

    # Axes: scale of the noise, which runs were hit, run, run.
    diagonal = (_SCALES[:, None, None] * noise.run_sd) ** 2 + hit[None] * noise.outlier_sd**2
    shared = ((_SCALES * noise.round_sd) ** 2)[:, None, None, None] * together
    to_level = prior[:, which]  # (candidates, runs)
    variance = diagonal[..., None] * np.eye(count) + shared + to_level[which][None, None]
    residual = score - prior_mean[which] - hit * noise.outlier_mean  # (hit, runs)
    residual = np.broadcast_to(residual, (*variance.shape[:2], count))
    solved = np.linalg.solve(variance, residual[..., None])[..., 0]
    _, log_size = np.linalg.slogdet(variance)
    hits = hit.sum(axis=1)
    share = max(noise.outlier_share, 1e-12)
    log_weight = (
        -0.5 * (np.sum(residual * solved, axis=-1) + log_size)
        + np.log(_SCALE_WEIGHTS)[:, None]
        + hits * np.log(share)
        + (count - hits) * np.log1p(-share)
    )
    weights = np.exp(log_weight - log_weight.max()).ravel()
    means = prior_mean + solved @ to_level.T
    spreads = prior - to_level @ np.linalg.solve(
        variance, np.broadcast_to(to_level.T, (*variance.shape[:3], prior_mean.size))
    )
    size = prior_mean.size
    return weights / weights.sum(), means.reshape(-1, size), spreads.reshape(-1, size, size)


def _subsets(count: int) -> list[tuple[int, ...]]:
    return [chosen for size in range(MOST_HIT + 1) for chosen in combinations(range(count), size)]
