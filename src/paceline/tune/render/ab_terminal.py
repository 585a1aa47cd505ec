"""The report of an A/B on a terminal, and as plain lines anywhere else: the verdict first."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

from paceline.base.figures import duration, measured
from paceline.base.slo import STATES
from paceline.base.terminal import Facts, facts, print_sections, table, verdict
from paceline.tune.ab_report import AbReport
from paceline.tune.render.ab_words import COLOURS, WORDS, because, difference, failures, headline, load, side
from paceline.tune.render.wording import COLOURS as STATE_COLOURS
from paceline.tune.render.wording import bound, found, metric, relative

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(
    report: AbReport, *, stream: TextIO | None = None, files: Mapping[str, object] | None = None
) -> None:
    """Print the report; `files` are those that were written, by what they hold (`report`, `page`)."""
    print_sections(stream or sys.stdout, lambda width: _sections(report, files or {}, width))


def _sections(report: AbReport, files: Mapping[str, object], width: int) -> Iterator[RenderableType]:
    word = WORDS[report.outcome]
    yield verdict(word, f"{headline(report)}; {because(report)}", width, COLOURS[word])
    yield facts(_about(report), width, colours=STATE_COLOURS)
    if report.blocks and report.ab.metric not in {objective.name for objective in report.objectives}:
        yield _compared(report)
    if report.blocks and report.objectives:
        yield _objectives(report)
    if files:
        yield facts(((what, str(where)) for what, where in files.items()), width)


def _about(report: AbReport) -> Facts:
    yield "A/B", f"for {report.aim}, {report.made_at[:19]}Z, id {report.run_id}"
    for which, contender in (("A", report.a), ("B", report.b)):
        yield "", side(which, contender)
    yield "load", load(report)
    yield "took", duration(report.seconds)
    for which, contender in (("A", report.a), ("B", report.b)):
        if contender.failures:
            yield "failed", f"{which} {failures(contender, len(report.blocks))}"


def _compared(report: AbReport) -> RenderableType:
    """What the verdict is about, where it is no objective."""
    ab = report.ab
    name, unit = metric(ab.metric, report.objectives)
    values = (measured(each.get(ab.metric), unit) for each in (ab.baseline_values, ab.candidate_values))
    head = ("compared", "A", "B", "change, 95 % interval")
    return table(head, [(name, *values, relative(ab.change))], left=(0,), colours=STATE_COLOURS)


def _objectives(report: AbReport) -> RenderableType:
    head = ("objective", "target", "A", "state", "B", "state", "change")
    rows = [
        (
            a.objective.label,
            bound(a.objective, a.objective.target),
            found(a),
            STATES[a.state],
            found(b),
            STATES[b.state],
            difference(report, a, b),
        )
        for a, b in zip(report.a.slo, report.b.slo, strict=True)
    ]
    return table(head, rows, left=(0, 3, 5), colours=STATE_COLOURS)
