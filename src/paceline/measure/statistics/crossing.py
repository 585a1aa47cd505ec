"""At which rate a latency measured with noise at several rates crosses its limit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist

from paceline.measure.statistics.quantile import quantile

REPLICATES = 400
UNKNOWN_SPREAD = 0.5
"""Of a quantile without an interval: too few effective samples beyond it."""
_ALIKE = 0.12
"""Points so close in rate are equally noisy."""
_NEAR = 0.3
"""Points farther than this share from the crossing do not bear on it: the line is a local one."""


@dataclass(frozen=True, slots=True)
class Point:
    """A latency measured at a rate; `spread` is the standard error of its logarithm, None where it is not known."""

    rate: float
    latency: float
    spread: float | None


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A point with the spread that its neighbours in rate agree on, and limit / latency without the noise's bias."""

    rate: float
    speed: float
    spread: float


def _smooth(points: Sequence[Point], limit: float) -> list[_Fitted]:
    """Points as the line takes them.

    A probe that by luck saw no busy spell reads both low and sure; weighed by its own spread it would pull the
    crossing up. Hence neighbours share theirs (root mean square), and one too short to have any counts as very wide.
    The mean of 1 / x of a lognormal x is exp(s^2 / 2) too large.
    """
    fitted = []
    for point in points:
        spreads = [
            (UNKNOWN_SPREAD if other.spread is None else other.spread) ** 2
            for other in points
            if abs(other.rate / point.rate - 1.0) < _ALIKE
        ]
        spread = sqrt(sum(spreads) / len(spreads))
        fitted.append(_Fitted(point.rate, limit / point.latency * exp(-(spread**2) / 2.0), spread))
    return fitted


def crossing(points: Sequence[Point], limit: float) -> float | None:
    """The rate at which the latency is `limit`; None while the points tell no line that falls.

    A weighted line of 1 / latency against the rate: exactly straight for any quantile of M/M/1, where it is
    (mu - lambda) / -ln(1 - q) (Kleinrock 1975), and nearly so close to the crossing of other single queues
    (heavy traffic, Kingman 1961). Weights fall with the distance from the crossing (Cleveland 1979).
    """
    return _line(_smooth(points, limit))


def _line(points: Sequence[_Fitted]) -> float | None:
    if len({point.rate for point in points}) < 2:
        return None
    guess = _cross(points, [1.0] * len(points))
    for _ in range(3):
        if guess is None:
            break
        weights = [max(0.0, 1.0 - (abs(point.rate / guess - 1.0) / _NEAR) ** 3) ** 3 for point in points]
        if len({point.rate for point, weight in zip(points, weights, strict=True) if weight > 0.0}) < 2:
            break
        guess = _cross(points, weights) or guess
    return guess


def _cross(points: Sequence[_Fitted], weights: Sequence[float]) -> float | None:
    """Where the line through the weighted points falls to a speed of 1."""
    # The noise of a speed is its spread at the limit: its own reading must not say how far it is to be believed.
    full = [weight / point.spread**2 for weight, point in zip(weights, points, strict=True)]
    most = 25.0 * sorted(full)[len(full) // 2] or max(full)
    full = [min(weight, most) for weight in full]  # a far point must not outweigh all near ones
    total = sum(full)
    if total <= 0.0:
        return None
    rate = sum(w * p.rate for w, p in zip(full, points, strict=True)) / total
    speed = sum(w * p.speed for w, p in zip(full, points, strict=True)) / total
    square = sum(w * (p.rate - rate) ** 2 for w, p in zip(full, points, strict=True))
    cross = sum(w * (p.rate - rate) * (p.speed - speed) for w, p in zip(full, points, strict=True))
    if square <= 0.0 or cross >= 0.0:
        return None
    found = rate + (1.0 - speed) * square / cross
    return found if found > 0.0 else None


def crossing_interval(
    points: Sequence[Point], limit: float, level: float, seed: int
) -> tuple[float, float] | None:
    """Limits of `crossing`, from points redrawn with their own noise (parametric bootstrap, Efron 1985).

    Where the points lie farther from the line than their noise allows, the noise is taken as that much larger.
    None without a crossing, or when fewer than half of the redrawn points have one.
    """
    fitted = _smooth(points, limit)
    value = _line(fitted)
    if value is None:
        return None
    noise = _misfit(fitted, value)
    source = random.Random(seed)  # noqa: S311 - a repeatable resampling, not a secret
    found = []
    for _ in range(REPLICATES):
        drawn = [
            _Fitted(p.rate, p.speed * exp(-source.gauss(0.0, p.spread * noise)), p.spread) for p in fitted
        ]
        again = _line(drawn)
        if again is not None:
            found.append(again)
    if len(found) < REPLICATES / 2:
        return None
    found.sort()
    return quantile(found, 0.5 - level / 2.0), quantile(found, 0.5 + level / 2.0)


def _misfit(points: Sequence[_Fitted], value: float) -> float:
    """At least 1: root of the mean squared residual in standard errors, of the near points (Birge 1932)."""
    near = [point for point in points if abs(point.rate / value - 1.0) < _NEAR and point.rate != value]
    if len(near) < 4:
        return 1.0
    slope = sum((p.speed - 1.0) * (p.rate - value) for p in near) / sum((p.rate - value) ** 2 for p in near)
    squares = sum(((p.speed - 1.0 - slope * (p.rate - value)) / (p.speed * p.spread)) ** 2 for p in near)
    return max(1.0, sqrt(squares / (len(near) - 2)))


def spread_of(low: float, high: float, level: float) -> float:
    """Standard error of the logarithm, from an interval of positive values."""
    return log(high / low) / 2.0 / NormalDist().inv_cdf((1.0 + level) / 2.0)
