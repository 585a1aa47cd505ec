"""Intervals that hold for autocorrelated samples: of quantiles, means and rates of a run in steady state.

Values are in time order, in any unit; the interval is in the same unit. Cut the warm-up first (`warmup.mser5`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from paceline.measure.statistics.long_run import FEWEST_BATCHES, LongRun, cell_count, long_run
from paceline.measure.statistics.quantile import quantile
from paceline.base.student import t_quantile

BEYOND = 10
"""Effective samples that must lie beyond a quantile before it is known well enough to judge by."""
BOUNDED = 3
"""And before anything bounds it: with 3 expected, the chance that none lies beyond is 5 % (Hanley 1983)."""
LEAST_WINDOWS = 8
_TAIL = 0.5
"""A tail is taken to be at least 1 + this times as inflated as the median. In queues it is 2.1 to 2.7 times; a run that
by luck saw few busy spells knows its median's inflation well and would take its tail for nearly independent."""
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval; `low` and `high` are None when it cannot be had, and `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    effective: float = 0.0
    """Independent samples that would know the value as well."""
    batches: int = 0
    reason: str | None = None
    enough: bool = False
    """Whether there are enough effective samples to judge by; an interval may be given without."""
    level: float = LEVEL


def needed(q: float) -> int:
    """Effective samples that a quantile needs: ten beyond it, so 200 for p95 and 1,000 for p99."""
    return round(BEYOND / min(q, 1.0 - q))


def name_of(q: float) -> str:
    """`p95`, `p99.9`."""
    return f"p{100 * q:.6g}"


def effective_samples(values: Sequence[float]) -> float:
    """Independent samples that would know the mean as well as these do: n divided by the variance inflation."""
    return mean_interval(values).effective


def quantile_interval(
    values: Sequence[float], q: float, level: float = LEVEL, *, ordered: Sequence[float] | None = None
) -> Interval:
    """Of the q-quantile, 0 < q < 1; `ordered` saves sorting again when several quantiles are asked.

    The share of samples below the quantile is a mean, whose long-run variance batches show; a Student interval of
    the share is read back through the order statistics (Woodruff 1952). So it is skewed as the samples are, needs no
    density, and for independent samples is the binomial interval, a few per cent wider. Where the share's interval
    reaches 1, the largest sample bounds it. No interval is given for fewer than 96 values, or with fewer than 3
    effective samples beyond the quantile, when not even the largest can be relied on. `enough` asks for 10.
    """
    if not 0.0 < q < 1.0:
        message = f"quantile {q} is not between 0 and 1"
        raise ValueError(message)
    if not values:
        return Interval(None, reason="no samples", level=level)
    in_order = sorted(values) if ordered is None else ordered
    value = quantile(in_order, q)
    count = len(values)
    cells = cell_count(count)
    if not cells:
        least = FEWEST_BATCHES * 4
        return Interval(value, reason=f"{count} samples, an interval needs {least} or more", level=level)
    grown, batches, freedom = _share_inflation(values, in_order, value, cells)
    if q != 0.5:
        middle, _, _ = _share_inflation(values, in_order, quantile(in_order, 0.5), cells)
        tail = 1.0 + _TAIL * min(1.0, abs(q - 0.5) / 0.4)
        grown = max(grown, 1.0 + tail * (middle - 1.0))
    effective = count / grown
    reach = t_quantile(0.5 + level / 2.0, freedom) * sqrt(q * (1.0 - q) / effective)
    enough = effective >= needed(q)
    reason = None if enough else f"{effective:.0f} independent samples, {name_of(q)} needs {needed(q):,}"
    if effective < BOUNDED / min(q, 1.0 - q):
        why = reason or f"{effective:.0f} independent samples cannot bound {name_of(q)} at this level"
        return Interval(value, None, None, effective, batches, why, enough=False, level=level)
    low = in_order[max(0, int((count - 1) * (q - reach)))]
    high = in_order[min(count - 1, int((count - 1) * (q + reach)) + 1)]
    return Interval(value, float(low), float(high), effective, batches, reason, enough, level)


def _share_inflation(
    values: Sequence[float], ordered: Sequence[float], value: float, cells: int
) -> tuple[float, int, float]:
    """Long-run variance of the share of `sample <= value` over that of independent samples, at least 1.

    With the batches and degrees of freedom behind it. Where many samples equal the value, both sides of the tie are
    tried and the larger inflation counts.
    """
    ties = bisect_right(ordered, value) - bisect_left(ordered, value) > 1
    # Bound methods of the float: value.__ge__(x) is x <= value, counted at C speed.
    tests: list[Callable[[float], bool]] = [value.__ge__, value.__gt__] if ties else [value.__ge__]
    width = len(values) // cells
    first = len(values) - cells * width
    found = [(1.0, cells, float(cells - 1))]
    for test in tests:
        shares = [
            sum(map(test, values[start : start + width])) / width
            for start in range(first, len(values), width)
        ]
        share = sum(shares) / cells
        if 0.0 < share < 1.0:
            seen = long_run(shares, width)
            found.append((seen.variance / (share * (1.0 - share)), seen.batches, seen.freedom))
    return max(found)


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Of the mean: batch means with Student's t (Conway 1963), autocorrelation as in `long_run`."""
    count = len(values)
    if not count:
        return Interval(None, reason="no samples", level=level)
    value = sum(values) / count
    cells = cell_count(count)
    if not cells:
        least = FEWEST_BATCHES * 4
        return Interval(value, reason=f"{count} samples, an interval needs {least} or more", level=level)
    width = count // cells
    means = [
        sum(values[start : start + width]) / width for start in range(count - cells * width, count, width)
    ]
    return _mean_of(values, value, long_run(means, width), level)


def rate_interval(done_per_window: Sequence[float], window_s: float, level: float = LEVEL) -> Interval:
    """Of the rate per second, from counts of consecutive windows of `window_s` seconds; at least 8 windows.

    Windows count a point process, so up to 192 of them are the cells; `effective` is windows, not requests.
    """
    windows = len(done_per_window)
    if not windows:
        return Interval(None, reason="no windows", level=level)
    rates = [count / window_s for count in done_per_window]
    value = sum(rates) / windows
    if windows < LEAST_WINDOWS:
        why = f"{windows} windows of {window_s:g} s, an interval needs {LEAST_WINDOWS} or more"
        return Interval(value, reason=why, level=level)
    cells = cell_count(windows, 1) or windows
    width = windows // cells
    means = [
        sum(rates[start : start + width]) / width for start in range(windows - cells * width, windows, width)
    ]
    return _mean_of(rates, value, long_run(means, width), level, least=LEAST_WINDOWS / 2)


def _mean_of(
    samples: Sequence[float], value: float, seen: LongRun, level: float, least: float = BEYOND
) -> Interval:
    """Independent samples are the best that is assumed."""
    count = len(samples)
    plain = sum((sample - value) ** 2 for sample in samples) / (count - 1)
    variance = max(seen.variance, plain)
    effective = count * plain / variance if variance > 0.0 else float(count)
    reach = t_quantile(0.5 + level / 2.0, seen.freedom) * sqrt(variance / count)
    enough = effective >= least
    reason = None if enough else f"{effective:.0f} independent samples, a mean needs {least:g}"
    return Interval(value, value - reach, value + reach, effective, seen.batches, reason, enough, level)
