"""Latency against cost of every simulated setting: what one buys of the other, and where the winner stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paceline.base.figures import chosen, count
from paceline.base.page.plane import NAME_PX, Plane, latency_scale, latency_unit, spread, tick_words
from paceline.base.page.scale import Linear, Log, around, decades
from paceline.base.page.svg import Point, drawing, hint, label, line, path, tag

Kind = Literal["plain", "candidate", "baseline", "winner"]

MOST_MARKS = 600
"""Marks of plain settings; more stand for their neighbours too, so that thousands fit on a page."""
SATURATED_PX = 16
"""Height of the row above the area where the saturated stand, which have no latency."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One simulated setting; `p95_ms` is None where it is saturated."""

    cost_ms: float
    p95_ms: float | None
    words: str
    meets: bool = True
    kind: Kind = "plain"


def front(spots: Sequence[Spot]) -> list[Spot]:
    """Those that no other beats in both latency and cost, the cheapest first."""
    kept: list[Spot] = []
    known = [spot for spot in spots if spot.p95_ms is not None]
    for spot in sorted(known, key=lambda spot: (spot.cost_ms, spot.p95_ms)):
        if not kept or (spot.p95_ms or 0) < (kept[-1].p95_ms or 0):
            kept.append(spot)
    return kept


def pareto(spots: Sequence[Spot], limit_ms: float | None, width: float) -> str:
    """`limit_ms` is the target of the objective. Empty where no setting has both numbers."""
    known = [spot for spot in spots if spot.p95_ms is not None]
    full = [spot for spot in spots if spot.p95_ms is None]
    if not known:
        return ""
    top = 28 + (SATURATED_PX + 8 if full else 0)
    plane = Plane(46, top, width - 16, top + (340 if width > 500 else 270))
    x = _costs([spot.cost_ms for spot in spots], plane)
    shown = [spot.p95_ms for spot in known]
    y = latency_scale([*shown, limit_ms if _in_reach(limit_ms, shown) else None], plane)
    by, unit = latency_unit(y.high)
    title = f"p95 latency, {unit}" + (" (log scale)" if isinstance(y, Log) else "")
    ticks = [(x.at(tick), tick_words(tick)) for tick in x.ticks(max(3, int(plane.width / 80)))]
    cost = "engine time per request, ms" + (" (log scale)" if isinstance(x, Log) else "")
    inner = (
        plane.y_axis(y.ticks(), y.at, "", by)
        + label(title, 0, 16, kind="axis")
        + (_saturated(full, plane, x) if full else "")
        + _limit(plane, y, limit_ms)
        + _plain([spot for spot in known if spot.kind == "plain"], x, y)
        + path(_steps(front(known), x, y), "front")
        + _named([spot for spot in known if spot.kind != "plain"], plane, x, y)
        + plane.x_axis(ticks, cost)
    )
    told = f"p95 latency against cost of {count(len(known))} settings, {count(len(full))} more are saturated."
    return drawing(width, plane.bottom + 42, told, inner)


def _in_reach(limit_ms: float | None, shown: Sequence[float | None]) -> bool:
    """Whether the target fits into the chart without pressing everything else into a corner."""
    return limit_ms is not None and limit_ms <= 1.5 * max(value for value in shown if value is not None)


def _costs(costs: Sequence[float], plane: Plane) -> Linear | Log:
    positive = [cost for cost in costs if cost > 0]
    if positive and max(positive) > 12 * min(positive):
        return decades(positive, plane.left, plane.right)
    return around(costs, plane.left + 8, plane.right - 8, most=8)


def _saturated(spots: Sequence[Spot], plane: Plane, x: Linear | Log) -> str:
    """A stroke for each at its cost; those that would cover each other are one."""
    top, bottom = plane.top - SATURATED_PX - 8, plane.top - 8
    strokes = {round(x.at(spot.cost_ms)): spot for spot in spots}
    row = tag("rect", x=plane.left, y=top, width=plane.width, height=SATURATED_PX, class_="cut")
    drawn = "".join(
        tag("path", hint(spot.words), d=f"M{at},{top + 3}V{bottom - 3}", class_="full")
        for at, spot in strokes.items()
    )
    words = f"{count(len(spots))} saturated"
    return row + drawn + label(words, plane.right, top - 6, anchor="end", kind="note")


