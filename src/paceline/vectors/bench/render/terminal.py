"""The report on a terminal, and as plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

from paceline.base.figures import level
from paceline.base.terminal import facts, print_sections, table, verdict
from paceline.vectors.bench.render import wording
from paceline.vectors.bench.report import BenchReport

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(
    report: BenchReport, *, stream: TextIO | None = None, files: Mapping[str, object] | None = None
) -> None:
    """Print the report; `files` are those that were written, by what they hold."""
    print_sections(stream or sys.stdout, lambda width: _sections(report, files or {}, width))


def _sections(report: BenchReport, files: Mapping[str, object], width: int) -> Iterator[RenderableType]:
    yield verdict("vectors", wording.headline(report), width, "bold")
    yield facts(wording.about(report), width)
    for target in report.settings.recalls:
        rows = wording.held_rows(report, target)
        if rows:
            yield table((f"recall >= {level(target)}", *wording.HELD_HEAD[1:]), rows, left=(0, 1))
    for name, head, rows, left in (
        ("bytes a vector", wording.SIZE_HEAD, wording.size_rows(report), (0,)),
        ("changes", wording.CHANGES_HEAD, wording.changes_rows(report), (0,)),
        ("precision of ours", wording.PRECISIONS_HEAD, wording.precision_rows(report), (0, 1)),
    ):
        if rows:
            yield table((name, *head[1:]), rows, left=left)
    notes = wording.notes(report)
    if notes:
        yield facts([("" if number else "notes", note) for number, note in enumerate(notes)], width)
    if files:
        yield facts(((what, str(where)) for what, where in files.items()), width)
