"""What was predicted against what was measured: on the diagonal the simulator was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paceline.base.page.plane import Plane, latency_unit, tick_words
from paceline.base.page.scale import Linear, Log, decades, from_zero
from paceline.base.page.svg import drawing, hint, label, line, region, tag

BAND = 0.15
"""Relative error that is shaded on both sides of the diagonal."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One live run, in milliseconds; `unseen` where the simulator was not fitted to it."""

    predicted: float
    measured: float
    words: str
    low: float | None = None
    high: float | None = None
    unseen: bool = True


def against_measured(pairs: Sequence[Pair], width: float) -> str:
    """Both axes have the same scale. Empty without pairs."""
    if not pairs:
        return ""
    plane = Plane(46, 28, width - 16, 290)
    every = [value for pair in pairs for value in (pair.predicted, pair.measured)]
    x, y = _axes(every, plane)
    by, unit = latency_unit(y.high)
    log = " (log scale)" if isinstance(y, Log) else ""
    ticks = x.ticks(max(3, int(plane.width / 90)))
    inner = (
        plane.y_axis(y.ticks(), y.at, f"measured p95, {unit}{log}", by)
        + _diagonal(plane, x, y)
        + "".join(_run(pair, x, y) for pair in sorted(pairs, key=lambda pair: pair.unseen))
        + plane.x_axis([(x.at(tick), tick_words(tick / by)) for tick in ticks], f"predicted p95, {unit}{log}")
    )
    told = f"Predicted against measured p95 latency of {len(pairs)} live runs."
    return drawing(width, plane.bottom + 42, told, inner)


def _axes(values: Sequence[float], plane: Plane) -> tuple[Linear | Log, Linear | Log]:
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 12 * min(positive):
        return decades(values, plane.left, plane.right), decades(values, plane.bottom, plane.top)
    return from_zero(values, plane.left, plane.right), from_zero(values, plane.bottom, plane.top)


def _diagonal(plane: Plane, x: Linear | Log, y: Linear | Log) -> str:
    """The line of no error with its band, cut where it leaves the area."""
    low, high = max(x.low, x.high / 1000), x.high
    steps = [low * (high / low) ** (step / 40) for step in range(41)]
    upper = [(x.at(value), max(y.at(value * (1 + BAND)), plane.top)) for value in steps]
    lower = [(x.at(value), min(y.at(value * (1 - BAND)), plane.bottom)) for value in reversed(steps)]
    band = region([*upper, *lower], "near")
    words = label(
        f"within {BAND:.0%}".replace("%", " %"), plane.right - 6, plane.bottom - 10, anchor="end", kind="note"
    )
    return band + line(x.at(x.low), y.at(y.low), x.at(x.high), y.at(y.high), "diagonal") + words


def _run(pair: Pair, x: Linear | Log, y: Linear | Log) -> str:
    at, height = x.at(pair.predicted), y.at(pair.measured)
    whisker = ""
    if pair.low is not None and pair.high is not None:
        left, right = (min(max(x.at(end), x.start), x.end) for end in (pair.low, pair.high))
        whisker = line(left, height, right, height, "whisker")
    kind = "spot candidate" if not pair.unseen else "spot trial"
    return whisker + tag("circle", hint(pair.words), cx=at, cy=height, r=4.5, class_=kind)
