"""A chart with its caption, drawn once for each width of window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from paceline.base.page.marks import typeset
from paceline.base.page.svg import tag

WIDE = (1060, 700, 350)
HALF = (514, 350)
"""Pixels at which a chart is drawn; the style sheet shows the one that fits."""


def figure(
    title: str, told: str, draw: Callable[[float], str], widths: Sequence[int], hover: str = ""
) -> str:
    """A figure with its drawing in every width; nothing where the chart is empty."""
    pictures = [draw(width) for width in widths]
    if not pictures[0]:
        return ""
    kinds = {1: ("any",), 2: ("wide", "slim"), 3: ("full", "wide", "slim")}[len(widths)]
    return tag(
        "figure",
        tag("figcaption", tag("h3", escape(title)), tag("p", typeset(told)) if told else ""),
        *(tag("div", picture, class_=f"draw {kind}") for kind, picture in zip(kinds, pictures, strict=True)),
        tag("script", hover, type="application/json") if hover else "",
        class_="hover" if hover else None,
    )
