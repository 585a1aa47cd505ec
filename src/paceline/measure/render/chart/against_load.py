"""Latency against load: where it bends, and the highest rate at which the objective still held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paceline.base.figures import chosen, estimate, latency, number, with_unit
from paceline.base.page.plane import NAME_PX, Plane, latency_scale, latency_unit, tick_words
from paceline.base.page.scale import Linear, Log, from_zero
from paceline.base.page.svg import drawing, hint, label, line, path, tag
from paceline.measure.report import Estimate


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One level of load (requests per second or users) and the latency under it, in milliseconds."""

    load: float
    value: float
    low: float | None = None
    high: float | None = None
    held: bool | None = None
    """None where no objective was asked."""


@dataclass(frozen=True, slots=True)
class LoadCurve:
    """What is drawn."""

    points: Sequence[LoadPoint]
    quantile: str
    """Which latency, `p95`."""
    unit: str
    """Of the load, `req/s`."""
    capacity: Estimate | None = None
    limit_ms: float | None = None


def against_load(curve: LoadCurve, width: float) -> str:
    """Levels in order of load; one that did not hold is a cross, so that colour is not needed."""
    points = sorted(curve.points, key=lambda point: point.load)
    plane = Plane(46, 44, width - 16, 290)
    most = max(3, int(plane.width / 80))
    x = from_zero([point.load for point in points], plane.left, plane.right, most)
    y = latency_scale([end for point in points for end in (point.value, point.high, curve.limit_ms)], plane)
    by, unit = latency_unit(y.high)
    title = f"{curve.quantile} latency, {unit}" + (" (log scale)" if isinstance(y, Log) else "")
    inner = (
        plane.y_axis(y.ticks(), y.at, title, by)
        + _capacity(plane, x, curve)
        + _limit(plane, y, curve.limit_ms)
        + path([(x.at(point.load), y.at(point.value)) for point in points], "line latency")
        + "".join(_level(x, y, point, curve.unit) for point in points)
        + plane.x_axis([(x.at(tick), tick_words(tick)) for tick in x.ticks(most)], curve.unit)
    )
    told = f"{curve.quantile} latency at {len(points)} levels of load"
    if curve.capacity is not None and curve.capacity.value is not None:
        told += f"; the capacity is {estimate(curve.capacity, curve.unit)}"
    return drawing(width, plane.bottom + 42, f"{told}.", inner)


def _level(x: Linear, y: Linear | Log, point: LoadPoint, unit: str) -> str:
    at, height = x.at(point.load), y.at(point.value)
    whisker = ""
    if point.low is not None and point.high is not None:
        whisker = line(at, y.at(point.low), at, y.at(point.high), "whisker")
    said = {True: ", held", False: ", did not hold", None: ""}[point.held]
    words = hint(f"{with_unit(number(point.load), unit)}: {latency(point.value)}{said}")
    if point.held is False:
        cross = f"M{at - 4.5:.1f},{height - 4.5:.1f}l9,9m0,-9l-9,9"
        return whisker + tag("path", words, d=cross, class_="cross")
    return whisker + tag("circle", words, cx=at, cy=height, r=4, class_="dot")


def _limit(plane: Plane, y: Linear | Log, limit_ms: float | None) -> str:
    if limit_ms is None or not y.low <= limit_ms <= y.high:
        return ""
    at = y.at(limit_ms)
    words = f"objective {chosen(limit_ms, 'ms')}"
    return line(plane.left, at, plane.right, at, "limit") + label(
        words, plane.left + 6, at - 6, kind="name limit-name"
    )


def _capacity(plane: Plane, x: Linear, curve: LoadCurve) -> str:
    found = curve.capacity
    if found is None or found.value is None:
        return ""
    drawn = ""
    if found.low is not None and found.high is not None:
        left, right = x.at(found.low), min(x.at(found.high), plane.right)
        height = plane.bottom - plane.top
        drawn = tag("rect", x=left, y=plane.top, width=right - left, height=height, class_="band capacity")
    at = x.at(found.value)
    words = f"capacity {estimate(found, curve.unit)}"
    half = len(words) * NAME_PX / 2
    middle = min(max(at, plane.left + half), plane.right - half)
    return (
        drawn
        + line(at, plane.top - 6, at, plane.bottom, "mark capacity")
        + label(words, middle, plane.top - 10, anchor="middle", kind="name capacity")
    )
