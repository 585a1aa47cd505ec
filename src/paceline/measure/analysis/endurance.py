"""What should not grow over hours: resident memory, open files, p99. A slope with its interval for each.

A trend is `growing` when its interval leaves out zero and the growth over the run matters, `flat` when even the
interval's ends would not matter, and `inconclusive` otherwise: noise is neither a leak nor the absence of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from paceline.measure.records.record import ServerSample
from paceline.measure.report import Estimate, Series, Trend
from paceline.measure.statistics.theil_sen import MOST_POINTS, theil_sen, thin

LEAST_S = 60.0
"""Shorter stretches show the server filling its caches, not a leak."""
MEMORY_SHARE = 0.02
P99_SHARE = 0.05
FILES = 1.0
"""One descriptor more or less is a connection that happened to be open."""


def trends(
    samples: Sequence[ServerSample], series: Series, start_s: float = 0.0, end_s: float = float("inf")
) -> list[Trend]:
    """Of what was seen from `start_s` to `end_s`; a quantity that nobody told of has no trend."""
    inside = [sample for sample in samples if start_s <= sample.at_s <= end_s]
    memory = [
        (sample.at_s, sample.memory_bytes / 1e6) for sample in inside if sample.memory_bytes is not None
    ]
    files = [(sample.at_s, sample.open_files) for sample in inside if sample.open_files is not None]
    p99 = [
        (at + series.step_s / 2, value)
        for at, value in zip(series.at_s, series.p99_ms, strict=True)
        if value is not None and at >= start_s and at + series.step_s <= end_s + 1e-9
    ]
    return [
        _trend(name, unit, points, matters)
        for name, unit, points, matters in (
            ("resident memory", "MB", memory, lambda start: MEMORY_SHARE * start),
            ("open files", "files", files, lambda _: FILES),
            ("p99 latency", "ms", p99, lambda start: P99_SHARE * start),
        )
        if points
    ]


def _trend(
    name: str, unit: str, points: Sequence[tuple[float, float]], matters: Callable[[float], float]
) -> Trend:
    at_s, values = [at for at, _ in points], [value for _, value in points]
    span_s = at_s[-1] - at_s[0]
    slope = theil_sen(at_s, values)
    shown_at, shown = thin(at_s, values, MOST_POINTS)
    if slope.per_s is None or slope.low is None or slope.high is None:
        return Trend(name, unit, Estimate(reason=slope.reason), None, "inconclusive", shown_at, shown)
    too_short = f"{span_s:.0f} s, a trend needs {LEAST_S:g} s or more" if span_s < LEAST_S else None
    per_hour = Estimate(slope.per_s * 3600, slope.low * 3600, slope.high * 3600, too_short)
    least = matters(abs(slope.start or 0.0))
    growth, low, high = (rate * span_s for rate in (slope.per_s, slope.low, slope.high))
    state: Literal["flat", "growing", "shrinking", "inconclusive"]
    if too_short:
        state = "inconclusive"
    elif low > 0 and growth > least:
        state = "growing"
    elif high < 0 and -growth > least:
        state = "shrinking"
    elif (low > 0 or high < 0) or max(-low, high) <= least:
        state = "flat"
    else:
        state = "inconclusive"
    return Trend(name, unit, per_hour, slope.start, state, shown_at, shown)
