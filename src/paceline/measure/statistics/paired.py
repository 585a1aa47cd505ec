"""Two runs side by side: what changed, how surely, and what change would have gone unseen."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import exp, hypot, log, sqrt
from statistics import NormalDist

from paceline.base.errors import ConfigError
from paceline.measure.statistics.interval import Interval, mean_interval, quantile_interval
from paceline.measure.statistics.long_run import LongRun, cell_count, long_run
from paceline.measure.statistics.quantile import quantile
from paceline.base.student import t_quantile

REPLICATES = 1_000
MOST_BLOCKS = 48
"""Enough for the spread of replicates to be known; more only cost time."""
POWER = 0.8
GRID = 256
_REACH = 6.0
"""Standard errors around a quantile in which its replicates are looked for."""


@dataclass(frozen=True, slots=True)
class Difference:
    """b minus a, with its interval and, relative to a, as shares. What could not be had is None, for the `reason`."""

    value: float | None
    low: float | None = None
    high: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    detectable: float | None = None
    """The least difference, up or down, that such runs show in 80 of 100 cases."""
    relative_detectable: float | None = None
    pairs: int = 0
    """0 when the runs were not paired."""
    reason: str | None = None

    @property
    def different(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and not self.low <= 0.0 <= self.high


def paired(
    a: Sequence[float], b: Sequence[float], q: float | None = None, level: float = 0.95, *, seed: int = 1
) -> Difference:
    """Of the q-quantile, or of the mean without q; a[i] and b[i] answered the same request of the trace, in its order.

    Moving blocks of pairs (Kuensch 1989, wrapped round as Politis and Romano 1992), as long as the pairs' influence on
    the difference is correlated; both runs resample the same blocks, so that what the trace does to both cancels.
    The interval is the percentile one, stretched to Student's t for the number of blocks and to the long-run variance.
    Raises ConfigError for unequal lengths.
    """
    if len(a) != len(b):
        message = (
            f"run A has {len(a)} paired requests and run B {len(b)}: give the pairs that both runs answered"
        )
        raise ConfigError(message, param="baseline")
    refused = _refusal(_one(a, q, level)) or _refusal(_one(b, q, level))
    if refused:
        return Difference(None, pairs=len(a), reason=refused)
    before, after = _statistic(a, q), _statistic(b, q)
    cells = cell_count(len(a))
    influence = _influence(a, b, q, cells)
    width = len(a) // cells
    seen = long_run([value / width for value in influence], width)
    block = cells // min(seen.batches, MOST_BLOCKS)
    draw_a, draw_b = _resampler(a, cells, block, q), _resampler(b, cells, block, q)
    source = random.Random(seed)  # noqa: S311 - a repeatable resampling, not a secret
    drawn = []
    for _ in range(REPLICATES):
        chosen = source.choices(range(cells), k=cells // block)
        drawn.append((draw_a(chosen), draw_b(chosen)))
    stretch = _stretch(seen, influence, block, width, level)
    limits = _limits([y - x for x, y in drawn], after - before, stretch, level)
    difference = _difference(before, after, limits, level, pairs=len(a))
    if before <= 0.0 or any(x <= 0.0 for x, _ in drawn):
        return difference
    ratio = after / before - 1.0
    low, high = _limits([y / x - 1.0 for x, y in drawn], ratio, stretch, level)
    return replace(difference, relative=ratio, relative_low=low, relative_high=high)


def unpaired(
    a: Sequence[float], b: Sequence[float], q: float | None = None, level: float = 0.95
) -> Difference:
    """As `paired`, for runs of different traces: each has its own interval, and the two are put together.

    MOVER, the method of variance estimates recovery (Zou and Donner 2008), on the values and, for the relative
    difference, on their logarithms.
    """
    one, two = _one(a, q, level), _one(b, q, level)
    refused = _refusal(one) or _refusal(two)
    if refused:
        return Difference(None, reason=refused)
    x, y = _bounds(one), _bounds(two)
    difference = _difference(x[0], y[0], _mover(x, y), level, pairs=0)
    if min(x) <= 0.0 or min(y) <= 0.0:
        return difference
    low, high = _mover((log(x[0]), log(x[1]), log(x[2])), (log(y[0]), log(y[1]), log(y[2])))
    return replace(
        difference, relative=y[0] / x[0] - 1.0, relative_low=exp(low) - 1.0, relative_high=exp(high) - 1.0
    )


def _one(values: Sequence[float], q: float | None, level: float) -> Interval:
    return mean_interval(values, level) if q is None else quantile_interval(values, q, level)


def _refusal(interval: Interval) -> str | None:
    return interval.reason or "no interval" if interval.low is None else None


def _bounds(interval: Interval) -> tuple[float, float, float]:
    """Value, low, high."""
    assert interval.value is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.value, interval.low, interval.high


def _mover(x: tuple[float, float, float], y: tuple[float, float, float]) -> tuple[float, float]:
    """Limits of y - x from value, low and high of each."""
    gap = y[0] - x[0]
    return gap - hypot(y[0] - y[1], x[2] - x[0]), gap + hypot(y[2] - y[0], x[0] - x[1])


def _difference(
    before: float, after: float, limits: tuple[float, float], level: float, *, pairs: int
) -> Difference:
    """With the least effect seen at 80 % power: the half-width is z, the effect z + z(power) standard errors."""
    low, high = limits
    normal = NormalDist()
    more = 1.0 + normal.inv_cdf(POWER) / normal.inv_cdf(0.5 + level / 2.0)
    detectable = (high - low) / 2.0 * more
    share = detectable / before if before > 0.0 else None
    return Difference(
        after - before, low, high, detectable=detectable, relative_detectable=share, pairs=pairs
    )


def _statistic(values: Sequence[float], q: float | None) -> float:
    return sum(values) / len(values) if q is None else quantile(sorted(values), q)


def _influence(a: Sequence[float], b: Sequence[float], q: float | None, cells: int) -> list[float]:
    """What each cell of pairs adds to the difference, up to a common factor; a leading rest is left out."""
    before, after = _statistic(a, q), _statistic(b, q)
    width = len(a) // cells
    spans = [slice(at, at + width) for at in range(len(a) - cells * width, len(a), width)]
    if q is None:
        return [sum(b[span]) - sum(a[span]) for span in spans]
    return [float(sum(map(after.__lt__, b[span])) - sum(map(before.__lt__, a[span]))) for span in spans]


def _stretch(seen: LongRun, influence: Sequence[float], block: int, width: int, level: float) -> float:
    """Student's t over the normal, times what resampled blocks of this length miss of the long-run deviation."""
    cells = len(influence)
    mean = sum(influence) / cells
    sums = _circular(influence, block)
    resampled = sum((value - block * mean) ** 2 for value in sums) / cells / (block * width)
    missed = sqrt(seen.variance / resampled) if resampled > 0.0 else 1.0
    share = 0.5 + level / 2.0
    return max(1.0, missed) * t_quantile(share, seen.freedom) / NormalDist().inv_cdf(share)


