"""A bar for each contestant: what it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from paceline.base.page.plane import NAME_PX, Plane, tick_words
from paceline.base.page.scale import from_zero
from paceline.base.page.svg import drawing, hint, label, line, tag

_ROW_PX: Final = 24.0
_BAR_PX: Final = 14.0
_ROOM_PX: Final = 74.0
"""Right of the longest bar, for its words."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One contestant; `mark` is a second value, drawn as a stroke. `kind` is its class in the style sheet."""

    name: str
    kind: str
    value: float
    words: str
    mark: float | None = None
    more: str = ""


def bars(rows: Sequence[Bar], unit: str, width: float) -> str:
    """In the order given. Empty without rows."""
    if not rows:
        return ""
    names = max(len(row.name) for row in rows) * NAME_PX * 0.92 + 12
    plane = Plane(names, 8, width - 14, 8 + _ROW_PX * len(rows))
    most = max(2, int(plane.width / 90))
    x = from_zero(
        [end for row in rows for end in (row.value, row.mark)], plane.left, plane.right - _ROOM_PX, most
    )
    grid = "".join(line(x.at(tick), plane.top, x.at(tick), plane.bottom, "grid") for tick in x.ticks(most))
    drawn = "".join(_row(row, plane.top + _ROW_PX * number, plane, x.at) for number, row in enumerate(rows))
    axis = plane.x_axis([(x.at(tick), tick_words(tick)) for tick in x.ticks(most)], unit)
    told = f"{unit}: {', '.join(f'{row.name} {row.words}' for row in rows)}."
    return drawing(width, plane.bottom + 42, told, grid + drawn + axis)


def _row(row: Bar, top: float, plane: Plane, at: Callable[[float], float]) -> str:
    end, middle = at(row.value), top + _ROW_PX / 2
    bar = tag(
        "rect",
        hint(f"{row.name}: {row.words}{row.more}"),
        x=plane.left,
        y=middle - _BAR_PX / 2,
        width=max(1.0, end - plane.left),
        height=_BAR_PX,
        rx=2,
        class_=f"bar {row.kind}",
    )
    mark, furthest = "", end
    if row.mark is not None:
        place = at(row.mark)
        mark = line(place, middle - _BAR_PX / 2 - 3, place, middle + _BAR_PX / 2 + 3, "whisker")
        furthest = max(end, place)
    name = label(row.name, plane.left - 8, middle + 4, anchor="end", kind=f"series {row.kind}")
    return name + bar + mark + label(row.words, furthest + 6, middle + 4, kind="note")
