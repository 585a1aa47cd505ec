"""From a records file to the report: count, judge whether it can be believed, judge the objectives, say it in words."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import msgspec

from paceline.base.goodput import limits
from paceline.base.slo import Objective
from paceline.measure.analysis.distribution import NOT_CONSTANT, QUANTILES, withheld
from paceline.measure.analysis.endurance import LEAST_S, trends
from paceline.measure.analysis.notes import notes
from paceline.measure.analysis.row_tally import lag_of, tally_rows
from paceline.measure.analysis.second_tally import tally_seconds
from paceline.measure.analysis.server_series import server_series, server_values
from paceline.measure.analysis.tally import Ended, Tally, is_constant, is_open
from paceline.measure.analysis.validity import Asked, Evidence, first_problem, validity
from paceline.measure.plan import Plan
from paceline.measure.records.histogram import Histogram
from paceline.measure.records.record import RunFile
from paceline.measure.report import (
    Capacity,
    Distribution,
    Estimate,
    Generator,
    LoadReport,
    ServerSeries,
    StageResult,
    Streaming,
    Trend,
)
from paceline.measure.slo import judge, objectives, slo_state

_QUANTILE = re.compile(r"(?:(ttft|tpot|itl)_)?(p[\d.]+)_ms")
_WITHOUT_THRESHOLDS = ("p95_ms",)
"""Of the default objectives the one that a run must have enough samples for."""


def summarise(run: RunFile, *, capacity: Capacity | None = None) -> LoadReport:
    """Measure and judge a run, whole or broken off. `capacity` is what a saturation search found beside it."""
    header, plan = run.header, run.header.plan
    goals = objectives(plan.thresholds)
    ended, because = _ended(run)
    tally = _with_unsent(_tally(run, ended, goals), run)
    lag = _lag(run)
    judged = validity(_evidence(run, tally, goals, lag))
    server = server_series(run.server, tally.hit_percent)
    said = notes(run, tally, lag)
    if judged.state == "INVALID":
        tally = _without_numbers(tally, f"run is invalid: {first_problem(judged)}")
    rows = judge(goals, _values(tally, server, plan))
    return LoadReport(
        run_id=header.run_id,
        made_at=header.made_at,
        paceline=header.paceline,
        host=header.host,
        plan=plan,
        ended=ended,
        ended_because=because,
        duration_s=tally.end_s,
        warmup_s=tally.warmup_s,
        steady=tally.steady,
        scheduled=header.scheduled,
        sent=tally.totals.sent,
        done=tally.totals.done,
        failed=tally.totals.failed,
        failures=tally.totals.failures,
        statuses=tally.totals.statuses,
        offered_per_s=tally.offered_per_s,
        done_per_s=tally.done_per_s,
        received_bytes=tally.totals.received_bytes,
        latency_ms=tally.latency,
        service_ms=tally.service,
        goodput_percent=tally.goodput_percent,
        validity=judged,
        slo=rows,
        slo_state=slo_state(rows, asked=bool(plan.thresholds)),
        generator=_generator(run, lag),
        stages=tally.stages,
        series=tally.series,
        streaming=tally.streaming,
        server=server,
        capacity=capacity,
        trends=_trends(run, tally),
        notes=said,
    )


def _ended(run: RunFile) -> tuple[Ended, str]:
    """A worker without a last word was killed, and with it the run."""
    workers = run.header.plan.workers
    if len(run.ends) < workers:
        missing = workers - len(run.ends)
        because = f"{missing} of {workers} workers left no last word: the generator was killed"
        return "broken_off", f"{because}; {run.torn}" if run.torn else because
    order: tuple[Ended, ...] = ("broken_off", "interrupted", "time_limit", "stopped")
    for ended in order:
        for end in run.ends:
            if end.ended == ended:
                return ended, end.ended_because
    return "complete", next((end.ended_because for end in run.ends if end.ended_because), "")


def _tally(run: RunFile, ended: Ended, goals: tuple[Objective, ...]) -> Tally:
    return (tally_seconds if run.seconds else tally_rows)(run, ended, limits(goals))


def _with_unsent(tally: Tally, run: RunFile) -> Tally:
    """Requests that were still waiting for a connection at the end have no row; their worker counted them."""
    failures = tally.totals.failures
    unsent = max(failures.get("unsent", 0), sum(end.unsent for end in run.ends))
    if not unsent:
        return tally
    return replace(tally, totals=replace(tally.totals, failures={**failures, "unsent": unsent}))


def _lag(run: RunFile) -> Histogram | None:
    """As the workers counted it; of a run that was broken off, as its rows tell."""
    if not is_open(run.header.plan.load):
        return None
    lag = Histogram()
    if len(run.ends) == run.header.plan.workers:
        for end in run.ends:
            lag.add(end.lag)
    return lag if lag.counts else lag_of(run.columns)


def _evidence(run: RunFile, tally: Tally, goals: tuple[Objective, ...], lag: Histogram | None) -> Evidence:
    plan, streaming = run.header.plan, tally.streaming
    asked = {
        goal.name: found
        for goal in goals
        if (plan.thresholds or goal.name in _WITHOUT_THRESHOLDS) and (found := _asked(goal.name, tally))
    }
    if plan.stopping.precision is not None:
        name = f"p{100 * plan.stopping.quantile:.6g}_ms"
        asked |= {name: found} if (found := _asked(name, tally)) else {}
    return Evidence(
        latency=tally.latency,
        steady=tally.steady,
        constant=is_constant(plan),
        open_loop=is_open(plan.load),
        failures=tally.totals.failures,
        lag=lag,
        pace=tally.pace,
        cpu_percent=max((end.cpu_percent for end in run.ends), default=None),
        lag_limit_ms=plan.lag_limit_ms,
        max_connections=plan.max_connections // plan.workers * plan.workers,
        connections=sum(end.connections for end in run.ends),
        asked=asked,
        usage_tokens=streaming.completion_tokens if streaming else None,
        token_events=streaming.token_events if streaming else 0,
        gaps_asked=any(goal.name.startswith("itl_") for goal in goals),
    )


def _asked(name: str, tally: Tally) -> Asked | None:
    """The quantile that an objective of this name is about; None when it is about something else."""
    match = _QUANTILE.fullmatch(name)
    if match is None or match[2] not in QUANTILES:
        return None
    quantity, quantile = match[1], match[2]
    if quantity is None:
        of = tally.latency
    elif tally.streaming is None:
        return None
    else:
        of = _of_stream(tally.streaming, quantity)
    return Asked(of.quantiles[quantile], QUANTILES[quantile], of.count)


def _of_stream(streaming: Streaming, quantity: str) -> Distribution:
    return {"ttft": streaming.ttft_ms, "tpot": streaming.tpot_ms, "itl": streaming.itl_ms}[quantity]


def _without_numbers(tally: Tally, reason: str) -> Tally:
    """An invalid run keeps its counts, histograms and series; nothing that could be quoted."""
    streaming = tally.streaming
    return replace(
        tally,
        latency=withheld(tally.latency, reason),
        service=withheld(tally.service, reason),
        done_per_s=Estimate(reason=reason),
        goodput_percent=None,
        tokens_per_s=None,
        stages=[_without_quantiles(stage) for stage in tally.stages],
        streaming=streaming
        and msgspec.structs.replace(
            streaming,
            ttft_ms=withheld(streaming.ttft_ms, reason),
            tpot_ms=withheld(streaming.tpot_ms, reason),
            itl_ms=withheld(streaming.itl_ms, reason),
            completion_tokens_per_s=None,
        ),
    )


def _without_quantiles(stage: StageResult) -> StageResult:
    return msgspec.structs.replace(stage, p50_ms=None, p95_ms=None, p99_ms=None)


def _values(tally: Tally, server: ServerSeries | None, plan: Plan) -> dict[str, Estimate]:
    """Everything an objective can be about, by name."""
    values = _of_distribution("", tally.latency)
    if tally.streaming is not None:
        for quantity in ("ttft", "tpot", "itl"):
            values |= _of_distribution(f"{quantity}_", _of_stream(tally.streaming, quantity))
    if server is not None:
        values |= server_values(server, tally.warmup_s, tally.end_s)
    hits = values.pop("hit_percent", Estimate(tally.hit_percent))
    if not plan.thresholds and plan.made_up:
        hits = msgspec.structs.replace(
            hits, reason="the texts were made up: how often yours repeat is not known"
        )
    rate = tally.done_per_s
    return {
        "rate_per_s": Estimate(rate.value, rate.low, rate.high),
        "hit_percent": hits,
        "error_percent": Estimate(tally.totals.error_percent),
        "goodput_percent": Estimate(tally.goodput_percent),
        "tokens_per_s": Estimate(tally.tokens_per_s),
        **values,
    }


def _of_distribution(prefix: str, of: Distribution) -> dict[str, Estimate]:
    """A quantile without enough samples behind it has a reason, and is shown but not judged."""
    return {
        **{f"{prefix}{name}_ms": _judgeable(estimate) for name, estimate in of.quantiles.items()},
        f"{prefix}mean_ms": _judgeable(of.mean),
        f"{prefix}max_ms": Estimate(of.max),
    }


def _judgeable(estimate: Estimate) -> Estimate:
    """Of a load that changes there is no interval to be had, and the value is the whole of it."""
    return Estimate(estimate.value) if estimate.reason == NOT_CONSTANT else estimate


def _generator(run: RunFile, lag: Histogram | None) -> Generator:
    p50, p99 = (value / 1e6 for value in lag.quantiles((0.5, 0.99))) if lag else (None, None)
    stamps: Literal["kernel", "user"] = (
        "kernel" if run.ends and all(end.timestamps == "kernel" for end in run.ends) else "user"
    )
    return Generator(
        workers=run.header.plan.workers,
        cpu_percent=max((end.cpu_percent for end in run.ends), default=None),
        lag_p50_ms=p50,
        lag_p99_ms=p99,
        connections=sum(end.connections for end in run.ends),
        timestamps=stamps,
    )


def _trends(run: RunFile, tally: Tally) -> list[Trend]:
    if tally.end_s - tally.warmup_s < LEAST_S:
        return []
    return trends(run.server, tally.series, tally.warmup_s, tally.end_s)