def _circular(cells: Sequence[float], block: int) -> list[float]:
    """The sum of `block` cells from each cell on, the first following the last."""
    around = list(accumulate([*cells, *cells[: block - 1]], initial=0.0))
    return [after - before for before, after in zip(around, around[block:], strict=False)]


def _limits(drawn: Sequence[float], value: float, stretch: float, level: float) -> tuple[float, float]:
    """Percentiles of the replicates, stretched around the value, which lies within."""
    ordered = sorted(drawn)
    low, high = quantile(ordered, 0.5 - level / 2.0), quantile(ordered, 0.5 + level / 2.0)
    return value + min(0.0, low - value) * stretch, value + max(0.0, high - value) * stretch


def _resampler(
    values: Sequence[float], cells: int, block: int, q: float | None
) -> Callable[[Sequence[int]], float]:
    """The statistic of blocks that begin at these cells, without touching their samples again."""
    width = len(values) // cells
    parts = [values[at : at + width] for at in range(len(values) - cells * width, len(values), width)]
    size = width * block
    if q is not None:
        return _quantile_resampler(parts, q, _grid(values, q), block)
    sums = _circular([sum(part) for part in parts], block)
    return lambda chosen: sum(map(sums.__getitem__, chosen)) / (len(chosen) * size)


def _grid(values: Sequence[float], q: float) -> list[float]:
    """Ascending order statistics around the quantile, as far as any replicate may move it."""
    ordered = sorted(values)
    reach = _REACH * sqrt(q * (1.0 - q) / quantile_interval(values, q, ordered=ordered).effective)
    low, high = max(0.0, q - reach), min(1.0, q + reach)
    last = len(ordered) - 1
    return sorted({ordered[round(last * (low + (high - low) * step / GRID))] for step in range(GRID + 1)})


def _quantile_resampler(
    parts: Sequence[Sequence[float]], q: float, grid: Sequence[float], block: int
) -> Callable[[Sequence[int]], float]:
    """By bisection over `grid` on the blocks' counts of samples up to each threshold, straight lines between."""
    counts: list[list[int]] = []  # (cell, threshold)
    for part in parts:
        ordered = sorted(part)
        counts.append([bisect_right(ordered, threshold) for threshold in grid])
    columns = [_circular(column, block) for column in zip(*counts, strict=True)]  # (threshold, first cell)
    size = len(parts[0]) * block

    def resample(chosen: Sequence[int]) -> float:
        rank = q * len(chosen) * size
        low, high = -1, len(grid) - 1  # count at low < rank <= count at high, where the grid reaches
        below, upto = 0.0, 0.0
        while high - low > 1:
            middle = (low + high) // 2
            count = sum(map(columns[middle].__getitem__, chosen))
            if count < rank:
                low, below = middle, count
            else:
                high, upto = middle, count
        if low < 0 or upto <= below:
            return float(grid[high])
        share = min(1.0, (rank - below) / (upto - below))
        return grid[low] + (grid[high] - grid[low]) * share

    return resample
