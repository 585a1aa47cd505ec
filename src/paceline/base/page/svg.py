"""SVG elements as text. Children are markup already; attributes and `words` are escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Point = tuple[float, float]


def number(value: float) -> str:
    """A coordinate: a tenth of a pixel is as fine as anyone sees."""
    text = f"{value:.1f}"
    return "0" if text in {"0.0", "-0.0"} else text.removesuffix(".0")


def tag(name: str, *children: str, **attributes: float | str | None) -> str:
    """An element. `class_` is `class`, other underscores are hyphens; an attribute that is None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{number(value) if isinstance(value, float | int) else escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>"


def label(words: str, x: float, y: float, *, anchor: str = "start", kind: str = "label") -> str:
    """Text on one line; `y` is its baseline."""
    return tag("text", escape(words), x=x, y=y, text_anchor=anchor, class_=kind)


def hint(words: str) -> str:
    """What browsers show while the pointer rests on the parent."""
    return tag("title", escape(words))


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight stroke."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def path(points: Iterable[Point | None], kind: str) -> str:
    """A line through the points; None lifts the pen. A point alone between gaps is drawn as a dot."""
    strokes = _strokes(points)
    if not strokes:
        return ""
    drawn = "".join(
        "M" + "L".join(f"{number(x)},{number(y)}" for x, y in (stroke if len(stroke) > 1 else stroke * 2))
        for stroke in strokes
    )
    return tag("path", d=drawn, class_=kind)


def area(points: Sequence[Point], base: float, kind: str) -> str:
    """What lies between the points and the horizontal line at `base`."""
    if not points:
        return ""
    edge = "L".join(f"{number(x)},{number(y)}" for x, y in points)
    return tag("path", d=f"M{number(points[0][0])},{number(base)}L{edge}V{number(base)}Z", class_=kind)


def region(points: Sequence[Point], kind: str) -> str:
    """What the line through the points and back to the first encloses; nothing for fewer than three."""
    if len(points) < 3:
        return ""
    edge = "L".join(f"{number(x)},{number(y)}" for x, y in points)
    return tag("path", d=f"M{edge}Z", class_=kind)


def drawing(width: float, height: float, told: str, *children: str, **attributes: float | str | None) -> str:
    """The whole picture; `told` says in a sentence what is to be seen, for those who cannot see it."""
    return tag(
        "svg",
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=told,
        **attributes,
    )


def _strokes(points: Iterable[Point | None]) -> list[list[Point]]:
    strokes: list[list[Point]] = [[]]
    for point in points:
        if point is not None:
            strokes[-1].append(point)
        elif strokes[-1]:
            strokes.append([])
    return [stroke for stroke in strokes if stroke]