def _limit(plane: Plane, y: Linear | Log, limit_ms: float | None) -> str:
    if limit_ms is None or not y.low <= limit_ms <= y.high:
        return ""
    at = y.at(limit_ms)
    words = label(
        f"target {chosen(limit_ms, 'ms')}", plane.right - 4, at - 6, anchor="end", kind="name limit-name"
    )
    return line(plane.left, at, plane.right, at, "limit") + words


def _plain(spots: Sequence[Spot], x: Linear | Log, y: Linear | Log) -> str:
    """A dot for each, or for all in a square of a few pixels: then its hint says how many there are."""
    side = 4.0
    squares = _squares(spots, side, x, y)
    while len(squares) > MOST_MARKS:
        side *= 1.3
        squares = _squares(spots, side, x, y)
    drawn = []
    for inside in squares.values():
        best = min(inside, key=lambda spot: spot.p95_ms or 0.0)
        more = f" (and {len(inside) - 1} beside it)" if len(inside) > 1 else ""
        kind = "spot" if best.meets else "spot misses"
        at = (x.at(best.cost_ms), y.at(best.p95_ms or 0.0))
        drawn.append(tag("circle", hint(best.words + more), cx=at[0], cy=at[1], r=2.6, class_=kind))
    return "".join(drawn)


def _squares(
    spots: Sequence[Spot], side: float, x: Linear | Log, y: Linear | Log
) -> dict[tuple[int, int], list[Spot]]:
    squares: dict[tuple[int, int], list[Spot]] = {}
    for spot in spots:
        place = (int(x.at(spot.cost_ms) / side), int(y.at(spot.p95_ms or 0.0) / side))
        squares.setdefault(place, []).append(spot)
    return squares


def _steps(spots: Sequence[Spot], x: Linear | Log, y: Linear | Log) -> list[Point]:
    """Level up to the next cost that buys less latency, then down."""
    points: list[Point] = []
    for spot in spots:
        at, height = x.at(spot.cost_ms), y.at(spot.p95_ms or 0.0)
        if points:
            points.append((at, points[-1][1]))
        points.append((at, height))
    return points


def _named(spots: Sequence[Spot], plane: Plane, x: Linear | Log, y: Linear | Log) -> str:
    """Rings for candidates, a diamond for the baseline, a full dot for the winner; the last two with their names."""
    order: tuple[Kind, ...] = ("candidate", "baseline", "winner")
    placed = [
        (spot, x.at(spot.cost_ms), y.at(spot.p95_ms or 0.0))
        for spot in sorted(spots, key=lambda spot: order.index(spot.kind))
    ]
    marks = "".join(_mark(spot, at, height) for spot, at, height in placed)
    lettered = [(spot, at, height) for spot, at, height in placed if spot.kind != "candidate"]
    heights = spread([height for _, _, height in lettered], 15, plane.top + 8, plane.bottom - 4)
    words = "".join(
        _name(spot, at, height, plane) for (spot, at, _), height in zip(lettered, heights, strict=True)
    )
    return marks + words


def _mark(spot: Spot, at: float, height: float) -> str:
    said = hint(f"{spot.kind}: {spot.words}")
    if spot.kind == "baseline":
        return tag("path", said, d=f"M{at:.1f},{height - 7:.1f}l7,7l-7,7l-7,-7Z", class_="spot baseline")
    return tag(
        "circle", said, cx=at, cy=height, r=6 if spot.kind == "winner" else 5, class_=f"spot {spot.kind}"
    )


def _name(spot: Spot, at: float, height: float, plane: Plane) -> str:
    left = at + 12 + len(spot.kind) * NAME_PX > plane.right
    side = -12 if left else 12
    kind = f"name halo {spot.kind}"
    return label(spot.kind, at + side, height + 4, anchor="end" if left else "start", kind=kind)
