"""Turns what workers tell into the progress of the whole run."""

from __future__ import annotations

import time
from collections import deque

from paceline.base.slo import Objective
from paceline.measure import slo
from paceline.measure.engine.tally import News
from paceline.measure.failure import Failure
from paceline.measure.load.schedule import Schedule
from paceline.measure.progress import Progress
from paceline.measure.records.histogram import Histogram
from paceline.measure.report import Estimate

RECENT_S = 1.0
LEAST_FAILURES_JUDGED = 100


class Observer:
    """Feed it news, ask it for progress."""

    def __init__(self, schedule: Schedule, objectives: tuple[Objective, ...], start_ns: int) -> None:
        self._schedule = schedule
        self._objectives = objectives
        self._start_ns = start_ns
        self._newest: dict[int, News] = {}
        self._latencies = Histogram()
        self._recent: deque[tuple[float, list[int]]] = deque()
        self._totals: deque[tuple[float, int, int, int]] = deque([(0.0, 0, 0, 0)])
        """(elapsed, sent, done, tokens) of the last second, oldest first."""
        self._judged: deque[tuple[int, int]] = deque([(0, 0)])
        """(finished, failed) over the last hundred or so requests, oldest first."""
        self.note = ""

    def take(self, news: list[News]) -> None:
        """Count what was told."""
        elapsed_s = self.elapsed_s
        for told in news:
            self._newest[told.worker] = told
            for ns in told.latencies_ns:
                self._latencies.record(ns)
            self._recent.append((elapsed_s, told.latencies_ns))
        while self._recent and self._recent[0][0] < elapsed_s - RECENT_S:
            self._recent.popleft()
        workers = self._newest.values()
        tokens = sum(told.tokens for told in workers)
        self._totals.append((elapsed_s, self.sent, self.done, tokens))
        while len(self._totals) > 2 and self._totals[1][0] <= elapsed_s - RECENT_S:
            self._totals.popleft()
        finished = self.done + self.failed
        if finished > self._judged[-1][0]:
            self._judged.append((finished, self.failed))
        while len(self._judged) > 2 and self._judged[1][0] <= finished - LEAST_FAILURES_JUDGED:
            self._judged.popleft()

    @property
    def elapsed_s(self) -> float:
        """Since the start of the run, which lies a moment ahead when the workers are made."""
        return max(0.0, (time.monotonic_ns() - self._start_ns) / 1e9)

    @property
    def sent(self) -> int:
        """By all workers."""
        return sum(told.sent for told in self._newest.values())

    @property
    def done(self) -> int:
        """Good answers."""
        return sum(told.done for told in self._newest.values())

    @property
    def failed(self) -> int:
        """Requests without one."""
        return sum(told.failed for told in self._newest.values())

    def failed_percent(self) -> float | None:
        """Of the last hundred requests or more; None before there were so many."""
        (before, failed_before), (finished, failed) = self._judged[0], self._judged[-1]
        if finished - before < LEAST_FAILURES_JUDGED:
            return None
        return 100 * (failed - failed_before) / (finished - before)

    def progress(self) -> Progress:
        """What there is to show now."""
        elapsed_s = self.elapsed_s
        in_flight = sum(told.in_flight for told in self._newest.values())
        recent = sorted(ns for _, some in self._recent for ns in some)
        whole = self._latencies.quantiles([0.5, 0.95, 0.99]) if self._latencies.counts else [None] * 3
        (then_s, sent_before, done_before, tokens_before), (now_s, sent, done, tokens) = (
            self._totals[0],
            self._totals[-1],
        )
        span_s = max(now_s - then_s, 1e-3)
        lags = [told.lag_p99_ns for told in self._newest.values() if told.lag_p99_ns is not None]
        failures: dict[str, int] = {}
        for told in self._newest.values():
            for kind, count in told.failures.items():
                label = Failure(kind).label
                failures[label] = failures.get(label, 0) + count
        schedule = self._schedule
        scheduled = schedule.requests if schedule.users else len(schedule.at_ns)
        return Progress(
            phase=self._phase(elapsed_s),
            elapsed_s=elapsed_s,
            total_s=None if schedule.requests is not None else schedule.duration_ns / 1e9,
            scheduled=scheduled,
            sent=self.sent,
            done=self.done,
            failed=self.failed,
            in_flight=in_flight,
            offered_per_s=(sent - sent_before) / span_s,
            done_per_s=(done - done_before) / span_s,
            recent_p50_ms=_ms(recent, 0.5),
            recent_p95_ms=_ms(recent, 0.95),
            recent_p99_ms=_ms(recent, 0.99),
            p50_ms=_in_ms(whole[0]),
            p95_ms=_in_ms(whole[1]),
            p99_ms=_in_ms(whole[2]),
            failures=failures,
            lag_p99_ms=max(lags) / 1e6 if lags else None,
            tokens_per_s=(tokens - tokens_before) / span_s if tokens else None,
            slo=slo.judge(self._objectives, self._values(whole, done / max(elapsed_s, 1e-3))),
            note=self.note,
        )

    def _phase(self, elapsed_s: float) -> str:
        ends_ns = self._schedule.stage_ends_ns
        if elapsed_s * 1e9 > self._schedule.duration_ns or (
            self._newest and all(told.stopping for told in self._newest.values())
        ):
            return "drain"
        if len(ends_ns) < 2:
            return ""
        stage = next(
            (number for number, end in enumerate(ends_ns) if elapsed_s * 1e9 < end), len(ends_ns) - 1
        )
        return self._schedule.stage_names[stage]

    def _values(self, whole: list[float] | list[None], rate_per_s: float) -> dict[str, Estimate]:
        values = {
            name: Estimate(ns / 1e6)
            for name, ns in zip(("p50_ms", "p95_ms", "p99_ms"), whole, strict=True)
            if ns is not None
        }
        finished = self.done + self.failed
        if finished:
            values["error_percent"] = Estimate(100 * self.failed / finished)
        values["rate_per_s"] = Estimate(rate_per_s)
        return values


def _ms(ordered_ns: list[int], q: float) -> float | None:
    return ordered_ns[min(len(ordered_ns) - 1, int(q * len(ordered_ns)))] / 1e6 if ordered_ns else None


def _in_ms(ns: float | None) -> float | None:
    return None if ns is None else ns / 1e6
