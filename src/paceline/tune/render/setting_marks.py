"""Settings and commands as type: a change of a knob is never broken over two lines."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from paceline.base.page.svg import tag
from paceline.tune.setting import Value, label


def setting(changes: Mapping[str, Value]) -> str:
    """Every change as a piece that is not broken; the full names when the pointer rests on it."""
    if not changes:
        return tag("span", "baseline", class_="setting")
    full = ", ".join(f"{name}={value}" for name, value in sorted(changes.items()))
    pieces = " ".join(tag("span", escape(piece)) for piece in label(changes).split(" "))
    return tag("span", pieces, class_="setting", title=full)


def code(words: str) -> str:
    """As it is typed."""
    return tag("code", escape(words))
