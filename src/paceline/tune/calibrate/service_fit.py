"""How long a batch runs: t = (a + b*B + c*B*S + d*B*S^2) * (1 + k*(busy - 1)), all coefficients >= 0.

Non-negative least squares of the relative error. With four coefficients the active set is found by trying all
fifteen, which is exact and needs no solver. The slow-down `k` by other busy lanes enters linearly for a given base, so
the two are fitted in turns. Intervals by bootstrap over batches (Efron 1979).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from paceline.base.errors import ConfigError
from paceline.tune.calibrate.batch_log import BatchLog, Floats

LEAST_BATCHES = 20
"""Fewer say too little about five numbers."""
ROUNDS = 24
"""Of base and slow-down in turns at most."""
SETTLED = 3e-4
"""Change of the slow-down from one round to the next that ends them."""
LEAST_OF_A_KIND = 5
"""Batches that ran beside so many others, for a median of them."""
TRIM = 3.0
"""Relative errors beyond this many times the usual are page faults and neighbours, not the engine."""
_SUBSETS = [subset for size in range(1, 5) for subset in combinations(range(4), size)]


@dataclass(frozen=True, slots=True)
class ServiceFit:
    """One fit; seconds per batch, row, padded token, padded token x length."""

    a: float
    b: float
    c: float
    d: float
    contention: float
    """Share by which each other busy lane makes a batch longer."""
    spread: float
    """Standard deviation of the logarithm of actual over fitted run time."""

    def seconds(self, log: BatchLog) -> Floats:
        """Fitted run times, shape (batches,)."""
        base: Floats = _columns(log) @ np.array([self.a, self.b, self.c, self.d])
        return base * (1.0 + self.contention * (log.busy - 1.0))


def fit(log: BatchLog) -> ServiceFit:
    """The best fit. Raises ConfigError when there are too few batches."""
    if len(log) < LEAST_BATCHES:
        raise ConfigError(
            f"the server told of {len(log)} batches and {LEAST_BATCHES} are needed to fit its run time; "
            "run longer (--duration) or at a higher rate"
        )
    kept = log
    for _ in range(2):  # once to find what is far off, once without it
        found = _fit(kept, 0.0)
        errors = np.log(log.run_s / found.seconds(log))
        usual = max(0.02, 1.4826 * float(np.median(np.abs(errors - np.median(errors)))))
        kept = log.taken(np.flatnonzero(np.abs(errors - np.median(errors)) <= TRIM * usual))
    errors = np.log(kept.run_s / found.seconds(kept))
    return replace(found, spread=float(errors.std()))


def bootstrap(log: BatchLog, draws: int, *, seed: int) -> list[ServiceFit]:
    """Fits of resampled batches, the best fit first."""
    best = fit(log)
    source = np.random.default_rng(seed)
    errors = np.log(log.run_s / best.seconds(log))
    near = np.flatnonzero(np.abs(errors) <= TRIM * max(best.spread, 0.02))
    fits = [best]
    fits += [_fit(log.taken(source.choice(near, len(near))), best.spread) for _ in range(draws - 1)]
    return fits


def _columns(log: BatchLog) -> Floats:
    """(batches, 4)."""
    tokens = log.rows * log.length
    return np.stack([np.ones_like(tokens), log.rows, tokens, tokens * log.length], axis=1)


def _fit(log: BatchLog, spread: float) -> ServiceFit:
    columns = _columns(log)
    others = log.busy - 1.0
    contention = 0.0
    fitted = log.run_s
    for _ in range(ROUNDS):
        slowed = columns * (1.0 + contention * others)[:, None]
        # Weighed by the fitted times, not the measured ones: slow batches, whose error is large, count as much as quick.
        theta = _non_negative(slowed / fitted[:, None], log.run_s / fitted)
        before, contention = contention, _contention(log.run_s / (columns @ theta), others)
        fitted = (columns @ theta) * (1.0 + contention * others)
        if abs(contention - before) < SETTLED:
            break
    a, b, c, d = theta.tolist()
    return ServiceFit(a, b, c, d, contention, spread)


def _contention(ratio: Floats, others: Floats) -> float:
    """Slow-down for each other busy lane, from medians: what was hit by a neighbour does not speak for all.

    `ratio` is of run time over the time alone, up to a common factor; 0 when nothing ran alone to compare with.
    """
    alone = ratio[others == 0.0]
    if len(alone) < LEAST_OF_A_KIND:
        return 0.0
    weights, slopes = [], []
    for count in np.unique(others[others > 0.0]):
        beside = ratio[others == count]
        if len(beside) >= LEAST_OF_A_KIND:
            slopes.append((float(np.median(beside) / np.median(alone)) - 1.0) / float(count))
            weights.append(float(len(beside) * count**2))
    return max(0.0, float(np.average(slopes, weights=weights))) if slopes else 0.0


def _non_negative(scaled: Floats, target: Floats) -> Floats:
    """The theta >= 0 that brings scaled @ theta nearest to the target, by trying every set of positive coefficients."""
    units = np.sqrt((scaled**2).sum(axis=0)) + 1e-300
    gram = (scaled / units).T @ (scaled / units)
    moment = (scaled / units).T @ target
    best, least = np.zeros(4), np.inf
    for subset in _SUBSETS:
        at = list(subset)
        try:
            part = np.linalg.solve(gram[np.ix_(at, at)], moment[at])
        except (
            np.linalg.LinAlgError
        ):  # columns that this traffic cannot tell apart: a smaller set says the same
            continue
        if (part < 0.0).any():
            continue
        loss = float(part @ gram[np.ix_(at, at)] @ part - 2.0 * part @ moment[at])
        if loss < least - 1e-12:
            best, least = np.zeros(4), loss
            best[at] = part
    found: Floats = best / units
    return found
