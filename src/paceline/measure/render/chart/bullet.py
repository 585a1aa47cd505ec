"""A value beside its target and critical level, small enough for a row of a table."""

from __future__ import annotations

from paceline.base.page.svg import drawing, line, tag
from paceline.measure.report import SloRow

WIDTH, HEIGHT = 190, 26


def bullet(row: SloRow) -> str:
    """Zones up to target, up to critical and beyond; the value is a diamond with its interval as a whisker.

    Without a value only the zones are drawn. What lies beyond the right edge is drawn at the edge.
    """
    high = 1.25 * max(row.target, row.critical)
    if high <= 0:
        return ""
    top, bottom = 5, HEIGHT - 5

    def at(value: float) -> float:
        return 2 + min(max(value / high, 0.0), 1.0) * (WIDTH - 12)

    first, second = sorted((row.target, row.critical))
    kinds = ("zone-critical", "zone-warning", "zone-ok")
    zones = zip(
        kinds if row.higher_is_better else reversed(kinds),
        (0, first, second),
        (first, second, high),
        strict=True,
    )
    drawn = [
        tag("rect", x=at(left), y=top, width=at(right) - at(left), height=bottom - top, class_=kind)
        for kind, left, right in zones
    ]
    drawn += [line(at(row.target), 2, at(row.target), HEIGHT - 2, "bullet-target")]
    drawn += [line(at(row.critical), 2, at(row.critical), HEIGHT - 2, "bullet-critical")]
    middle = HEIGHT / 2
    if row.low is not None and row.high is not None:
        drawn.append(line(at(row.low), middle, at(row.high), middle, "whisker"))
    if row.value is not None:
        x = at(row.value)
        drawn.append(tag("path", d=f"M{x:.1f},{middle - 6}l6,6l-6,6l-6,-6Z", class_=f"dot {row.state}"))
    said = "not measured" if row.value is None else f"{row.value:.4g} {row.unit}"
    told = f"{row.label}: {said}, target {row.target:g}, critical {row.critical:g}"
    return drawing(WIDTH, HEIGHT, told, *drawn)
