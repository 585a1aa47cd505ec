"""Log-linear histogram of whole nanoseconds: mergeable, and within 0.05 % of every value it was given.

Each octave has 1,024 buckets of one width, so half a bucket is at most 1/2,048 (0.049 %) of its lower edge. Below
2,048 ns the buckets are single nanoseconds. Bucket numbers rise with the value without a gap:

    value          0 ... 2,047     2,048 ... 4,095     4,096 ... 8,191
    bucket         0 ... 2,047     2,048 ... 3,071     3,072 ... 4,095
    width                  1                   2                   4
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping

Counts = Mapping[int, int]
"""How many values fell into each bucket."""


def bucket(ns: int) -> int:
    """Bucket of a value; what is below zero counts as zero.

    A loop that cannot afford the call writes it out, for values that are not negative:
    `ns if ns < 2048 else ((s := ns.bit_length() - 11) << 10) + (ns >> s)`.
    """
    if ns < 2048:
        return max(ns, 0)
    shift = ns.bit_length() - 11
    return (shift << 10) + (ns >> shift)


def lower(number: int) -> int:
    """Smallest value of a bucket, ns."""
    if number < 2048:
        return number
    shift = (number >> 10) - 1
    return ((number & 1023) + 1024) << shift


def middle(number: int) -> float:
    """What stands for every value of a bucket, ns."""
    return (lower(number) + lower(number + 1) - 1) / 2


class Histogram:
    """Counts by bucket. `counts` is the whole state: plain, and fit for JSON and msgpack."""

    __slots__ = ("counts",)

    def __init__(self, counts: Counts | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    def record(self, ns: int) -> None:
        """Count one value."""
        if ns < 2048:
            number = max(ns, 0)
        else:
            shift = ns.bit_length() - 11
            number = (shift << 10) + (ns >> shift)
        counts = self.counts
        counts[number] = counts.get(number, 0) + 1

    def add(self, counts: Counts) -> None:
        """Add another histogram's counts; the order of merging does not matter."""
        mine = self.counts
        for number, count in counts.items():
            mine[number] = mine.get(number, 0) + count

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self.counts.values())

    def quantile(self, q: float) -> float:
        """The q-quantile in ns, interpolated between neighbouring values as for a sorted list.

        Hyndman and Fan's definition 7: position q (n - 1). Raises ValueError when there is no value.
        """
        return self.quantiles([q])[0]

    def quantiles(self, qs: Iterable[float]) -> list[float]:
        """Several quantiles for one sort; same order as `qs`. Raises ValueError when there is no value."""
        numbers = sorted(self.counts)
        if not numbers:
            raise ValueError("a histogram without values has no quantile")
        ends: list[int] = []  # values up to and with each bucket
        total = 0
        for number in numbers:
            total += self.counts[number]
            ends.append(total)
        return [_at(numbers, ends, q * (total - 1)) for q in qs]

    def mean(self) -> float:
        """Mean in ns. Raises ValueError when there is no value."""
        count = self.count
        if not count:
            raise ValueError("a histogram without values has no mean")
        return math.fsum(middle(number) * times for number, times in self.counts.items()) / count


def _at(numbers: list[int], ends: list[int], position: float) -> float:
    """Value at a position from 0, between two whole ones when it is not whole itself."""
    first = math.floor(position)
    low = middle(numbers[bisect_right(ends, first)])
    share = position - first
    if not share:
        return low
    return low + share * (middle(numbers[bisect_right(ends, first + 1)]) - low)
