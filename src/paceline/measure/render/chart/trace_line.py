"""One quantity over time, small, with the straight line that Theil and Sen put through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paceline.base.figures import number
from paceline.base.page.plane import Plane
from paceline.base.page.scale import Linear, around
from paceline.base.page.svg import drawing, line, path
from paceline.measure.render.chart.thin import known_means


@dataclass(frozen=True, slots=True)
class Trace:
    """A quantity over time; labels are divided by `by`."""

    title: str
    """Above the axis: the unit, or what is counted."""
    at_s: Sequence[float]
    values: Sequence[float | None]
    by: float = 1.0
    slope_per_s: float | None = None


def trace_line(trace: Trace, width: float) -> str:
    """Chart of the quantity; the line of the slope runs through the medians. Empty when nothing is known."""
    points = known_means(trace.at_s, trace.values, max(40, int(width / 1.5)))
    if not points:
        return ""
    points = [(at, value / trace.by) for at, value in points]
    plane = Plane(46, 28, width - 12, 150)
    y = around([value for _, value in points], plane.bottom, plane.top)
    x = Linear(min(0.0, points[0][0]), max(points[-1][0], points[0][0] + 1.0), plane.left, plane.right)
    drawn = path([(x.at(at), y.at(value)) for at, value in points], "line trace")
    slope = "" if trace.slope_per_s is None else _slope(points, x, y, trace.slope_per_s / trace.by)
    inner = plane.y_axis(y.ticks(4), y.at, trace.title) + drawn + slope + plane.time_axis(x)
    told = f"{trace.title} over {x.high:.0f} seconds, from {number(points[0][1])} to {number(points[-1][1])}."
    return drawing(width, plane.bottom + 42, told, inner)


def _slope(points: Sequence[tuple[float, float]], x: Linear, y: Linear, per_s: float) -> str:
    middle_at = sorted(at for at, _ in points)[len(points) // 2]
    middle = sorted(value for _, value in points)[len(points) // 2]
    first, last = points[0][0], points[-1][0]
    low, high = (middle + per_s * (at - middle_at) for at in (first, last))
    return line(x.at(first), y.at(low), x.at(last), y.at(high), "slope")
