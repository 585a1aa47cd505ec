"""A slope that a few wild values cannot bend: for what should not grow over hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import NormalDist, linear_regression, median

from paceline.measure.statistics.long_run import inflation, lag_one

MOST_POINTS = 120
THINNED = 24
"""Points are not merged below this for autocorrelation's sake."""
LEAST_POINTS = 8


@dataclass(frozen=True, slots=True)
class Slope:
    """Change per second, in the unit of the values; all None with fewer than 8 points, for the `reason` given."""

    per_s: float | None
    low: float | None
    high: float | None
    start: float | None = None
    """The line's value at the first instant."""
    reason: str | None = None


def thin(at_s: Sequence[float], values: Sequence[float], points: int) -> tuple[list[float], list[float]]:
    """At most `points` pairs of medians of consecutive instants and values."""
    count = len(values)
    if count <= points:
        return list(at_s), list(values)
    edges = [count * index // points for index in range(points + 1)]
    spans = list(pairwise(edges))
    return [median(at_s[a:b]) for a, b in spans], [median(values[a:b]) for a, b in spans]


def theil_sen(at_s: Sequence[float], values: Sequence[float], level: float = 0.95) -> Slope:
    """Median of the slopes of all pairs (Theil 1950), interval from Kendall's S (Sen 1968).

    `at_s` ascends, in seconds; as many instants as values. More than 120 points are first thinned to medians of
    consecutive ones, which keeps it quick, and neighbours are merged while they are correlated, down to 24 points; the
    lag-1 correlation left in the residuals inflates the variance of S (von Storch 1995; compare Hamed and Rao 1998). So the interval is that of
    the trend, not of the noise around it.
    """
    times, levels = thin(at_s, values, MOST_POINTS)
    while len(levels) >= 2 * THINNED and _detrended_correlation(times, levels) > 1.0 / sqrt(len(levels)):
        times, levels = thin(times, levels, len(levels) // 2)
    count = len(levels)
    if count < LEAST_POINTS or times[0] == times[-1]:
        return Slope(None, None, None, None, f"{count} points, a slope needs {LEAST_POINTS} or more")
    slopes = sorted(
        (levels[j] - levels[i]) / (times[j] - times[i])
        for i in range(count)
        for j in range(i + 1, count)
        if times[j] > times[i]
    )
    slope = median(slopes)
    residuals = [value - slope * at for at, value in zip(times, levels, strict=True)]
    reach = kendall_reach(residuals, level)
    low = (len(slopes) - reach) / 2.0
    start = median(residuals) + slope * times[0]
    first, last = max(0, int(low) - 1), min(len(slopes) - 1, len(slopes) - int(low))
    return Slope(slope, slopes[first], slopes[last], start)


def _detrended_correlation(at_s: Sequence[float], values: Sequence[float]) -> float:
    """Lag-1 correlation once a least-squares line is taken out."""
    slope, level = linear_regression(at_s, values) if at_s[0] != at_s[-1] else (0.0, 0.0)
    return lag_one([value - level - slope * at for at, value in zip(at_s, values, strict=True)])


def kendall_reach(residuals: Sequence[float], level: float, caution: float = 1.0) -> float:
    """How far from 0 Kendall's S of trendless points like these goes at this level (Kendall 1975; two-sided).

    A fitted line takes some correlation away; (1 + 3 r) / n gives it back (Kendall 1954), and `caution` adds so many
    standard errors to a correlation that is there.
    """
    count = len(residuals)
    r = lag_one(residuals)
    r += (1.0 + 3.0 * max(r, 0.0)) / count
    if r < 0.5 / sqrt(count):
        r = 0.0
    elif r > 1.0 / sqrt(count):
        r += caution / sqrt(count)
    variance = count * (count - 1) * (2 * count + 5) / 18.0 * inflation(r)
    return NormalDist().inv_cdf(0.5 + level / 2.0) * sqrt(variance)
