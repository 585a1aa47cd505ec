"""The change between two settings after each block of an A/B, with the interval that is valid at every look."""

from __future__ import annotations

from collections.abc import Sequence

from paceline.base.page.plane import Plane, tick_words
from paceline.base.page.scale import Linear, around
from paceline.base.page.svg import Point, drawing, hint, label, line, path, region, tag
from paceline.tune.render.wording import relative
from paceline.tune.report import Range

Look = Sequence[float | None]
"""Change, low and high, relative: -0.2 is 20 % less."""


def ab_blocks(looks: Sequence[Look], margin: float | None, width: float) -> str:
    """Zero is no difference; within `margin` either way it does not matter. Empty where nothing is known."""
    known = [
        (block, 100 * look[0], *_ends(look))
        for block, look in enumerate(looks, 1)
        if look and look[0] is not None
    ]
    if not known:
        return ""
    plane = Plane(46, 28, width - 16, 290)
    y = _scale(known, margin, plane)
    x = Linear(0.5, len(looks) + 0.5, plane.left, plane.right)
    every = max(1, -(-len(looks) // max(3, int(plane.width / 40))))
    ticks = [(x.at(block), str(block)) for block in range(1, len(looks) + 1) if (block - 1) % every == 0]

    def at(block: int, value: float) -> Point:
        return x.at(block), y.at(min(max(value, y.low), y.high))

    bounded = [(block, low, high) for block, _, low, high in known if low is not None and high is not None]
    upper = [at(block, high) for block, _, high in bounded]
    lower = [at(block, low) for block, low, _ in bounded]
    inner = (
        _margin(margin, plane, y)
        + plane.y_axis(y.ticks(5), y.at, "change, %")
        + region([*upper, *reversed(lower)], "band change")
        + (
            path([*upper, *lower], "line change") if len(bounded) == 1 else ""
        )  # a band of one block is no area
        + _zero(plane, y)
        + path([at(block, value) for block, value, _, _ in known], "line change")
        + "".join(_dot(at(block, value), looks[block - 1], block) for block, value, _, _ in known)
        + plane.x_axis(ticks, "blocks")
    )
    return drawing(width, plane.bottom + 42, f"The change after each of {len(looks)} blocks.", inner)


def _ends(look: Look) -> tuple[float | None, float | None]:
    low, high = (look[1], look[2]) if len(look) > 2 else (None, None)
    return (None if low is None else 100 * low, None if high is None else 100 * high)


def _scale(
    known: Sequence[tuple[int, float, float | None, float | None]], margin: float | None, plane: Plane
) -> Linear:
    """Zero and the last interval have ample room; the wide ones of the first blocks are cut at the edge."""
    _, value, low, high = known[-1]
    reach = 2.5 * max(
        (high - low) / 2 if low is not None and high is not None else 0.0, 100 * (margin or 0.0), 1.0
    )
    ends = [part for _, part, _, _ in known if abs(part - value) <= 2 * reach]
    shown = [0.0, value - reach, value + reach, *ends]
    if margin is not None:
        shown += [-120 * margin, 120 * margin]
    return around(shown, plane.bottom, plane.top)


def _margin(margin: float | None, plane: Plane, y: Linear) -> str:
    if not margin:
        return ""
    top, bottom = y.at(100 * margin), y.at(-100 * margin)
    words = f"within {tick_words(100 * margin)} % it does not matter"
    band = tag("rect", x=plane.left, y=top, width=plane.width, height=bottom - top, class_="cut")
    return band + label(words, plane.right - 6, max(top - 6, plane.top + 10), anchor="end", kind="note")


def _zero(plane: Plane, y: Linear) -> str:
    return line(plane.left, y.at(0.0), plane.right, y.at(0.0), "zero")


def _dot(at: Point, look: Look, block: int) -> str:
    low, high = (look[1], look[2]) if len(look) > 2 else (None, None)
    said = hint(f"after block {block}: {relative(Range(look[0], low, high))}")
    return tag("circle", said, cx=at[0], cy=at[1], r=4, class_="dot")
