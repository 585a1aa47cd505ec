"""The report on a terminal, and as plain lines anywhere else: the verdict first, then what it rests on.

Piped, the same words stand one fact a line, without colour, boxes or line breaks, so that they can be searched.
A run that is INVALID shows no latency: it measured the generator.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TextIO

from paceline.base.figures import (
    NONE,
    against,
    clock,
    count,
    duration,
    estimate,
    interval,
    latency,
    level,
    measured,
    percent,
    rate,
    size,
)
from paceline.base.terminal import Facts, facts, print_sections, table, verdict
from paceline.measure.plan import ClosedLoop
from paceline.measure.render import wording
from paceline.measure.report import Distribution, Estimate, LoadReport, ServerSeries, Streaming, Trend

if TYPE_CHECKING:
    from rich.console import RenderableType

STEADY = {
    "steady": "steady",
    "rising": "not steady: latency was rising",
    "falling": "not steady: latency was falling",
    "unknown": "steady or not could not be told",
}

_table = partial(table, colours=wording.COLOURS)
_facts = partial(facts, colours=wording.COLOURS)


def show(
    report: LoadReport, *, stream: TextIO | None = None, files: Mapping[str, object] | None = None
) -> None:
    """Print the report; `files` are those that were written, by what they hold (`records`, `page`)."""
    print_sections(stream or sys.stdout, lambda width: _sections(report, files or {}, width))


def _sections(report: LoadReport, files: Mapping[str, object], width: int) -> Iterator[RenderableType]:
    valid = report.validity.state != "INVALID"
    word, because = wording.verdict(report)
    yield verdict(word, because, width, wording.COLOURS[word])
    yield _facts(_about(report), width)
    yield _facts(_key_figures(report) if valid else _counts(report), width)
    if report.slo:
        yield _slo_table(report)
    if len(report.stages) > 1:
        yield _stage_table(report)
    if valid and report.streaming:
        yield _streaming_table(report.streaming)
        yield _facts(_tokens(report.streaming), width)
    if valid and report.capacity:
        yield _probe_table(report)
    trends = [trend for trend in report.trends if valid or trend.unit != "ms"]
    if trends:
        yield _trend_table(trends)
    yield _facts(_circumstances(report, files), width)


def _about(report: LoadReport) -> Facts:
    plan = report.plan
    yield "run", f"{plan.name}, {report.made_at[:19]}Z, id {report.run_id}"
    model = f", model {plan.payload.model}" if plan.payload.model else ""
    yield (
        "target",
        f"{plan.target.url} ({plan.payload.task}{model}{', streamed' if plan.payload.stream else ''})",
    )
    yield "load", wording.load(plan.load)
    cut = f"{duration(report.warmup_s)} of warm-up cut" if report.warmup_s else "no warm-up cut"
    whole = duration(report.duration_s)
    yield (
        "measured",
        f"{duration(report.duration_s - report.warmup_s)} of {whole}, {cut}, {STEADY[report.steady]}",
    )
    if report.ended != "complete":
        yield "ended", f"{report.ended.replace('_', ' ')}: {report.ended_because}"
    yield "validity", report.validity.state
    for check in wording.doubts(report):
        yield "", f"{check.name.replace('_', ' ')}: {check.message}"


def _key_figures(report: LoadReport) -> Facts:
    yield "rate", estimate(report.done_per_s, "/s")
    if report.offered_per_s is not None:
        yield "offered", rate(report.offered_per_s)
    yield from _requests(report)
    if report.goodput_percent is not None:
        yield "goodput", f"{percent(report.goodput_percent)} of the requests within every latency objective"
    answers, worth = count(report.latency_ms.count), count(report.latency_ms.effective)
    named = {**report.latency_ms.quantiles, "mean": report.latency_ms.mean}
    reason = _shared_reason([*named.values()])
    known = f" worth {worth} independent ones" if report.latency_ms.effective else ""
    yield "latency", f"from the intended start, {answers} answers{known}"
    if reason:
        yield "", f"no intervals: {reason}"
    for name, found in named.items():
        yield f"  {name}", latency(found.value) if reason else estimate(found, "ms")
    yield "  max", latency(report.latency_ms.max)
    yield "service", f"from the actual start: {_brief(report.service_ms)}"


def _shared_reason(found: Sequence[Estimate]) -> str | None:
    """Why all of them have no interval, said once."""
    reasons = {each.reason for each in found}
    known = all(each.value is not None and each.low is None for each in found)
    return reasons.pop() if known and len(reasons) == 1 else None


def _counts(report: LoadReport) -> Facts:
    """What an invalid run may still say: what was counted, not what was timed."""
    yield from _requests(report)
    yield "latency", "not shown: the run is INVALID, its times are those of the load generator"


def _requests(report: LoadReport) -> Facts:
    share = f" ({percent(100 * report.failed / report.sent)})" if report.sent and report.failed else ""
    yield (
        "requests",
        f"{count(report.sent)} sent, {count(report.done)} good, {count(report.failed)} failed{share}",
    )
    if report.scheduled is not None and report.scheduled > report.sent:
        yield (
            "",
            f"{count(report.scheduled - report.sent)} of {count(report.scheduled)} scheduled were not sent",
        )
    if report.failures:
        yield "failures", _counted(report.failures)
    if set(report.statuses) - {"200"}:
        yield "statuses", _counted(report.statuses)
    yield "received", size(report.received_bytes)


def _circumstances(report: LoadReport, files: Mapping[str, object]) -> Facts:
    if report.server:
        yield "server", f"{report.server.source}: {_used(report.server)}"
    made_by = report.generator
    yield (
        "generator",
        ", ".join(
            (
                *_lag(report),
                f"CPU {percent(made_by.cpu_percent)} of a core",
                f"{made_by.workers} worker{'s' if made_by.workers > 1 else ''}",
                f"{count(made_by.connections)} connections",
                f"{made_by.timestamps} timestamps",
            )
        ),
    )
    host = report.host
    yield (
        "host",
        f"{host.hostname}, {host.cores} x {host.cpu}, {size(host.memory_bytes)}, {host.system}, paceline {report.paceline}",
    )
    near = [*filter(None, map(wording.undecided, report.slo))] if report.validity.state == "VALID" else []
    for number, note in enumerate((*near, *report.notes)):
        yield "" if number else "notes", note
    yield from ((what, str(where)) for what, where in files.items())


def _lag(report: LoadReport) -> Iterator[str]:
    """Users of a closed loop are never late."""
    made_by = report.generator
    if made_by.lag_p99_ms is not None:
        yield f"lag p50 {latency(made_by.lag_p50_ms)}"
        yield f"p99 {latency(made_by.lag_p99_ms)}"


def _slo_table(report: LoadReport) -> RenderableType:
    invalid = report.validity.state == "INVALID"
    rows = (
        (
            row.label,
            wording.bound(row, row.target),
            wording.bound(row, row.critical),
            NONE
            if invalid
            else against(row.value, row.low, row.high, _limit(row.state, row.target, row.critical), row.unit),
            wording.NOT_JUDGED if invalid else wording.state(row),
        )
        for row in report.slo
    )
    return _table(("objective", "target", "critical", "measured", "state"), rows, left=(0, 3, 4))


def _limit(state: str, target: float, critical: float) -> float:
    return critical if state == "critical" else target


def _stage_table(report: LoadReport) -> RenderableType:
    unit = " users" if isinstance(report.plan.load, ClosedLoop) else "/s"
    timed = ("p50", "p95", "p99") if report.validity.state != "INVALID" else ()
    rows = (
        (
            stage.name or f"stage {number}",
            f"{clock(stage.start_s)} - {clock(stage.end_s)}",
            f"{level(stage.level)}{unit}",
            rate(stage.done_per_s),
            count(stage.failed),
            *map(latency, (stage.p50_ms, stage.p95_ms, stage.p99_ms)[: len(timed)]),
        )
        for number, stage in enumerate(report.stages, 1)
    )
    return _table(("stage", "time", "level", "done", "failed", *timed), rows)


def _streaming_table(found: Streaming) -> RenderableType:
    timed = (
        ("time to first token", found.ttft_ms),
        ("time per output token", found.tpot_ms),
        ("between tokens", found.itl_ms),
    )
    rows = (
        (
            label,
            latency(times.mean.value),
            *(_quantile(times, name) for name in ("p50", "p95", "p99")),
        )
        for label, times in timed
    )
    return _table(("streaming", "mean", "p50", "p95", "p99"), rows)


def _tokens(found: Streaming) -> Facts:
    said = (
        "by the server's own usage"
        if found.completion_tokens is not None
        else "the server did not say its usage"
    )
    yield (
        "tokens",
        f"{count(found.completion_tokens)} generated, {count(found.prompt_tokens)} of prompts ({said})",
    )
    yield (
        "",
        f"{rate(found.completion_tokens_per_s)} generated; {count(found.token_events)} events with text counted here",
    )


def _probe_table(report: LoadReport) -> RenderableType:
    assert report.capacity is not None
    unit = next((unit for unit in (" ms", " %") if unit in report.capacity.objective), " ms").strip()
    rows = (
        (
            rate(probe.rate_per_s),
            rate(probe.done_per_s),
            NONE if probe.value is None else interval(probe.value, probe.low, probe.high, unit),
            "held" if probe.held else "not held",
            duration(probe.seconds),
        )
        for probe in report.capacity.probes
    )
    return _table(("offered", "done", report.capacity.objective, "objective", "for"), rows, left=(2, 3))


def _trend_table(trends: Sequence[Trend]) -> RenderableType:
    rows = (
        (trend.name, measured(trend.start, trend.unit), estimate(trend.per_hour, trend.unit), trend.state)
        for trend in trends
    )
    return _table(("trend", "at first", "change per hour", "state"), rows, left=(0, 2, 3))


def _brief(times: Distribution) -> str:
    return ", ".join(f"{name} {_quantile(times, name)}" for name in times.quantiles)


def _quantile(times: Distribution, name: str) -> str:
    found = times.quantiles.get(name)
    return latency(found.value if found else None)


def _counted(by_kind: Mapping[str, int]) -> str:
    return ", ".join(
        f"{kind} {count(many)}" for kind, many in sorted(by_kind.items(), key=lambda pair: -pair[1])
    )


def _used(server: ServerSeries) -> str:
    """The mean and the most of what was watched; nothing of what was not."""
    columns = (
        ("CPU", server.cpu_percent, "%"),
        ("memory", server.memory_bytes, "bytes"),
        ("open files", server.open_files, ""),
        ("queue", server.queue_depth, ""),
    )
    parts = []
    for name, values, unit in columns:
        known = [value for value in values if value is not None]
        if known:
            parts.append(
                f"{name} {measured(sum(known) / len(known), unit)} (most {measured(max(known), unit)})"
            )
    if server.hit_percent is not None:
        parts.append(f"cache hits {percent(server.hit_percent)}")
    return ", ".join(parts) or "said nothing"
