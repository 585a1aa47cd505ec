"""When a run has seen enough: looking again and again must not make the interval a lie.

Looks are taken at sizes that double, so that the half-width shrinks by 0.7 from one to the next and only two
neighbouring looks can be the last by luck; each decides at a level that shares the error between them (Bonferroni).
Chow and Robbins 1965 prove the coverage for narrow intervals, where the variance is known well by then; the least
number of effective samples guards the early looks, where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paceline.measure.statistics.interval import Interval, quantile_interval
from paceline.measure.statistics.warmup import mser5

FIRST_LOOK = 1_000
RATIO = 2
"""Each look waits for so many times the samples of the one before."""
RISKY_LOOKS = 2


@dataclass(frozen=True, slots=True)
class Look:
    """One decision. After stopping, `interval` is the one to report: at `stopping_level`, it covers as `level` says."""

    stop: bool
    precision: float | None
    """The larger half of the interval over its value; None without an interval."""
    interval: Interval


def next_look(samples: int) -> int:
    """The size at which to look again once `samples` have been seen: 1,000, 2,000, 4,000 and so on."""
    size = FIRST_LOOK
    while size <= samples:
        size *= RATIO
    return size


def stopping_level(level: float = 0.95) -> float:
    """The level at which to compute the interval of a run that was stopped by its width, to be shown as `level`."""
    return 1.0 - (1.0 - level) / RISKY_LOOKS


def look(values: Sequence[float], q: float, precision: float, level: float = 0.95) -> Look:
    """Whether the interval of the q-quantile is within +- `precision` of its value, and honestly so.

    `values` in time order, from the start of the run; the warm-up is cut here. Call it at the sizes of `next_look`
    only: looking after every request would undo the correction.
    """
    interval = quantile_interval(values[mser5(values) :], q, stopping_level(level))
    value, low, high = interval.value, interval.low, interval.high
    if value is None or low is None or high is None or value <= 0.0:
        return Look(stop=False, precision=None, interval=interval)
    width = max(high - value, value - low) / value
    return Look(interval.enough and width <= precision, width, interval)


def narrow_enough(values: Sequence[float], q: float, precision: float, level: float = 0.95) -> bool:
    """`look(...).stop`."""
    return look(values, q, precision, level).stop
