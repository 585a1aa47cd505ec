"""The figures of a run that kept histograms by second instead of rows."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import groupby

from paceline.base.goodput import Limits
from paceline.measure.analysis.distribution import NOT_CONSTANT, from_stretches
from paceline.measure.analysis.series import series_of_seconds
from paceline.measure.analysis.stages import stages_of_seconds
from paceline.measure.analysis.streaming import streaming_of_seconds
from paceline.measure.analysis.tally import Ended, Pace, Tally, Totals, end_of, is_constant, is_open
from paceline.measure.failure import Failure
from paceline.measure.plan import Plan
from paceline.measure.records.histogram import Counts, Histogram, middle
from paceline.measure.records.record import RunFile, Second
from paceline.measure.report import Estimate
from paceline.measure.statistics.interval import rate_interval
from paceline.measure.statistics.trend import trend
from paceline.measure.statistics.warmup import mser5


def tally_seconds(run: RunFile, ended: Ended, limits: Limits) -> Tally:
    """Count, cut the warm-up, and describe the rest; everything by the second in which a request was due."""
    header, seconds = run.header, run.seconds
    plan, constant, opened = header.plan, is_constant(header.plan), is_open(header.plan.load)
    last_event_s = float(max((second.at_s + second.span_s for second in seconds), default=0))
    end_s = end_of(run, last_event_s, ended)
    warmup_s = _warmup(plan, seconds, constant=constant)
    measured = [second for second in seconds if second.at_s >= warmup_s]
    length_s = end_s - warmup_s
    latency = from_stretches([second.latency for second in measured], constant=constant)
    means = _means(measured)
    asked = sum(second.done + sum(second.failed.values()) for second in measured)
    tokens = _tokens(plan, measured)
    rate = tokens / length_s if tokens and length_s > 0 else None
    hits, misses = sum(second.hits for second in measured), sum(second.misses for second in measured)
    done = sum(second.done for second in measured)
    totals = _totals(seconds)
    due = totals.done + totals.failed
    return Tally(
        totals=totals,
        warmup_s=warmup_s,
        end_s=end_s,
        steady=trend(means) if constant and means else "unknown",
        latency=latency,
        service=from_stretches([second.service for second in measured], constant=constant),
        done_per_s=_done_per_s(measured, length_s, constant=constant),
        offered_per_s=asked / length_s if opened and length_s > 0 else None,
        goodput_percent=_goodput(measured, asked, limits),
        hit_percent=100 * hits / done if done and hits + misses == done else None,
        tokens_per_s=rate,
        pace=Pace(
            header.scheduled if ended == "complete" and header.scheduled is not None else due,
            0.0,
            totals.sent,
            0.0,
        )
        if opened
        else None,
        series=series_of_seconds(seconds, max(end_s, last_event_s)),
        stages=stages_of_seconds(header, seconds, warmup_s, end_s),
        streaming=streaming_of_seconds(measured, rate, constant=constant),
        notes=["Percentiles come from histograms by second; each is within 0.05 % of the sorted values'."],
    )


def _warmup(plan: Plan, seconds: list[Second], *, constant: bool) -> float:
    """As asked, or where MSER-5 finds the level of the seconds' mean latencies reached."""
    if plan.warmup_s is not None:
        return plan.warmup_s
    if not constant:
        return 0.0
    filled = [second for second in seconds if second.latency]
    cut = mser5(_means(filled))
    return float(filled[cut].at_s) if cut else 0.0


def _means(seconds: list[Second]) -> list[float]:
    """Mean latency of each second that has good answers, ms."""
    return [Histogram(second.latency).mean() / 1e6 for second in seconds if second.latency]


def _totals(seconds: list[Second]) -> Totals:
    failures: Counter[int] = Counter()
    statuses: Counter[int] = Counter()
    for second in seconds:
        failures.update(second.failed)
        statuses.update(second.statuses)
    return Totals(
        sent=sum(second.sent for second in seconds),
        done=sum(second.done for second in seconds),
        failures={Failure(number).label: count for number, count in sorted(failures.items())},
        statuses={str(status): count for status, count in sorted(statuses.items()) if status > 0},
        received_bytes=sum(second.received_bytes for second in seconds),
    )


def _done_per_s(seconds: list[Second], length_s: float, *, constant: bool) -> Estimate:
    """By the second in which the answered requests were due; a second's stages are one."""
    if length_s <= 0 or not seconds:
        return Estimate(reason="the run has no measured part")
    value = sum(second.done for second in seconds) / length_s
    if not constant:
        return Estimate(value, reason=NOT_CONSTANT)
    span = seconds[0].span_s
    windows = {
        at: sum(second.done for second in group) for at, group in groupby(seconds, lambda one: one.at_s)
    }
    last = seconds[-1].at_s
    counts = [windows.get(at, 0) for at in range(seconds[0].at_s, last + 1, span)]
    interval = rate_interval(counts[: max(1, int(length_s // span))], span)
    if interval.low is None or interval.high is None:
        return Estimate(value, reason=interval.reason)
    half = (interval.high - interval.low) / 2
    return Estimate(value, max(0.0, value - half), value + half, interval.reason)


def _goodput(seconds: list[Second], asked: int, limits: Limits) -> float | None:
    """Of histograms a limit on one quantity can be counted, but not two limits on the same request."""
    latency, ttft = limits.latency, limits.ttft
    if not asked or limits.tpot is not None or limits.itl is not None or (latency is None) == (ttft is None):
        return None
    whole = Histogram()
    for second in seconds:
        whole.add(second.latency if ttft is None else second.ttft)
    return 100 * _within(whole.counts, latency if ttft is None else ttft) / asked


def _within(counts: Counts, limit_ms: float | None) -> int:
    numbers = sorted(counts)
    reached = bisect_left(numbers, True, key=lambda number: middle(number) > (limit_ms or 0.0) * 1e6)
    return sum(counts[number] for number in numbers[:reached])


def _tokens(plan: Plan, seconds: list[Second]) -> int:
    """Of embeddings those of the inputs; else those written, by the server's usage or as events."""
    if plan.payload.task == "embeddings":
        return sum(second.prompt_tokens for second in seconds)
    return sum(second.completion_tokens or second.token_events for second in seconds)
