"""The figures of a run that kept a row for every request."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from paceline.base.goodput import Limits
from paceline.measure.analysis.distribution import NOT_CONSTANT, distribution
from paceline.measure.analysis.series import series_of_rows
from paceline.measure.analysis.stages import stages_of_rows
from paceline.measure.analysis.streaming import streaming_of_rows, streams, tokens_per_s
from paceline.measure.analysis.tally import Ended, Pace, Tally, Totals, end_of, is_constant, is_open
from paceline.measure.failure import Failure
from paceline.measure.plan import Plan
from paceline.measure.records.histogram import Histogram
from paceline.measure.records.record import Columns, RunFile, Tier
from paceline.measure.report import Estimate
from paceline.measure.statistics.interval import LEVEL, rate_interval
from paceline.measure.statistics.sequential import stopping_level
from paceline.measure.statistics.trend import trend
from paceline.measure.statistics.warmup import mser5

_FEWEST_WINDOWS = 30
_MOST_WINDOWS = 960


@dataclass(frozen=True, slots=True)
class Good:
    """The good answers in order of intended start, whole run."""

    intended_ns: array[int]
    latency_ms: array[float]
    service_ms: array[float]


def tally_rows(run: RunFile, ended: Ended, limits: Limits) -> Tally:
    """Count, cut the warm-up, and describe the rest."""
    header, columns = run.header, run.columns
    plan, constant, opened = header.plan, is_constant(header.plan), is_open(header.plan.load)
    last_event_s = max(max(columns.last_ns, default=0), max(columns.sent_ns, default=0)) / 1e9
    end_s = end_of(run, last_event_s, ended)
    good = _good(columns)
    warmup_ns = _warmup(plan, good, constant=constant)
    cut = bisect_left(good.intended_ns, warmup_ns)
    latency, service = good.latency_ms[cut:], good.service_ms[cut:]
    end_ns = round(end_s * 1e9)
    # Who stops because an interval is narrow has looked several times, and one look by luck must not count.
    level = stopping_level() if plan.stopping.precision is not None else LEVEL
    rate = tokens_per_s(run, warmup_ns, end_ns)
    return Tally(
        totals=_totals(columns),
        warmup_s=warmup_ns / 1e9,
        end_s=end_s,
        steady=trend(latency) if constant and latency else "unknown",
        latency=distribution(latency, constant=constant, level=level),
        service=distribution(service, constant=constant),
        done_per_s=_done_per_s(columns, warmup_ns, end_ns, constant=constant),
        offered_per_s=_offered_per_s(columns, warmup_ns, end_ns) if opened else None,
        goodput_percent=_goodput(run, warmup_ns, latency, limits),
        hit_percent=_hit_percent(columns, warmup_ns),
        tokens_per_s=rate,
        pace=_pace(run, ended) if opened else None,
        series=series_of_rows(columns, max(end_s, last_event_s)),
        stages=stages_of_rows(header, columns, warmup_ns, end_s),
        streaming=streaming_of_rows(run, warmup_ns, rate, constant=constant),
    )


def _good(columns: Columns) -> Good:
    intended, latency, service = array("q"), array("d"), array("d")
    for due, sent, last, failure in zip(
        columns.intended_ns, columns.sent_ns, columns.last_ns, columns.failure, strict=True
    ):
        if not failure:
            intended.append(due)
            latency.append((last - due) / 1e6)
            service.append((last - sent) / 1e6)
    return Good(intended, latency, service)


def _warmup(plan: Plan, good: Good, *, constant: bool) -> int:
    """When the measured part begins, ns: as asked, or where MSER-5 finds the level reached."""
    if plan.warmup_s is not None:
        return round(plan.warmup_s * 1e9)
    cut = mser5(good.latency_ms) if constant else 0
    return good.intended_ns[cut] if cut else 0


def _totals(columns: Columns) -> Totals:
    failures = Counter(columns.failure)
    done = failures.pop(Failure.NONE, 0)
    statuses = Counter(columns.status)
    return Totals(
        sent=len(columns) - failures.get(Failure.UNSENT, 0),
        done=done,
        failures={Failure(number).label: count for number, count in sorted(failures.items())},
        statuses={str(status): count for status, count in sorted(statuses.items()) if status > 0},
        received_bytes=sum(size for size in columns.received_bytes if size > 0),
    )


def _done_per_s(columns: Columns, start_ns: int, end_ns: int, *, constant: bool) -> Estimate:
    """Good answers that came in the measured part, whenever they were asked for."""
    length_s = (end_ns - start_ns) / 1e9
    if length_s <= 0:
        return Estimate(reason="the run has no measured part")
    number = min(max(_FEWEST_WINDOWS, int(length_s)), _MOST_WINDOWS)
    windows = [0] * number
    width_ns = (end_ns - start_ns) / number
    for last, failure in zip(columns.last_ns, columns.failure, strict=True):
        if not failure and start_ns <= last < end_ns:
            windows[min(int((last - start_ns) / width_ns), number - 1)] += 1
    # The last answer itself ends a run that counts its requests.
    windows[-1] += sum(
        1
        for last, failure in zip(columns.last_ns, columns.failure, strict=True)
        if last == end_ns and not failure
    )
    if not constant:
        return Estimate(sum(windows) / length_s, reason=NOT_CONSTANT)
    interval = rate_interval(windows, width_ns / 1e9)
    return Estimate(interval.value, interval.low, interval.high, interval.reason)


def _offered_per_s(columns: Columns, start_ns: int, end_ns: int) -> float | None:
    due = bisect_left(columns.intended_ns, end_ns) - bisect_left(columns.intended_ns, start_ns)
    return due * 1e9 / (end_ns - start_ns) if end_ns > start_ns else None


def _goodput(run: RunFile, warmup_ns: int, latency: Sequence[float], limits: Limits) -> float | None:
    """Percent of all measured requests, failures included; None when no objective limits a single request."""
    columns = run.columns
    asked = len(columns) - bisect_left(columns.intended_ns, warmup_ns)
    if not asked or limits == Limits():
        return None
    ceiling = float("inf") if limits.latency is None else limits.latency
    kept = sum(map(ceiling.__ge__, latency))
    if limits.streams_only:
        kept -= sum(
            not stream.within(limits)
            for stream in streams(run, warmup_ns)
            if (columns.last_ns[stream.position] - columns.intended_ns[stream.position]) / 1e6 <= ceiling
        )
    return 100 * kept / asked


def _hit_percent(columns: Columns, warmup_ns: int) -> float | None:
    """Of the good measured answers; None unless all tell their cache tier, for some servers tell only of hits."""
    first = bisect_left(columns.intended_ns, warmup_ns)
    tiers = Counter(
        tier
        for tier, failure in zip(columns.tier[first:], columns.failure[first:], strict=True)
        if not failure
    )
    if not tiers or tiers[Tier.UNKNOWN]:
        return None
    return 100 * tiers[Tier.HIT] / (tiers[Tier.HIT] + tiers[Tier.MISS])


def _pace(run: RunFile, ended: Ended) -> Pace:
    """Of a whole run against the schedule; of one that ended early against what its rows say was due.

    A refused connection is an attempt made in time, though nothing went out on it.
    """
    columns = run.columns
    scheduled = run.header.scheduled
    first_due, last_due, first_sent, last_sent = -1, -1, -1, -1
    for due, sent in zip(columns.intended_ns, columns.sent_ns, strict=True):
        if sent >= 0:
            last_due, last_sent = due, max(last_sent, sent)
            if first_due < 0:
                first_due, first_sent = due, sent
    return Pace(
        due=scheduled if ended == "complete" and scheduled is not None else len(columns),
        due_span_s=(last_due - first_due) / 1e9,
        sent=len(columns) - columns.failure.count(Failure.UNSENT),
        sent_span_s=(last_sent - first_sent) / 1e9,
    )


def lag_of(columns: Columns) -> Histogram | None:
    """How much later than intended the requests left, ns; None when none did."""
    lag = Histogram()
    for due, sent in zip(columns.intended_ns, columns.sent_ns, strict=True):
        if sent >= 0:
            lag.record(sent - due)
    return lag if lag.counts else None
