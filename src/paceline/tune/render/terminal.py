"""The report on a terminal, and as plain lines anywhere else: the decision first, then what it rests on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, TextIO

from paceline.base.figures import NONE, clock, duration, estimate, latency, number
from paceline.base.slo import STATES
from paceline.base.terminal import Facts, facts, print_sections, table, verbatim, verdict
from paceline.tune.render.wording import (
    COLOURS,
    WORDS,
    ab_line,
    because,
    bound,
    changed,
    changes,
    found,
    headline,
    other_side,
    pairs,
    searched,
    trials,
    workload,
)
from paceline.tune.report import SloValue, Trial, TuneReport
from paceline.tune.setting import label

if TYPE_CHECKING:
    from rich.console import RenderableType

_table = partial(table, colours=COLOURS)
_facts = partial(facts, colours=COLOURS)


def show(
    report: TuneReport, *, stream: TextIO | None = None, files: Mapping[str, object] | None = None
) -> None:
    """Print the report; `files` are those that were written, by what they hold (`report`, `page`)."""
    print_sections(stream or sys.stdout, lambda width: _sections(report, files or {}, width))


def _sections(report: TuneReport, files: Mapping[str, object], width: int) -> Iterator[RenderableType]:
    word = WORDS[report.outcome]
    yield verdict(word, f"{headline(report)}; {because(report)}".rstrip("; "), width, COLOURS[word])
    yield _facts(_about(report), width)
    if report.baseline or report.after:
        yield _objectives(report)
    setting = report.closest if report.outcome == "infeasible" else report.winner
    if setting:
        rows = changes(report, setting)
        yield _table(("knob", "baseline", "new", "takes effect"), rows, left=(0, 3))
    if trials(report):
        yield _trials(report)
    yield _facts(_rest(report), width)
    if report.undo:
        yield verbatim("undo", report.undo)
    if files:
        yield _facts(((what, str(where)) for what, where in files.items()), width)


def _about(report: TuneReport) -> Facts:
    yield "tune", f"{report.url} for {report.aim}, {report.made_at[:19]}Z, id {report.run_id}"
    yield "load", workload(report)
    yield "searched", searched(report)
    yield "took", f"{duration(report.seconds)} of {duration(report.budget_s)}"


def _objectives(report: TuneReport) -> RenderableType:
    """State words stand beside values; what was not looked at after has no columns."""
    other = other_side(report)
    head = ("objective", "target", "baseline", "state", *((other, "state", "change") if other else ()))
    rows = []
    for before, after in pairs(report):
        known = before or after
        assert known is not None
        asked = known.objective
        row = [asked.label, bound(asked, asked.target), found(before), _state(before)]
        if other:
            change = changed(before.value if before else None, after.value if after else None)
            row += [found(after), _state(after), change]
        rows.append(row)
    return _table(head, rows, left=(0, 3, 5))


def _state(row: SloValue | None) -> str:
    return STATES["unknown"] if row is None else STATES[row.state]


def _trials(report: TuneReport) -> RenderableType:
    """One line a live run; settings give way on a narrow terminal."""
    foreseen = any(trial.predicted_p95_ms is not None for trial in trials(report))
    head = ("run", "phase", "at", *(("predicted",) if foreseen else ()), "p95", "objectives")
    rows = (
        (
            f"{trial.number:2d} {label(trial.setting)}",
            trial.phase,
            clock(trial.at_s),
            *((_predicted(trial),) if foreseen else ()),
            latency(trial.values.get("p95_ms")),
            _outcome(trial),
        )
        for trial in trials(report)
    )
    return _table(head, rows, left=(0, 1, len(head) - 1))


def _predicted(trial: Trial) -> str:
    told = trial.predicted_p95_ms
    if told is None:
        return NONE
    return estimate(told, "ms") if told.value is not None else told.reason or NONE


def _outcome(trial: Trial) -> str:
    if trial.failed:
        return "failed"
    if trial.violation is None:
        return STATES["unknown"]
    return STATES["ok"] if trial.violation <= 0 else STATES["warning"]


def _rest(report: TuneReport) -> Facts:
    if report.ab is not None:
        yield (
            "A/B",
            f"{ab_line(report.ab, report.objectives)}, {report.ab.verdict} after {report.ab.blocks} blocks",
        )
    yield from _listed(
        "failed", [f"run {each.number}: {each.failed}" for each in report.trials if each.failed]
    )
    yield from _listed("why", report.why)
    yield from _listed(
        "steps",
        [
            f"{label(step.setting)}: {'held' if step.held else 'taken back'}, {step.because}"
            for step in report.steps
        ],
    )
    kept = [
        check for check in report.quality if check.accepted and check.setting.items() <= report.winner.items()
    ]
    yield from _listed(
        "quality", [f"{label(check.setting)}: {check.metric}, {check.because}" for check in kept]
    )
    refused = [check for check in report.quality if not check.accepted]
    yield from _listed(
        "refused", [f"{label(check.setting)}: {check.metric}, {check.because}" for check in refused]
    )
    if report.calibration is not None:
        model = report.calibration
        yield "model", f"fitted to {model.batches:,} batches, median error {number(model.residual_percent)} %"
    yield from _listed("warnings", report.warnings)


def _listed(name: str, lines: list[str]) -> Facts:
    yield from (("" if index else name, words) for index, words in enumerate(lines))
