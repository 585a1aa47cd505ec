"""Whether a run was in steady state once its warm-up was cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import copysign, sqrt
from statistics import mean, median, stdev
from typing import Literal

from paceline.base.student import t_quantile
from paceline.measure.statistics.theil_sen import kendall_reach

Steadiness = Literal["steady", "rising", "falling", "unknown"]
BATCHES = 20
LEAST_SAMPLES = 10 * BATCHES
LEVEL = 0.98
"""Two-sided: the cut before it looks at the same samples, and a spell of load is no trend."""
LEAST_CHANGE = 0.05
"""A change over the run below this share of the median is steady enough, however sure."""


def trend(values: Sequence[float]) -> Steadiness:
    """`rising` or `falling` when the level of the values (in time order) surely moves; `unknown` below 200 values.

    Mann-Kendall (Mann 1945, Kendall 1975) on the means of 20 batches, so that one long busy spell counts as one high
    batch; the correlation left between batches, seen after a straight line is taken out, inflates the variance.
    A growing queue wanders about its line so much that this test is blind to it; there the steps between batches tell.
    Not every departure is a trend: a level that moves there and back is found by its wide interval instead.
    """
    count = len(values)
    if count < LEAST_SAMPLES:
        return "unknown"
    edges = [count * index // BATCHES for index in range(BATCHES + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    pairs = [(i, j) for i in range(BATCHES) for j in range(i + 1, BATCHES)]
    score = sum(copysign(1.0, means[j] - means[i]) for i, j in pairs if means[j] != means[i])
    slope = median((means[j] - means[i]) / (j - i) for i, j in pairs)
    residuals = [level - slope * index for index, level in enumerate(means)]
    sure = abs(score) > kendall_reach(residuals, LEVEL, caution=0.0) or _drifts(means, score)
    large = abs(slope) * (BATCHES - 1) > LEAST_CHANGE * abs(median(means))
    if not (sure and large):
        return "steady"
    return "rising" if score > 0 else "falling"


def _drifts(means: Sequence[float], score: float) -> bool:
    """Whether a random walk of such steps would drift so far: Student's t on the steps, on the side of `score`.

    The steps of a steady series undo one another, so that there this test is silent.
    """
    steps = [(after - before) * copysign(1.0, score) for before, after in pairwise(means)]
    spread = stdev(steps)
    return mean(steps) * sqrt(len(steps)) > t_quantile(0.5 + LEVEL / 2.0, len(steps) - 1) * spread
