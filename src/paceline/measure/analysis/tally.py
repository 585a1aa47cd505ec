"""What a run counted, before it is judged: the same figures whether it kept every row or only histograms by second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from paceline.measure.plan import ClosedLoop, Load, OpenLoop, Plan
from paceline.measure.records.record import RunFile
from paceline.measure.report import Distribution, Estimate, Series, StageResult, Streaming

Ended = Literal["complete", "interrupted", "stopped", "time_limit", "broken_off"]
Steady = Literal["steady", "rising", "falling", "unknown"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of the whole run, warm-up included."""

    sent: int
    done: int
    failures: dict[str, int]
    statuses: dict[str, int]
    received_bytes: int

    @property
    def failed(self) -> int:
        """Of every kind, requests that were never sent included."""
        return sum(self.failures.values())

    @property
    def error_percent(self) -> float | None:
        """Of the requests that came to an end."""
        ended = self.done + self.failed
        return 100 * self.failed / ended if ended else None


@dataclass(frozen=True, slots=True)
class Pace:
    """How many requests left in what time, beside what the schedule asked for. Spans are first to last, seconds."""

    due: int
    due_span_s: float
    sent: int
    sent_span_s: float

    @property
    def off_percent(self) -> float:
        """By how much the sending rate differs from the schedule's."""
        if self.due < 2:
            return 0.0
        if self.sent < 2:
            return 100.0
        share = (self.sent - 1) / (self.due - 1)
        stretch = self.sent_span_s / self.due_span_s if self.due_span_s and self.sent_span_s else 1.0
        return 100 * abs(share / stretch - 1)


@dataclass(frozen=True, slots=True)
class Tally:
    """Latencies and rates are of the measured part, which begins at `warmup_s` and ends at `end_s`."""

    totals: Totals
    warmup_s: float
    end_s: float
    steady: Steady
    latency: Distribution
    service: Distribution
    done_per_s: Estimate
    offered_per_s: float | None
    goodput_percent: float | None
    hit_percent: float | None
    tokens_per_s: float | None
    pace: Pace | None
    """Of an open loop or a trace."""
    series: Series
    stages: list[StageResult]
    streaming: Streaming | None
    notes: list[str] = field(default_factory=list)


def is_open(load: Load) -> bool:
    """Whether requests leave by the clock."""
    return not isinstance(load, ClosedLoop)


def is_constant(plan: Plan) -> bool:
    """Whether the load stays at one level from beginning to end; that of a trace is not known to."""
    load = plan.load
    if not isinstance(load, OpenLoop | ClosedLoop):
        return False
    return len({level for stage in load.stages for level in (stage.first, stage.target)}) == 1


def end_of(run: RunFile, last_event_s: float, ended: Ended) -> float:
    """When the measured part ends, seconds: with the schedule, or with the last event of a run that ended before.

    A closed loop that counts its requests ends with the last answer.
    """
    load, planned = run.header.plan.load, run.header.duration_s
    counts = isinstance(load, ClosedLoop) and load.requests is not None
    if ended == "complete" and not counts and planned > 0:
        return planned
    return min(planned, last_event_s) if planned > 0 else last_event_s
