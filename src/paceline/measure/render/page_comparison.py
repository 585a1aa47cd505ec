"""The part of the page that says what changed since an earlier run."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from paceline.base.figures import estimate, measured, number
from paceline.base.page.marks import section, state_cell, table, typeset
from paceline.base.page.svg import tag
from paceline.base.slo import State
from paceline.measure.report import Estimate

if TYPE_CHECKING:
    from paceline.measure.comparison.change import Change
    from paceline.measure.comparison.compare import Comparison

STATES: dict[str, State] = {
    "faster": "ok",
    "equivalent": "ok",
    "slower": "critical",
    "inconclusive": "unknown",
}


def against_baseline(found: Comparison) -> str:
    """Both values of every quantity, their difference with its interval, and the smallest one that would show."""
    rows = [
        [
            escape(change.label),
            typeset(measured(change.a, change.unit)),
            typeset(measured(change.b, change.unit)),
            typeset(estimate(change.difference, change.unit)),
            typeset(_relative(change)),
            state_cell(STATES[change.verdict], change.verdict),
            typeset(measured(change.detectable, change.unit)),
        ]
        for change in found.changes
    ]
    head = ["", "baseline", "this run", "difference", "relative", "verdict", "would show from"]
    warnings = tag("ul", *(tag("li", typeset(words)) for words in found.warnings), class_="warnings")
    said = f"{found.a.name}, {found.a.made_at} on {found.a.hostname} (run {found.a.run_id})"
    return section(
        "Against the baseline",
        tag("p", state_cell(STATES[found.verdict], found.verdict), " ", typeset(found.because)),
        tag("p", typeset(f"The baseline is {said}."), class_="reading"),
        warnings if found.warnings else "",
        table("Differences to the baseline", head, rows, numbers=(1, 2, 3, 4, 6)),
        kind="comparison",
    )


def _relative(change: Change) -> str:
    """Shares as percent, with the sign that says the direction."""
    share = change.relative
    if share.value is None:
        return "-"
    value, low, high = (None if part is None else 100 * part for part in (share.value, share.low, share.high))
    whole = Estimate(value, low, high)
    sign = "+" if share.value > 0 else ""
    if whole.low is None or whole.high is None:
        return f"{sign}{number(whole.value)} %"
    return f"{sign}{estimate(whole, '%')}"
