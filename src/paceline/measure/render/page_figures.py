"""The charts of a report, each with a caption that says what to look at."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from paceline.base.figures import estimate
from paceline.base.page.figure import HALF, WIDE, figure
from paceline.base.page.marks import section
from paceline.base.page.svg import tag
from paceline.measure.plan import ClosedLoop
from paceline.measure.render.chart.against_load import LoadCurve, LoadPoint, against_load
from paceline.measure.render.chart.distribution import histogram
from paceline.measure.render.chart.nines import nines
from paceline.measure.render.chart.over_time import over_time
from paceline.measure.render.chart.thin import thinned
from paceline.measure.render.chart.trace_line import Trace, trace_line
from paceline.measure.report import Capacity, LoadReport, Series, StageResult, Trend

HOVER_POINTS = 720

_LIMIT_MS = re.compile(r"<=?\s*([\d.]+)\s*ms")
_QUANTILE = re.compile(r"p[\d.]+")


def charts(report: LoadReport) -> str:
    """Every chart for which the report has numbers."""
    return "".join(
        (
            section("Latency against load", _load(report)),
            section("Over time", _time(report)),
            section("Latency", tag("div", _histogram(report), _nines(report), class_="pair")),
            section("The server meanwhile", _grid(_server(report))),
        )
    )


def _time(report: LoadReport) -> str:
    series = report.series
    if not series.at_s:
        return ""
    step = thinned(series, HOVER_POINTS).step_s
    told = "Percentiles of each second" if step == 1 else f"Percentiles of each {step:g} seconds"
    if step > series.step_s:
        told = f"The worst percentile within {step:g} seconds"
    told += ", and the requests offered, answered and failed. A rate that falls below what was offered is a server that does not keep up."
    return figure(
        "Latency, rate and failures",
        told,
        lambda width: over_time(series, width, warmup_s=report.warmup_s, stages=report.stages),
        WIDE,
        _hover(series),
    )


def _hover(series: Series) -> str:
    """What the crosshair says, as JSON that cannot end the element it stands in: numbers and our own names."""
    shown = thinned(series, HOVER_POINTS)
    rows: list[tuple[str, str, Sequence[float | None]]] = [
        ("p99", "ms", shown.p99_ms),
        ("p95", "ms", shown.p95_ms),
        ("p50", "ms", shown.p50_ms),
        ("offered", "/s", shown.offered_per_s),
        ("done", "/s", shown.done_per_s),
        ("failed", "/s", shown.failed_per_s),
    ]
    return json.dumps(
        {
            "at": [_short(at + shown.step_s / 2) for at in shown.at_s],
            "rows": [[name, unit, [_short(value) for value in values]] for name, unit, values in rows],
        },
        separators=(",", ":"),
    )


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _histogram(report: LoadReport) -> str:
    told = "How many answers took how long. A second hump is a second kind of request, or a queue; bands are 95 % intervals."
    return figure("Distribution", told, lambda width: histogram(report.latency_ms, width), HALF)


def _nines(report: LoadReport) -> str:
    told = (
        "Each further nine is as wide as the one before. Grey is the time from the actual send: where it is lower, "
        "requests waited before they could leave. Dashed rests on fewer than 10 independent answers."
    )
    return figure(
        "Percentile curve", told, lambda width: nines(report.latency_ms, width, report.service_ms), HALF
    )


def _load(report: LoadReport) -> str:
    curve = _capacity_curve(report.capacity) if report.capacity else _stage_curve(report)
    if curve is None:
        return ""
    told = "Every level of the load and the latency under it."
    if report.capacity:
        told = "Every rate that was tried: a dot held the objective, a cross did not. The band is the interval of the capacity."
    return figure("Where it bends", told, lambda width: against_load(curve, width), WIDE)


def _capacity_curve(found: Capacity) -> LoadCurve | None:
    points = [
        LoadPoint(probe.rate_per_s, probe.value, probe.low, probe.high, probe.held)
        for probe in found.probes
        if probe.value is not None
    ]
    limit, quantile = _LIMIT_MS.search(found.objective), _QUANTILE.search(found.objective)
    if not points or not limit:
        return None
    return LoadCurve(points, quantile[0] if quantile else "", "req/s", found.rate_per_s, float(limit[1]))


def _stage_curve(report: LoadReport) -> LoadCurve | None:
    users = isinstance(report.plan.load, ClosedLoop)

    def load(stage: StageResult) -> float:
        return stage.level if users else stage.done_per_s

    points = [LoadPoint(load(stage), stage.p95_ms) for stage in report.stages if stage.p95_ms is not None]
    if len({stage.level for stage in report.stages}) < 3 or len(points) < 3:
        return None
    return LoadCurve(points, "p95", "users" if users else "req/s")


def _server(report: LoadReport) -> list[str]:
    """The trends, then what else the server told of itself."""
    drawings = [_trend(trend) for trend in report.trends]
    used = report.server
    if used is None:
        return drawings
    covered = [trend.name.lower() for trend in report.trends]
    others: tuple[tuple[str, tuple[str, ...], str, list[float | None]], ...] = (
        ("CPU", ("cpu",), "%", used.cpu_percent),
        ("Memory", ("memory", "rss"), "bytes", used.memory_bytes),
        ("Open files", ("file", "descriptor"), "files", used.open_files),
        ("Queue depth", ("queue",), "jobs", used.queue_depth),
    )
    for title, words, unit, values in others:
        if any(word in name for name in covered for word in words):
            continue
        by, shown = _scaled(values, unit)
        trace = Trace(shown, used.at_s, values, by)
        drawings.append(figure(title, "", lambda width, trace=trace: trace_line(trace, width), HALF))  # type: ignore[misc]
    return drawings


def _trend(trend: Trend) -> str:
    by, unit = _scaled(trend.values, trend.unit)
    slope = trend.per_hour.value
    trace = Trace(unit or trend.name, trend.at_s, trend.values, by, None if slope is None else slope / 3600)
    change = f"{estimate(trend.per_hour, trend.unit)} per hour"
    title = trend.name.replace("_", " ")
    return figure(
        f"{title[:1].upper()}{title[1:]}: {trend.state}",
        change,
        lambda width: trace_line(trace, width),
        HALF,
    )


def _scaled(values: Sequence[float | None], unit: str) -> tuple[float, str]:
    """Bytes in the unit of the largest, all else as it is."""
    if unit != "bytes":
        return 1.0, unit
    largest = max((value for value in values if value is not None), default=0.0)
    return (1e9, "GB") if largest >= 10e9 else (1e6, "MB")


def _grid(drawings: Sequence[str]) -> str:
    """Three in a row where that leaves no hole, else two."""
    filled = [each for each in drawings if each]
    kind = "triple" if len(filled) % 3 == 0 else "pair"
    return tag("div", *filled, class_=f"small {kind}") if filled else ""
