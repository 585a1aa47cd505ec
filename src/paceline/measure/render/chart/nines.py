"""The percentile curve: every further nine is equally wide, so the tail is seen and not only its edge."""

from __future__ import annotations

from collections.abc import Sequence

from paceline.base.figures import estimate, latency
from paceline.base.page.plane import DIGIT_PX, Plane, latency_scale, latency_unit, spread
from paceline.base.page.scale import Linear, Log, Nines
from paceline.base.page.svg import drawing, hint, label, line, path, tag
from paceline.measure.render.chart.distribution import edges
from paceline.measure.report import Distribution

ENOUGH = 10
"""Independent samples beyond a percentile without which the curve shows single requests."""


def nines(told: Distribution, width: float, service: Distribution | None = None) -> str:
    """Latency at every share of the answers; the part that rests on single requests is dashed."""
    curve = cumulative(told)
    if len(curve) < 2:
        return ""
    plane = Plane(46, 58, width - 14, 270)
    x = Nines(1 - 0.5 / max(told.count, 10), plane.left, plane.right)
    other = cumulative(service) if service is not None else []
    y = latency_scale([value for _, value in [*curve, *other]], plane, _middle(told))
    by, unit = latency_unit(told.quantiles["p99"].value or y.high if "p99" in told.quantiles else y.high)
    known = 1 - ENOUGH / max(told.effective, 2 * ENOUGH)
    marks = [(x.at(tick), f"{100 * tick:.7g}") for tick in x.ticks()]
    inner = (
        plane.y_axis(y.ticks(), y.at, f"latency, {unit}" + (" (log scale)" if isinstance(y, Log) else ""), by)
        + _line(x, y, other, "service")
        + _line(x, y, [point for point in curve if point[0] <= known], "latency")
        + _line(x, y, _after(curve, known), "latency few")
        + _points(plane, x, y, told)
        + plane.x_axis(marks, "percent of answers at most as slow")
    )
    last = ", ".join(f"{name} {latency(each.value)}" for name, each in told.quantiles.items())
    return drawing(width, plane.bottom + 42, f"Latency at every percentile: {last}.", inner)


def cumulative(told: Distribution) -> list[tuple[float, float]]:
    """(share of the answers, latency they did not exceed), from the histogram's bins."""
    bins = edges(told)
    total = sum(count for _, _, count in bins)
    if not total:
        return []
    so_far, curve = 0, [(0.0, bins[0][0])]
    for _, upper, count in bins:
        so_far += count
        if count:
            curve.append((so_far / total, min(upper, told.max or upper)))
    return curve


def _middle(told: Distribution) -> float | None:
    return told.quantiles["p50"].value if "p50" in told.quantiles else None


def _after(curve: Sequence[tuple[float, float]], known: float) -> list[tuple[float, float]]:
    """What lies beyond the share `known`, with the last point before it so that the lines meet."""
    before = sum(share <= known for share, _ in curve)
    return list(curve[max(0, before - 1) :])


def _line(x: Nines, y: Linear | Log, curve: Sequence[tuple[float, float]], kind: str) -> str:
    return path([(x.at(share), y.at(latency)) for share, latency in curve], f"line {kind}")


def _points(plane: Plane, x: Nines, y: Linear | Log, told: Distribution) -> str:
    """The percentiles as dots with their intervals, named to the upper left where the curve has not been, or to the lower right."""
    shown = [
        (name, float(name[1:]) / 100, each.value)
        for name, each in told.quantiles.items()
        if each.value is not None and float(name[1:]) / 100 <= x.high
    ]
    heights = spread([y.at(value) - 9 for _, _, value in shown], 14, plane.top, plane.bottom)
    drawn = []
    for (name, share, value), height in zip(shown, heights, strict=True):
        each, at = told.quantiles[name], x.at(share)
        if each.low is not None and each.high is not None:
            drawn.append(line(at, y.at(each.low), at, y.at(each.high), "whisker"))
        words = hint(f"{name}: {estimate(each, 'ms')}")
        drawn.append(tag("circle", words, cx=at, cy=y.at(value), r=3.5, class_="dot"))
        if at - 7 - len(name) * DIGIT_PX > plane.left:
            drawn.append(label(name, at - 7, height, anchor="end", kind="label"))
        else:
            drawn.append(label(name, at + 6, y.at(value) + 15, kind="label"))
    return "".join(drawn)
