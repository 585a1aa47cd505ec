"""A line for each contestant over recall: how much more of something the last percents cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Final

from paceline.base.figures import level
from paceline.base.page.plane import NAME_PX, Plane, spread
from paceline.base.page.scale import decades
from paceline.base.page.svg import drawing, hint, label, path, tag

_LOWEST: Final = 0.7
_HIGHEST: Final = 0.9995
_TICKS: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
_APART_PX: Final = 14.0


@dataclass(frozen=True, slots=True)
class Dot:
    """One point of a line, and what stands beside the pointer."""

    recall: float
    value: float
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """One contestant; `kind` is its class in the style sheet."""

    name: str
    kind: str
    dots: Sequence[Dot]


@dataclass(frozen=True, slots=True)
class _Misses:
    """Every tenth part of the misses is equally long; a recall of 1 is at the end."""

    low: float
    start: float
    end: float

    def at(self, recall: float) -> float:
        whole = log10((1 - self.low) / (1 - _HIGHEST))
        share = log10((1 - self.low) / (1 - min(max(recall, self.low), _HIGHEST))) / whole
        return self.start + share * (self.end - self.start)


def recall_lines(lines: Sequence[Line], title: str, by: float, width: float) -> str:
    """`title` names what is upwards, on a log scale; its labels are divided by `by`. Empty without points."""
    shown = [Line(one.name, one.kind, [dot for dot in one.dots if dot.recall >= _LOWEST]) for one in lines]
    shown = [one for one in shown if one.dots]
    if not shown:
        return ""
    names = max(len(one.name) for one in shown) * NAME_PX * 0.92 + 14
    plane = Plane(50, 44, width - names, 44 + max(300, _APART_PX * len(shown) + 20))
    lowest = min(dot.recall for one in shown for dot in one.dots)
    x = _Misses(max((tick for tick in _TICKS if tick <= lowest), default=_TICKS[0]), plane.left, plane.right)
    y = decades([dot.value for one in shown for dot in one.dots], plane.bottom, plane.top)
    ticks = [(x.at(tick), level(tick)) for tick in _TICKS if tick >= x.low]
    ends = spread([y.at(one.dots[-1].value) for one in shown], _APART_PX, plane.top + 6, plane.bottom - 2)
    inner = plane.y_axis(y.ticks(), y.at, f"{title} (log scale)", by)
    for one, end in zip(shown, ends, strict=True):
        points = [(x.at(dot.recall), y.at(dot.value)) for dot in one.dots]
        last = points[-1]
        lead = path([last, (plane.right + 5, end)], "lead")
        marks = "".join(
            tag("circle", hint(dot.words), cx=at[0], cy=at[1], r=2.8, class_=f"dot {one.kind}")
            for at, dot in zip(points, one.dots, strict=True)
        )
        name = label(one.name, plane.right + 8, end + 4, kind=f"series {one.kind}")
        inner += lead + path(points, f"line {one.kind}") + marks + name
    inner += plane.x_axis(ticks, "recall")
    told = f"{title} over recall of {', '.join(one.name for one in shown)}."
    return drawing(width, plane.bottom + 42, told, inner)
