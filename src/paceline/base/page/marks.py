"""Small pieces of the page: words set as type, shapes that say a state without colour, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from paceline.base.page.svg import tag
from paceline.base.slo import State

_UNIT = re.compile(r"(?<=\d) (?=(?:us|ms|s|min|h|B|kB|MB|GB|TB|%|req/s|requests/s|tokens/s|jobs)\b|%)")
_SIGNS = (
    ("<=", "\N{LESS-THAN OR EQUAL TO}"),
    (">=", "\N{GREATER-THAN OR EQUAL TO}"),
    ("->", "\N{RIGHTWARDS ARROW}"),
)
_SHAPES: dict[State, str] = {
    "ok": '<circle cx="8" cy="8" r="7.5"/><path d="M4.3 8.3l2.6 2.6 4.8-5.4"/>',
    "warning": '<path class="body" d="M8 .8L15.6 14.6H.4Z"/><path d="M8 5.6v4.2M8 11.9v.6"/>',
    "critical": '<path class="body" d="M4.8.5h6.4l4.3 4.3v6.4l-4.3 4.3H4.8L.5 11.2V4.8Z"/><path d="M5.2 5.2l5.6 5.6m0-5.6l-5.6 5.6"/>',
    "unknown": '<circle class="hollow" cx="8" cy="8" r="7"/><path class="hollow" d="M5 8h6"/>',
}


def icon(state: State) -> str:
    """Circle, triangle, octagon or ring; the words stand beside it, so it is silent."""
    return f'<svg class="icon {state}" viewBox="0 0 16 16" aria-hidden="true">{_SHAPES[state]}</svg>'


def typeset(words: str) -> str:
    """Escaped, with units kept on the line of their number, real dashes and arrows, and micro signs."""
    spaced = _UNIT.sub("\N{NO-BREAK SPACE}", words).replace("\N{NO-BREAK SPACE}us", "\N{NO-BREAK SPACE}µs")
    dashed = "\N{EN DASH}" if spaced == "-" else re.sub(r"(?<![\w\]])-(?=\d)", "\N{MINUS SIGN}", spaced)
    for typed, sign in _SIGNS:
        dashed = dashed.replace(typed, sign)
    return escape(dashed)


def state_cell(state: State, words: str) -> str:
    """Shape and word."""
    return tag("span", icon(state), escape(words), class_=f"state {state}")


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:
    """Cells are markup; the first of a row is its header. Columns of `numbers` are flush right."""
    kinds = ["number" if index in numbers else None for index in range(len(head))]
    top = "".join(
        tag("th", escape(name), scope="col", class_=kind) for name, kind in zip(head, kinds, strict=True)
    )
    body = "".join(
        tag(
            "tr",
            tag("th", row[0], scope="row", class_=kinds[0]),
            *(tag("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    )
    whole = tag(
        "table",
        tag("caption", escape(caption)),
        tag("thead", tag("tr", top)),
        tag("tbody", body),
    )
    return tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Labels and plain values, in two columns where there is room."""
    return tag(
        "dl", *(tag("div", tag("dt", escape(label)), tag("dd", typeset(value))) for label, value in pairs)
    )


def section(title: str, *inside: str, kind: str | None = None) -> str:
    """A headed part of the page; nothing when nothing is in it."""
    filled = [part for part in inside if part]
    return tag("section", tag("h2", escape(title)), *filled, class_=kind) if filled else ""


def folded(title: str, *inside: str, open_: bool = False) -> str:
    """What few will want to see; nothing when nothing is in it."""
    filled = "".join(inside)
    if not filled:
        return ""
    return f"<details{' open' if open_ else ''}>{tag('summary', escape(title))}{filled}</details>"
