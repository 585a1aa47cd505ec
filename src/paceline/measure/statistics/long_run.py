"""The variance that a mean of autocorrelated samples really has.

Latencies of one queue come in busy spells: 16,000 of them at utilisation 0.8 are worth about 200 independent ones.
The long-run variance v is what makes v / n the variance of their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

FEWEST_BATCHES = 24
MOST_BATCHES = 192
LEAST_PER_CELL = 4
_NOTICED = 1.28
"""Lag-1 correlation, in standard errors, from which samples count as autocorrelated at all (one in ten by chance)."""
_PASSED = 0.3
"""And below which merged batches then pass as uncorrelated: strict, as a false pass costs coverage."""
_CAUTION = 0.5
"""Standard errors added to the correlation of batches that had to be merged."""
_STRONGEST = 0.8


@dataclass(frozen=True, slots=True)
class LongRun:
    """What the batches showed."""

    variance: float
    """Of one sample, long-run: divide by the number of samples for the variance of their mean."""
    batches: int
    freedom: float
    """Degrees of freedom of `variance`, for Student's t."""


def cell_count(samples: int, least_per_cell: int = LEAST_PER_CELL) -> int:
    """How many equal cells to count or sum the samples into: 24, 48, 96 or 192; 0 when there are too few."""
    cells = MOST_BATCHES
    while cells >= FEWEST_BATCHES:
        if samples >= cells * least_per_cell:
            return cells
        cells //= 2
    return 0


def lag_one(values: Sequence[float]) -> float:
    """Correlation of neighbours, without the bias of -1/n (Moran 1948; the complement of von Neumann's 1941 ratio)."""
    mean = sum(values) / len(values)
    off = [value - mean for value in values]
    squares = sum(value * value for value in off)
    if squares <= 0.0:
        return 0.0
    return sum(a * b for a, b in pairwise(off)) / squares + 1.0 / len(values)


def inflation(correlation: float) -> float:
    """Variance of the mean of an AR(1) process over that of independent ones, (1 + r) / (1 - r) (Bartlett 1946)."""
    r = min(max(correlation, 0.0), _STRONGEST)
    return (1.0 + r) / (1.0 - r)


def merge(cells: Sequence[float], to: int) -> list[float]:
    """Means of neighbouring cells; `to` divides their number."""
    width = len(cells) // to
    return [sum(cells[start : start + width]) / width for start in range(0, to * width, width)]


def long_run(cells: Sequence[float], per_cell: float) -> LongRun:
    """From means of equal cells in time order, `per_cell` samples each; at least 3 cells.

    Batch means (Conway 1963) with as many batches as can be had nearly uncorrelated: cells are merged in pairs until
    the lag-1 correlation passes von Neumann's test (Fishman 1978), but never below 24. What correlation is left, plus
    half its standard error once merging was needed, inflates the variance as for AR(1) (Steiger and Wilson 2002).
    """
    batches = len(cells)
    means: Sequence[float] = cells
    correlation = lag_one(means)
    merged = False
    limit = _NOTICED
    while correlation * sqrt(batches) >= limit and batches % 2 == 0 and batches // 2 >= FEWEST_BATCHES:
        batches //= 2
        means = merge(means, batches)
        correlation = lag_one(means)
        merged, limit = True, _PASSED
    if merged or correlation * sqrt(batches) >= limit:
        correlation = max(correlation, 0.0) + _CAUTION / sqrt(batches)
    mean = sum(means) / batches
    spread = sum((value - mean) ** 2 for value in means) / (batches - 1)
    per_batch = per_cell * (len(cells) / batches)
    return LongRun(spread * per_batch * inflation(correlation), batches, float(batches - 1))
