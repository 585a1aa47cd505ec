"""How the latencies of a run are spread: quantiles with their intervals, moments, and bins to draw.

Two ways lead here: from every value in time order, or from one histogram for each stretch of time, for runs that keep no
rows or too many of them. Values are milliseconds, histograms count nanoseconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from paceline.measure.records.histogram import Counts, Histogram, bucket, middle
from paceline.measure.report import Distribution, Estimate
from paceline.measure.statistics.interval import (
    LEAST_WINDOWS,
    LEVEL,
    Interval,
    mean_interval,
    name_of,
    needed,
    quantile_interval,
    rate_interval,
)
from paceline.measure.statistics.quantile import quantile

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}

_TYPICAL = (0.5, 0.95, 0.99)

NOT_CONSTANT = "the load was not constant, so there is no one value to be sure of"
NONE = "no value"

MOST_SORTED = 2_000_000
"""More values are counted in histograms instead of being sorted: within 0.05 %, in a fraction of the memory."""
_STRETCHES = 64

BINS = 120
_FINEST_MS = 1e-3
_TWO_SIDED = 1.96
"""Half a 95 % interval in standard errors."""


def distribution(values: Sequence[float], *, constant: bool = True, level: float = LEVEL) -> Distribution:
    """Of milliseconds in the order of their time; of a load that changed there are values but no intervals.

    `level` is that at which quantiles' intervals are computed, for runs that ended because one was narrow.
    """
    if not values:
        return empty(NONE)
    if len(values) > MOST_SORTED:
        return from_stretches(_stretches(values), constant=constant)
    ordered = sorted(values)
    count = len(ordered)
    mean = math.fsum(ordered) / count
    spread = math.fsum((value - mean) ** 2 for value in ordered)
    of_mean = mean_interval(values)
    if constant:
        quantiles = {
            name: _estimate(quantile_interval(values, q, level, ordered=ordered))
            for name, q in QUANTILES.items()
        }
    else:
        quantiles = {
            name: Estimate(quantile(ordered, q), reason=NOT_CONSTANT) for name, q in QUANTILES.items()
        }
    return Distribution(
        count=count,
        effective=of_mean.effective,
        mean=_estimate(of_mean) if constant else Estimate(mean, reason=NOT_CONSTANT),
        min=ordered[0],
        max=ordered[-1],
        stddev=math.sqrt(spread / (count - 1)) if count > 1 else None,
        quantiles=quantiles,
        histogram=bins(ordered),
    )


def from_stretches(stretches: Sequence[Counts], *, constant: bool = True) -> Distribution:
    """Of one histogram (ns) for each stretch of time, in order of time.

    Quantiles are those of all together, within 0.05 %. Their intervals come from how the stretches differ, which holds
    whatever the values within a stretch have to do with each other.
    """
    whole = Histogram()
    for counts in stretches:
        whole.add(counts)
    count = whole.count
    if not count:
        return empty(NONE)
    mean = whole.mean()
    numbers = sorted(whole.counts)
    spread = math.fsum(whole.counts[number] * (middle(number) - mean) ** 2 for number in numbers)
    variance = spread / (count - 1) if count > 1 else 0.0
    sizes = [sum(counts.values()) for counts in stretches]
    sums = [math.fsum(middle(number) * times for number, times in counts.items()) for counts in stretches]
    reach, worth = _ratio(sums, sizes, mean, variance)
    quantiles = [_quantile(whole, stretches, sizes, q, constant=constant) for q in QUANTILES.values()]
    return Distribution(
        count=count,
        effective=worth,
        mean=_mean(mean, reach, constant=constant),
        min=middle(numbers[0]) / 1e6,
        max=middle(numbers[-1]) / 1e6,
        stddev=math.sqrt(variance) / 1e6 if count > 1 else None,
        quantiles=dict(zip(QUANTILES, quantiles, strict=True)),
        histogram=_bins_of(whole, numbers),
    )


def empty(reason: str) -> Distribution:
    """Of nothing, and why."""
    nothing = Estimate(reason=reason)
    return Distribution(
        count=0,
        effective=0.0,
        mean=nothing,
        min=None,
        max=None,
        stddev=None,
        quantiles=dict.fromkeys(QUANTILES, nothing),
    )


def withheld(known: Distribution, reason: str) -> Distribution:
    """Without any number that could be quoted; the histogram stays, for looking at what went wrong."""
    nothing = empty(reason)
    return Distribution(
        count=known.count,
        effective=known.effective,
        mean=nothing.mean,
        min=None,
        max=None,
        stddev=None,
        quantiles=nothing.quantiles,
        histogram=known.histogram,
    )


def typical(values: Sequence[float]) -> list[float | None]:
    """p50, p95 and p99, for a row of a table; None without values."""
    if len(values) > MOST_SORTED:
        whole = Histogram()
        for counts in _stretches(values):
            whole.add(counts)
        return typical_of(whole)
    ordered = sorted(values)
    return [quantile(ordered, q) if ordered else None for q in _TYPICAL]


def typical_of(histogram: Histogram) -> list[float | None]:
    """The same from a histogram of ns."""
    if not histogram.counts:
        return [None] * len(_TYPICAL)
    return [value / 1e6 for value in histogram.quantiles(_TYPICAL)]


def bins(ordered: Sequence[float]) -> list[tuple[float, int]]:
    """Upper edge and count of at most 120 log-spaced bins; of values in rising order."""
    counted: list[tuple[float, int]] = []
    below = 0
    for edge in _edges(ordered[0], ordered[-1], len(ordered)):
        reached = bisect_right(ordered, edge)
        counted.append((edge, reached - below))
        below = reached
    return counted


def _bins_of(whole: Histogram, numbers: list[int]) -> list[tuple[float, int]]:
    values = [middle(number) / 1e6 for number in numbers]
    edges = _edges(values[0], values[-1], whole.count)
    counted = [0] * len(edges)
    place = 0
    for number, value in zip(numbers, values, strict=True):
        while value > edges[place]:
            place += 1
        counted[place] += whole.counts[number]
    return list(zip(edges, counted, strict=True))


def _edges(low: float, high: float, count: int) -> list[float]:
    """Fewer bins for fewer values; the last edge is `high` itself."""
    start = max(low, _FINEST_MS)
    if high <= start:
        return [high]
    number = min(BINS, max(1, round(2 * math.sqrt(count))))
    step = math.log(high / start) / number
    return [*(start * math.exp(step * i) for i in range(1, number)), high]


def _stretches(values: Sequence[float]) -> list[dict[int, int]]:
    """Histograms (ns) of consecutive values (ms), as many in each."""
    edges = [len(values) * place // _STRETCHES for place in range(_STRETCHES + 1)]
    found = []
    for start, end in pairwise(edges):
        counts: dict[int, int] = {}
        for value in values[start:end]:
            number = bucket(round(value * 1e6))
            counts[number] = counts.get(number, 0) + 1
        found.append(counts)
    return found


def _quantile(
    whole: Histogram, stretches: Sequence[Counts], sizes: Sequence[int], q: float, *, constant: bool
) -> Estimate:
    """The share of values up to the quantile is a mean; its interval is read back as quantiles (Woodruff 1952)."""
    value_ns = whole.quantile(q)
    value = value_ns / 1e6
    if not constant:
        return Estimate(value, reason=NOT_CONSTANT)
    last = bucket(int(value_ns))
    below = [sum(times for number, times in counts.items() if number <= last) for counts in stretches]
    share = sum(below) / sum(sizes)
    reach, effective = _ratio(below, sizes, share, q * (1 - q))
    reason = (
        None
        if effective >= needed(q)
        else f"{effective:.0f} independent samples, {name_of(q)} needs {needed(q):,}"
    )
    if reach is None:
        return Estimate(
            value, reason=f"{len(stretches)} stretches of time, an interval needs {LEAST_WINDOWS}"
        )
    if q - reach <= 0 or q + reach >= 1:
        why = reason or f"{effective:.0f} independent samples cannot bound {name_of(q)}"
        return Estimate(value, reason=why, effective=effective)
    low, high = whole.quantiles((q - reach, q + reach))
    return Estimate(value, low / 1e6, high / 1e6, reason, effective)


def _ratio(
    sums: Sequence[float], sizes: Sequence[int], ratio: float, variance: float
) -> tuple[float | None, float]:
    """Half the interval of a mean over all values, from each stretch's sum and size, and the samples it is worth.

    The ratio estimator: what each stretch has more than its size would let expect has mean 0, and its interval over the
    mean size is that of the ratio (Cochran 1977, 6.3). `variance` is that of one value; independent values are the
    best that is assumed. None with too few stretches.
    """
    count = sum(sizes)
    excess = rate_interval([total - ratio * size for total, size in zip(sums, sizes, strict=True)], 1.0)
    if excess.low is None or excess.high is None:
        return None, 0.0
    independent = _TWO_SIDED * math.sqrt(variance / count)
    reach = max((excess.high - excess.low) / 2 * len(sizes) / count, independent)
    return reach, count * (independent / reach) ** 2 if reach else float(count)


def _mean(mean_ns: float, reach_ns: float | None, *, constant: bool) -> Estimate:
    value = mean_ns / 1e6
    if not constant:
        return Estimate(value, reason=NOT_CONSTANT)
    if reach_ns is None:
        return Estimate(value, reason=f"an interval needs {LEAST_WINDOWS} stretches of time")
    return Estimate(value, max(0.0, value - reach_ns / 1e6), value + reach_ns / 1e6)


def _estimate(interval: Interval) -> Estimate:
    return Estimate(interval.value, interval.low, interval.high, interval.reason, interval.effective or None)
