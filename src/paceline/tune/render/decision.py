"""The first part of the page: what was decided, what changes by it, why, and how to undo it."""

from __future__ import annotations

from html import escape

from paceline.base.page.marks import section, state_cell, table, typeset
from paceline.base.page.svg import tag
from paceline.base.slo import STATES
from paceline.tune.render import wording
from paceline.tune.render.setting_marks import code
from paceline.tune.render.wording import bound, changed, found
from paceline.tune.report import SloValue, TuneReport


def before_and_after(report: TuneReport) -> str:
    """Every objective with its levels, and what was measured on both sides."""
    pairs = wording.pairs(report)
    if not pairs:
        return ""
    second = "closest" if report.outcome == "infeasible" else "after"
    both = bool(report.after)
    rows = [_row(before, after, both=both) for before, after in pairs]
    head = ["objective", "target", "critical", "baseline", "state"]
    head += [second, "state", "change"] if both else []
    title = "Before and after" if both else "Objectives"
    shown = table("Service-level objectives", head, rows, numbers=(1, 2, 3, 5, 7) if both else (1, 2, 3))
    return section(title, shown, kind="pairs")


def _row(before: SloValue | None, after: SloValue | None, *, both: bool) -> list[str]:
    known = before or after
    assert known is not None
    asked = known.objective
    cells = [
        escape(asked.label),
        typeset(bound(asked, asked.target)),
        typeset(bound(asked, asked.critical)),
        typeset(found(before)),
        _state(before),
    ]
    if both:
        change = changed(before.value if before else None, after.value if after else None)
        cells += [typeset(found(after)), _state(after), typeset(change)]
    return cells


def _state(row: SloValue | None) -> str:
    return (
        state_cell("unknown", STATES["unknown"]) if row is None else state_cell(row.state, STATES[row.state])
    )


def changes(report: TuneReport) -> str:
    """The knobs that are turned, and what turns them back."""
    setting, title = report.winner, "What changes"
    if report.outcome == "infeasible" and report.closest is not None:
        setting, title = report.closest, "The closest setting, not applied"
    rows = [
        [code(name), code(old), code(new), escape(takes)]
        for name, old, new, takes in wording.changes(report, setting)
    ]
    shown = table(title, ["knob", "baseline", "new", "takes effect"], rows, numbers=(1, 2)) if rows else ""
    file = f"Written to {code(report.written_to)}." if report.written_to and rows else ""
    return section(title, shown, tag("p", file, class_="reading") if file else "", _undo(report))


def _undo(report: TuneReport) -> str:
    """Commands to copy, each selected by one click."""
    if not report.undo:
        return ""
    commands = "".join(tag("pre", escape(command), tabindex="0") for command in report.undo)
    return tag("div", tag("h3", "How to undo it"), commands, class_="undo")


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
