"""One measured quantity of two runs: what changed, how surely, and whether it matters.

A difference is B minus A; A is the baseline. It is `slower` or `faster` when its interval excludes 0 and the
difference is beyond the margin, `equivalent` when the whole interval lies within the margin, else `inconclusive`.
For rates and errors the words mean worse and better.
"""

from __future__ import annotations

from math import hypot
from statistics import NormalDist, fmean
from typing import Literal

import msgspec

from paceline.measure.report import Estimate
from paceline.measure.statistics.paired import Difference, paired, unpaired
from paceline.measure.statistics.quantile import quantile

Verdict = Literal["faster", "slower", "equivalent", "inconclusive"]
Method = Literal["paired", "unpaired", "intervals"]
"""How the interval was had; best first."""

Values = tuple[list[float], list[float]]
"""Of A and of B, in order of intended start; of one length when paired."""

_SEEN = 1 + NormalDist().inv_cdf(0.8) / NormalDist().inv_cdf(0.975)
"""A difference of so many half-widths of its interval is found four times of five."""


class Change(msgspec.Struct, frozen=True):
    """One measured quantity of both runs."""

    name: str
    label: str
    unit: str
    higher_is_better: bool
    a: float | None
    b: float | None
    difference: Estimate
    """B - A, in `unit`."""
    relative: Estimate
    """Of A's value: 0.05 is 5 % more."""
    detectable: float | None
    """Smallest difference, in `unit`, that these two runs would have shown four times of five."""
    margin: float
    """What makes no difference: a share of A's value, of errors points in `unit`."""
    method: Method
    decides: bool
    """Whether the verdict of the whole needs it; the others can only make it `slower`."""
    verdict: Verdict


class Quantity(msgspec.Struct, frozen=True):
    """What is compared."""

    name: str
    label: str
    unit: str
    decides: bool
    higher_is_better: bool = False
    in_points: bool = False
    """The margin is a difference in `unit`, not a share of A's value."""

    def sampled(self, values: Values, q: float | None, method: Method, margin: float) -> Change:
        """The q-quantile, or the mean without `q`, of the requests of both runs."""
        a, b = (fmean(side) if q is None else quantile(sorted(side), q) for side in values)
        found = paired(*values, q) if method == "paired" else unpaired(*values, q)
        return self._change(a, b, found, method, margin)

    def estimated(self, a: Estimate, b: Estimate, margin: float) -> Change:
        """Two independent values with their intervals.

        The interval of the difference is that of Zou and Donner (2008, "MOVER"), which keeps the skew of both.
        """
        return self._change(a.value, b.value, mover(a, b), "intervals", margin)

    def _change(
        self, a: float | None, b: float | None, found: Difference, method: Method, margin: float
    ) -> Change:
        difference = Estimate(found.value, found.low, found.high, found.reason)
        relative = Estimate(found.relative, found.relative_low, found.relative_high, found.reason)
        judged = difference if self.in_points else relative
        return Change(
            name=self.name,
            label=self.label,
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            a=a,
            b=b,
            difference=difference,
            relative=relative,
            detectable=found.detectable,
            margin=margin,
            method=method,
            decides=self.decides,
            verdict=judge(judged, margin, higher_is_better=self.higher_is_better),
        )


def judge(change: Estimate, margin: float, *, higher_is_better: bool = False) -> Verdict:
    """The verdict on one difference; `margin` in the same unit, or both shares."""
    value, low, high = change.value, change.low, change.high
    if value is None or low is None or high is None:
        return "inconclusive"
    if not low <= 0 <= high and abs(value) > margin:
        return "faster" if (value > 0) == higher_is_better else "slower"
    return "equivalent" if -margin <= low and high <= margin else "inconclusive"


def mover(a: Estimate, b: Estimate) -> Difference:
    """Of two independent values, each with its interval."""
    if a.value is None or b.value is None:
        return Difference(None, reason=a.reason or b.reason or "not measured in both runs")
    value = b.value - a.value
    relative = value / a.value if a.value else None
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Difference(value, relative=relative, reason=a.reason or b.reason or "no interval of both runs")
    low = value - hypot(b.value - b.low, a.high - a.value)
    high = value + hypot(b.high - b.value, a.value - a.low)
    return Difference(
        value,
        low,
        high,
        relative,
        relative_low=low / a.value if a.value else None,
        relative_high=high / a.value if a.value else None,
        detectable=_SEEN * (high - low) / 2,
    )
