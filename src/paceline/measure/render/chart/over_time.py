"""What happened when: percentiles above, rates and failures below, over one axis of time."""

from __future__ import annotations

from collections.abc import Sequence

from paceline.base.page.plane import DIGIT_PX, Plane, latency_scale, latency_unit, spread
from paceline.base.page.scale import Linear, Log, from_zero
from paceline.base.page.svg import Point, drawing, label, line, path, tag
from paceline.measure.render.chart.thin import thinned
from paceline.measure.report import Series, StageResult

LEFT, RIGHT, TOP, GAP, FOOT = 46, 40, 28, 46, 42


def over_time(series: Series, width: float, *, warmup_s: float, stages: Sequence[StageResult]) -> str:
    """Chart `width` pixels wide; at most one point for 1.5 pixels."""
    drawn = thinned(series, max(60, int(width / 1.5)))
    high, low = (230, 92) if width > 500 else (180, 76)
    end = max([series.at_s[-1] + series.step_s, *(stage.end_s for stage in stages)])
    upper = Plane(LEFT, TOP, width - RIGHT, TOP + high)
    lower = Plane(LEFT, upper.bottom + GAP, upper.right, upper.bottom + GAP + low)
    x = Linear(0.0, end, upper.left, upper.right)
    inner = (
        _warmup(upper, lower, x, min(warmup_s, end))
        + _latencies(upper, x, drawn)
        + _stages(upper, lower, x, stages)
        + _rates(lower, x, drawn)
        + lower.time_axis(x)
    )
    told = f"Latency percentiles, rates and failures over the {end:.0f} seconds of the run."
    return drawing(
        width,
        lower.bottom + FOOT,
        told,
        inner,
        data_left=x.start,
        data_right=x.end,
        data_end=end,
        data_top=upper.top,
        data_bottom=lower.bottom,
    )


def _latencies(plane: Plane, x: Linear, series: Series) -> str:
    lines = {"p50": series.p50_ms, "p95": series.p95_ms, "p99": series.p99_ms}
    every = [value for values in lines.values() for value in values]
    y = latency_scale(every, plane)
    by, unit = latency_unit(y.high)
    title = f"latency, {unit}" + (" (log scale)" if isinstance(y, Log) else "")
    strokes = "".join(path(_points(x, y, series, values), f"line {name}") for name, values in lines.items())
    return plane.y_axis(y.ticks(), y.at, title, by) + strokes + _ends(plane, y, lines)


def _ends(plane: Plane, y: Linear | Log, lines: dict[str, list[float | None]]) -> str:
    """The names of the lines at their right ends."""
    last = {
        name: next((value for value in reversed(values) if value is not None), None)
        for name, values in lines.items()
    }
    named = [(name, y.at(value)) for name, value in last.items() if value is not None]
    places = spread([at for _, at in named], 14, plane.top, plane.bottom)
    return "".join(
        label(name, plane.right + 7, at + 4, kind=f"name {name}")
        for (name, _), at in zip(named, places, strict=True)
    )


def _rates(plane: Plane, x: Linear, series: Series) -> str:
    y = from_zero([*series.offered_per_s, *series.done_per_s], plane.bottom, plane.top, most=3)
    bars = "".join(
        tag(
            "path",
            d=f"M{x.at(at + series.step_s / 2):.1f},{plane.bottom}V{min(y.at(failed), plane.bottom - 5):.1f}",
            class_="failed",
        )
        for at, failed in zip(series.at_s, series.failed_per_s, strict=True)
        if failed > 0
    )
    named = [("offered", series.offered_per_s), ("done", series.done_per_s)]
    return (
        plane.y_axis(y.ticks(3), y.at, "req/s")
        + bars
        + "".join(path(_points(x, y, series, values), f"line {name}") for name, values in named)
        + _key(plane)
    )


def _key(plane: Plane) -> str:
    """Which line is which, right-aligned beside the title: offered and done lie on each other in a good run."""
    x, drawn = plane.right, []
    for name in ("failed", "done", "offered"):
        x -= len(name) * DIGIT_PX
        drawn.append(label(name, x, plane.top - 12, kind="axis"))
        drawn.append(line(x - 22, plane.top - 16, x - 6, plane.top - 16, f"line {name}"))
        x -= 34
    return "".join(drawn)


def _warmup(upper: Plane, lower: Plane, x: Linear, warmup_s: float) -> str:
    if warmup_s <= 0:
        return ""
    wide = x.at(warmup_s) - x.start
    room = wide - 12
    words = next(
        (words for words in ("warm-up, not counted", "warm-up", "cut") if len(words) * DIGIT_PX <= room), ""
    )
    drawn = "".join(
        tag("rect", x=x.start, y=plane.top, width=wide, height=plane.bottom - plane.top, class_="cut")
        for plane in (upper, lower)
    )
    return drawn + label(words, x.start + 6, upper.bottom - 8, kind="note") if words else drawn


def _stages(upper: Plane, lower: Plane, x: Linear, stages: Sequence[StageResult]) -> str:
    """A dashed line where a stage begins, its name where there is room."""
    if len(stages) < 2:
        return ""
    drawn = []
    for stage in stages:
        left, right = x.at(stage.start_s), x.at(stage.end_s)
        if stage.start_s > 0:
            drawn.append(line(left, upper.top, left, lower.bottom, "stage"))
        if stage.name and right - left > len(stage.name) * DIGIT_PX + 10:
            drawn.append(label(stage.name, left + 6, upper.top + 13, kind="note"))
    return "".join(drawn)


def _points(x: Linear, y: Linear | Log, series: Series, values: Sequence[float | None]) -> list[Point | None]:
    middle = series.step_s / 2
    return [
        None if value is None else (x.at(at + middle), y.at(value))
        for at, value in zip(series.at_s, values, strict=True)
    ]
