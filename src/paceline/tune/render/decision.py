"""The first part of the page: what was decided, what changes by it, why, and how to undo it."""

from __future__ import annotations

from html import escape

from paceline.base.page.marks import icon, section, state_cell, table, typeset
from paceline.base.page.svg import tag
from paceline.base.slo import STATES
from paceline.tune.render import wording
from paceline.tune.render.setting_marks import code
from paceline.tune.render.wording import bound, changed, found, other_side
from paceline.tune.report import SloValue, TuneReport


def before_and_after(report: TuneReport) -> str:
    """Every objective with its levels, and what was measured on both sides."""
    pairs = wording.pairs(report)
    if not pairs:
        return ""
    other = other_side(report)
    rows = [_row(before, after, both=bool(other)) for before, after in pairs]
    head = ["objective", "baseline", *((other, "change") if other else ()), "target", "critical"]
    title = "Before and after" if other == "after" else "Objectives"
    shown = table("Service-level objectives", head, rows, numbers=(3, 4, 5) if other else (2, 3))
    return section(title, shown, kind="sides")


def _row(before: SloValue | None, after: SloValue | None, *, both: bool) -> list[str]:
    known = before or after
    assert known is not None
    asked = known.objective
    cells = [escape(asked.label), slo_cell(before)]
    if both:
        change = changed(before.value if before else None, after.value if after else None)
        cells += [slo_cell(after), typeset(change)]
    return [*cells, typeset(bound(asked, asked.target)), typeset(bound(asked, asked.critical))]


def slo_cell(row: SloValue | None) -> str:
    """A value with the shape of its state, and the state in a word below it."""
    if row is None or row.value is None:
        return state_cell("unknown", STATES["unknown"])
    shown = tag("span", icon(row.state), typeset(found(row)), class_=f"state {row.state}")
    return shown + tag("small", STATES[row.state], class_="why")


def changes(report: TuneReport) -> str:
    """The knobs that are turned, and what turns them back."""
    setting, title = report.winner, "What changes"
    if report.outcome == "rolled back":
        title = "What was taken back"
    if report.outcome == "infeasible" and report.closest is not None:
        setting, title = report.closest, "The closest setting, not applied"
    rows = [
        [code(name), code(old), code(new), escape(takes)]
        for name, old, new, takes in wording.changes(report, setting)
    ]
    shown = table(title, ["knob", "baseline", "new", "takes effect"], rows, numbers=(1, 2))
    file = f"Written to {code(report.written_to)}." if report.written_to else ""
    way_back = "By hand" if report.outcome == "rolled back" else "How to undo it"
    if not rows:
        return section(way_back, _undo(report))
    undo = tag("div", tag("h3", way_back), _undo(report), class_="undo") if report.undo else ""
    return section(title, shown, tag("p", file, class_="reading") if file else "", undo)


def _undo(report: TuneReport) -> str:
    """Commands to copy, each selected by one click."""
    return "".join(tag("pre", escape(command), tabindex="0", class_="command") for command in report.undo)


def reasons(report: TuneReport) -> str:
    """Why this was decided; headed by what was decided."""
    titles = {
        "applied": "Why this setting won",
        "written": "Why this setting won",
        "kept": "Why the baseline stays",
        "rolled back": "Why it was taken back",
        "infeasible": "What stands in the way",
    }
    items = (
        tag("ul", *(tag("li", typeset(words)) for words in report.why), class_="why-list")
        if report.why
        else ""
    )
    return section(titles.get(report.outcome, "What happened"), items)
