"""A run second by second, by a whole number of seconds so that there are at most 600 steps, or by parts of one.

Percentiles of a step are those of the good answers to requests that were due in it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from paceline.measure.analysis.distribution import typical, typical_of
from paceline.measure.records.histogram import Histogram
from paceline.measure.records.record import Columns, Second
from paceline.measure.report import Series

MOST_STEPS = 600
SHORT_STEPS = 50
"""A run of a few seconds is shown by the finest of `PARTS_S` that makes at most so many steps."""
PARTS_S = (0.02, 0.05, 0.1)


@dataclass(slots=True)
class Steps:
    """Counts by step; the last one may be shorter, or by half a step longer, than the others."""

    step_s: float
    end_s: float
    due: list[int] = field(init=False)
    done: list[int] = field(init=False)
    failed: list[int] = field(init=False)

    def __post_init__(self) -> None:
        number = max(1, math.floor(self.end_s / self.step_s + 0.5))
        self.due, self.done, self.failed = [0] * number, [0] * number, [0] * number

    def __len__(self) -> int:
        return len(self.due)

    def lengths(self) -> list[float]:
        """Seconds of each step."""
        last = self.end_s - (len(self) - 1) * self.step_s
        return [*[float(self.step_s)] * (len(self) - 1), max(last, 1e-3)]

    def report(self, in_flight: list[float], quantiles: Sequence[Sequence[float | None]]) -> Series:
        """`quantiles` has p50, p95 and p99 of each step, ms."""
        lengths = self.lengths()
        p50, p95, p99 = (list(column) for column in zip(*quantiles, strict=True))
        return Series(
            step_s=float(self.step_s),
            at_s=[round(step * self.step_s, 3) for step in range(len(self))],
            offered_per_s=[count / length for count, length in zip(self.due, lengths, strict=True)],
            done_per_s=[count / length for count, length in zip(self.done, lengths, strict=True)],
            failed_per_s=[count / length for count, length in zip(self.failed, lengths, strict=True)],
            in_flight=in_flight,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
        )


def step_of(end_s: float) -> int:
    """Whole seconds of a step."""
    return max(1, math.ceil(end_s / MOST_STEPS))


def part_of(end_s: float) -> float:
    """Seconds of a step where every request has its own row."""
    return next((part for part in PARTS_S if end_s <= part * SHORT_STEPS), float(step_of(end_s)))


def series_of_rows(columns: Columns, end_s: float, step_s: float | None = None) -> Series:
    """`end_s` includes the wait for the last answers, and None chooses the step. In flight is the step's mean of what is due and not answered."""
    steps = Steps(step_s or part_of(end_s), end_s)
    last = len(steps) - 1
    step_ns = round(steps.step_s * 1_000_000_000)
    values = [array("d") for _ in range(last + 1)]
    waited_ns = [0] * (last + 1)
    opened = [0] * (last + 2)  # how many requests begin, less those that end, to be in flight for whole steps
    for intended, ended, failure in zip(columns.intended_ns, columns.last_ns, columns.failure, strict=True):
        start = min(intended // step_ns, last)
        finish = max(start, min(ended // step_ns, last))
        steps.due[start] += 1
        if finish == start:
            waited_ns[start] += max(0, ended - intended)
        else:
            waited_ns[start] += (start + 1) * step_ns - intended
            waited_ns[finish] += ended - finish * step_ns
            opened[start + 1] += 1
            opened[finish] -= 1
        if failure:
            steps.failed[finish] += 1
        else:
            steps.done[finish] += 1
            values[start].append((ended - intended) / 1e6)
    in_flight = [
        through + waited / 1e9 / length
        for through, waited, length in zip(accumulate(opened), waited_ns, steps.lengths(), strict=False)
    ]
    return steps.report(in_flight, [typical(of_step) for of_step in values])


def series_of_seconds(seconds: Sequence[Second], end_s: float) -> Series:
    """Everything by the second in which it was due; in flight is rate times mean latency (Little 1961)."""
    span = max((second.span_s for second in seconds), default=1)
    steps = Steps(math.ceil(step_of(end_s) / span) * span, end_s)
    last = len(steps) - 1
    histograms = [Histogram() for _ in range(last + 1)]
    for second in seconds:
        step = min(int(second.at_s // steps.step_s), last)
        failed = sum(second.failed.values())
        steps.due[step] += second.done + failed
        steps.done[step] += second.done
        steps.failed[step] += failed
        histograms[step].add(second.latency)
    in_flight = [
        histogram.count * histogram.mean() / 1e9 / length if histogram.counts else 0.0
        for histogram, length in zip(histograms, steps.lengths(), strict=True)
    ]
    return steps.report(in_flight, [typical_of(histogram) for histogram in histograms])
