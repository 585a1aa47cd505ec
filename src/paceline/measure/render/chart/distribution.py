"""How latencies are distributed: a histogram on a log axis with the percentiles marked."""

from __future__ import annotations

from paceline.base.figures import estimate, latency, percent
from paceline.base.page.plane import DIGIT_PX, NAME_PX, Plane, latency_unit, tick_words
from paceline.base.page.scale import Log, from_zero
from paceline.base.page.svg import drawing, hint, label, line, number, tag
from paceline.measure.report import Distribution, Estimate

AXIS = "share of answers, %"
MARKED = ("p50", "p95", "p99")


def edges(told: Distribution) -> list[tuple[float, float, int]]:
    """Lower edge, upper edge and count of every bin; the first begins at the smallest latency."""
    bins = [(upper, count) for upper, count in told.histogram if upper > 0]
    if not bins:
        return []
    ratio = bins[1][0] / bins[0][0] if len(bins) > 1 else 1.1
    first = bins[0][0] / ratio
    lower = [told.min if told.min and told.min < bins[0][0] else first, *(upper for upper, _ in bins)]
    return [(low, high, count) for low, (high, count) in zip(lower, bins, strict=False)]


def histogram(told: Distribution, width: float) -> str:
    """Share of the answers in each bin; empty bins at both ends are left out."""
    bins = edges(told)
    filled = [index for index, (_, _, count) in enumerate(bins) if count]
    if not filled:
        return ""
    bins = bins[filled[0] : filled[-1] + 1]
    plane = Plane(46, 58, width - 12, 270)
    x = Log(bins[0][0] * 0.995, bins[-1][1] * 1.005, plane.left, plane.right)
    total = sum(count for _, _, count in bins)
    y = from_zero([100 * count / total for _, _, count in bins], plane.bottom, plane.top)
    by, unit = latency_unit(told.quantiles["p99"].value or x.high if "p99" in told.quantiles else x.high)
    bars = "".join(
        tag(
            "path",
            hint(
                f"{latency(low)} to {latency(high)}: {percent(100 * count / total)} of the answers",
            ),
            d=_bar(x.at(low), x.at(high), y.at(100 * count / total), plane.bottom),
            class_="bar",
        )
        for low, high, count in bins
        if count
    )
    ticks = [(x.at(tick), tick_words(tick / by)) for tick in x.ticks(max(4, int(plane.width / 60)))]
    inner = (
        plane.y_axis(y.ticks(5), y.at, AXIS)
        + bars
        + _marks(plane, x, told)
        + plane.x_axis(ticks, f"latency, {unit} (log scale)")
    )
    said = ", ".join(f"{name} {latency(told.quantiles[name].value)}" for name in _named(told))
    return drawing(width, plane.bottom + 42, f"Histogram of {total} latencies: {said}.", inner)


def _bar(left: float, right: float, top: float, bottom: float) -> str:
    thin = 0.5 if right - left > 3 else 0.0
    return f"M{number(left + thin)},{number(bottom)}V{number(top)}H{number(right - thin)}V{number(bottom)}Z"


def _named(told: Distribution) -> list[str]:
    return [name for name in MARKED if name in told.quantiles and told.quantiles[name].value is not None]


def _marks(plane: Plane, x: Log, told: Distribution) -> str:
    """A line for each percentile, its interval as a band, its name above; names that would touch go up a line."""
    # The title of the axis stands at the left beside the two lower rows.
    title = len(AXIS) * DIGIT_PX
    drawn, free = [], [title, title, -1e9]
    for name in _named(told):
        found = told.quantiles[name]
        at = x.at(found.value or 0)
        words = f"{name} {latency(found.value)}"
        half = len(words) * NAME_PX / 2
        middle = min(max(at, plane.left + half), plane.right - half)
        row = next((row for row, end in enumerate(free) if middle - half >= end), len(free) - 1)
        free[row] = middle + half + 8
        drawn.append(_band(plane, x, found, name))
        drawn.append(line(at, plane.top - 2, at, plane.bottom, f"mark {name}"))
        drawn.append(label(words, middle, plane.top - 6 - 15 * row, anchor="middle", kind=f"name {name}"))
    return "".join(drawn)


def _band(plane: Plane, x: Log, found: Estimate, name: str) -> str:
    if found.low is None or found.high is None:
        return ""
    left, right = max(x.at(found.low), plane.left), min(x.at(found.high), plane.right)
    words = hint(f"{name}: {estimate(found, 'ms')}")
    return tag(
        "rect",
        words,
        x=left,
        y=plane.top,
        width=right - left,
        height=plane.bottom - plane.top,
        class_=f"band {name}",
    )
