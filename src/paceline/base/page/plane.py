"""The area of a chart with its two axes: grid, tick labels and titles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paceline.base.figures import level, number
from paceline.base.page.scale import Linear, Log, decades, from_zero, seconds_step
from paceline.base.page.svg import label, line

DIGIT_PX = 6.6
"""Width of a character of an axis label, a little generous."""
NAME_PX = 7.3
"""Of a character of a bold label."""
_LOG_FROM = 12
"""A largest value this many times the typical one needs a log axis to be read."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Edges in pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From edge to edge."""
        return self.right - self.left

    def y_axis(
        self, ticks: Sequence[float], at: Callable[[float], float], title: str, by: float = 1.0
    ) -> str:
        """Horizontal grid lines with labels on the left, and the title above them; labels are divided by `by`."""
        marks = "".join(
            line(self.left, at(tick), self.right, at(tick), "base" if at(tick) == self.bottom else "grid")
            + label(tick_words(tick / by), self.left - 8, at(tick) + 4, anchor="end")
            for tick in ticks
        )
        return marks + label(title, 0, self.top - 12, kind="axis")

    def x_axis(self, marks: Sequence[tuple[float, str]], title: str) -> str:
        """Labels at pixels under the area, those that would touch their left neighbour left out; the title below."""
        drawn, free = [], -1e9
        for x, words in marks:
            half = len(words) * DIGIT_PX / 2
            drawn.append(line(x, self.bottom, x, self.bottom + 4, "base"))
            if x - half >= free:
                drawn.append(label(words, x, self.bottom + 18, anchor="middle"))
                free = x + half + 6
        base = line(self.left, self.bottom, self.right, self.bottom, "base")
        return base + "".join(drawn) + label(title, self.right, self.bottom + 36, anchor="end", kind="axis")

    def time_axis(self, scale: Linear) -> str:
        """Seconds, minutes or hours since the start."""
        span = scale.high - scale.low
        step = seconds_step(span, max(2, int(self.width / 70)))
        size, unit = (1, "s") if span <= 180 else (60, "min") if span <= 10_800 else (3_600, "h")
        ticks = [index * step for index in range(int(scale.low // step), int(scale.high / step + 1e-9) + 1)]
        marks = [(scale.at(tick), level(tick / size)) for tick in ticks if tick >= scale.low]
        return self.x_axis(marks, f"time since the start, {unit}")


def latency_scale(values: Sequence[float | None], plane: Plane, typical: float | None = None) -> Linear | Log:
    """From zero, unless the largest would press what is `typical` (default: the median) to the floor."""
    known = sorted(value for value in values if value is not None and value > 0)
    if known and known[-1] > _LOG_FROM * (typical or known[len(known) // 2]):
        return decades(known, plane.bottom, plane.top)
    return from_zero(known, plane.bottom, plane.top)


def latency_unit(largest_ms: float) -> tuple[float, str]:
    """Divisor and unit for an axis of milliseconds: microseconds below 1, seconds from 5,000."""
    if largest_ms >= 5_000:
        return 1_000.0, "s"
    return (0.001, "µs") if largest_ms < 1 else (1.0, "ms")


def tick_words(value: float) -> str:
    """A round value: no more digits than it has."""
    return level(round(value, 9)) if abs(value) < 100_000 else f"{number(value / 1000)}k"


def spread(at: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Positions near the wished ones, at least `distance` apart, between `low` and `high` where there is room."""
    order = sorted(range(len(at)), key=lambda index: at[index])
    placed = list(at)
    for before, index in zip([None, *order], order, strict=False):
        floor = low if before is None else placed[before] + distance
        placed[index] = max(placed[index], floor)
    ceiling = high
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - distance
    return placed
