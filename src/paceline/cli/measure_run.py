"""One phase of `paceline measure` from plan to printed report: where its files go, and what its exit status is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Literal

import msgspec

from paceline.base.errors import ConfigError
from paceline.cli.console import say, say_note
from paceline.cli.measure_options import MeasureOptions, OutputOptions
from paceline.measure.report import LoadReport
from paceline.measure.scenarios.scenario import Phase
from paceline.measure.slo import slo_state

if TYPE_CHECKING:
    from paceline.measure.comparison.compare import Comparison
    from paceline.measure.records.named_run import NamedRun

Form = Literal["html", "json", "csv", "junit"]
FORMS: tuple[Form, ...] = ("html", "json", "csv", "junit")
_FORM_OF_SUFFIX: dict[str, Form] = {".html": "html", ".json": "json", ".csv": "csv", ".xml": "junit"}

SEVERITY = (0, 4, 1, 2, 3, 130)
"""Exit statuses, worse and worse: a missed target is known for certain, an INCONCLUSIVE run is not."""


@dataclass(frozen=True)
class Files:
    """What one phase writes."""

    records: Path
    kept: bool
    """By the store, rather than where the user said."""
    reports: tuple[tuple[Form, Path], ...] = ()
    baseline: NamedRun | None = None
    """What to compare the phase with."""


def files_of(output: OutputOptions, baseline: str | None, phases: list[Phase]) -> list[Files]:
    """The files of each phase; with several, each has its name in theirs, and the baseline v1 is the run "v1 peak".

    Looked at before anything is sent: a run must not be lost to a folder that is not there. Raises ConfigError.
    """
    asked = [_form(text) for text in output.output]
    for path in [*(path for _, path in asked), *([output.records] if output.records else [])]:
        folder = path.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)) or path.is_dir():
            raise ConfigError(f"--output {path}: no folder {folder} that can be written to", param="output")
    found = []
    for phase in phases:
        if output.records is None:
            records, kept = _in_store(), True
        else:
            records, kept = _named(output.records, phase), False
            if records.exists():
                raise ConfigError(
                    f"--records {records}: is there already; remove it or name another", param="records"
                )
        earlier = None if baseline is None or phase.kind == "errors" else _earlier(baseline, phase)
        found.append(
            Files(records, kept, tuple((form, _named(path, phase)) for form, path in asked), earlier)
        )
    return found


def with_task(phases: list[Phase]) -> list[Phase]:
    """Fill in what the user left to the server: the task, and the model. Raises Unreachable."""
    from paceline.measure.probe import discover, name_model  # noqa: PLC0415 - may talk to the server

    first = phases[0]
    found = (discover if first.find_task else name_model)(first.plan)
    return [
        msgspec.structs.replace(
            phase, plan=msgspec.structs.replace(phase.plan, target=found.target, payload=found.payload)
        )
        for phase in phases
    ]


def run_phase(phase: Phase, options: MeasureOptions, files: Files, interrupted: Callable[[], bool]) -> int:
    """Run it, print and write its report; returns the exit status."""
    if phase.kind == "errors":
        return _try_errors(phase, options, interrupted)
    from paceline.measure.render.live import live  # noqa: PLC0415
    from paceline.measure.saturation import find_capacity  # noqa: PLC0415
    from paceline.measure.session import Onlooker, measure  # noqa: PLC0415

    go = find_capacity if phase.kind == "saturation" else measure
    files.records.parent.mkdir(parents=True, exist_ok=True)
    with live(phase.plan) as on_progress:
        onlooker = Onlooker(on_progress, interrupted, options.output.watch_pid)
        report = go(
            phase.plan, records=files.records, onlooker=onlooker, check_first=not options.judging.keep_going
        )
    status = exit_status(report)
    comparison = None if files.baseline is None or status == 130 else _beside(files.baseline, report, files)
    _write(report, files, comparison)
    if options.output.json:
        from paceline.measure.report import encode  # noqa: PLC0415

        say(encode(report).decode())
    else:
        from paceline.measure.render.terminal import show  # noqa: PLC0415

        show(
            report, files={"records": files.records, **{_LABELS[form]: path for form, path in files.reports}}
        )
    if comparison is not None:
        status = worse(status, _show_comparison(comparison, as_json=options.output.json))
    return status


_LABELS = {"html": "page", "json": "report", "csv": "table", "junit": "JUnit"}


def exit_status(report: LoadReport) -> int:
    """0 met or a capacity found, 1 a target missed, 2 critical, 3 INVALID, 4 INCONCLUSIVE, 130 interrupted.

    An objective that the user asked for and that could not be measured is INCONCLUSIVE; of the default table it is
    not counted.
    """
    if report.ended == "interrupted":
        return 130
    if report.validity.state == "INVALID":
        return 3
    if report.capacity is not None:  # it was the search that was asked for, not the run that is shown with it
        return 4 if report.capacity.rate_per_s.value is None else 0
    state = slo_state(report.slo, asked=bool(report.plan.thresholds))
    if state == "critical":
        return 2
    if any(row.state == "warning" for row in report.slo):
        return 1
    if report.validity.state == "INCONCLUSIVE" or state == "unknown":
        return 4
    return 0


def worse(status: int, other: int) -> int:
    """The worse of two exit statuses."""
    return max(status, other, key=SEVERITY.index)


def _try_errors(phase: Phase, options: MeasureOptions, interrupted: Callable[[], bool]) -> int:
    from paceline.measure.error_conditions import try_conditions  # noqa: PLC0415

    report = try_conditions(phase.plan, interrupted)
    if options.output.json:
        say(msgspec.json.encode(report).decode())
    else:
        say(f"{report.name}: {report.state}")
        for found in report.conditions:
            status = "" if found.status is None else f" {found.status}"
            say(f"  {found.state:<9} {found.name:<26}{found.message}{status} (expected {found.expected})")
    if interrupted():
        return 130
    return {"ok": 0, "warning": 1}.get(report.state, 2)


def _write(report: LoadReport, files: Files, comparison: Comparison | None) -> None:
    """The report's files, then the store: whatever fails last has lost least."""
    for form, path in files.reports:
        try:
            path.write_bytes(_rendered(report, form, comparison))
        except OSError as error:
            say_note(f"--output {path}: {error.strerror or error}")
    from paceline.measure.records.store import Store  # noqa: PLC0415

    try:
        Store().save(report, files.records)
    except ConfigError as error:
        say_note(error.message)


def _rendered(report: LoadReport, form: Form, comparison: Comparison | None) -> bytes:
    if form == "json":
        from paceline.measure.report import encode  # noqa: PLC0415

        return encode(report)
    if form == "html":
        from paceline.measure.render.page import render  # noqa: PLC0415

        return render(report, comparison=comparison).encode()
    if form == "csv":
        from paceline.measure.render import csv_file  # noqa: PLC0415

        return csv_file.render(report).encode()
    from paceline.measure.render import junit  # noqa: PLC0415

    return junit.render(report).encode()


def _beside(baseline: NamedRun, report: LoadReport, files: Files) -> Comparison | None:
    """The run beside the earlier one; None, and a note, when they cannot be compared."""
    from paceline.measure.comparison.compare import compare  # noqa: PLC0415
    from paceline.measure.records.named_run import NamedRun  # noqa: PLC0415

    try:
        return compare(baseline, NamedRun(report, files.records))
    except ConfigError as error:
        say_note(f"not compared: {error.message}")
        return None


def _show_comparison(found: Comparison, *, as_json: bool) -> int:
    """Print it; the exit status is that of `paceline compare`."""
    from paceline.cli.compare import STATUS, table  # noqa: PLC0415

    for warning in found.warnings:
        say_note(f"warning: {warning}")
    say(msgspec.json.encode(found).decode() if as_json else f"\n{table(found)}")
    return STATUS[found.verdict]


def _form(text: str) -> tuple[Form, Path]:
    kind, sign, rest = text.partition("=")
    if sign and kind in FORMS and rest:
        return kind, Path(rest)
    form = _FORM_OF_SUFFIX.get(Path(text).suffix.lower())
    if form is None or (sign and kind.isalpha()):
        raise ConfigError(
            f"--output {text}: expected a file that ends in .html, .json, .csv or .xml, or {'|'.join(FORMS)}=FILE",
            param="output",
        )
    return form, Path(text)


def _earlier(baseline: str, phase: Phase) -> NamedRun:
    from paceline.measure.records.named_run import open_run  # noqa: PLC0415 - opens the store
    from paceline.measure.records.store import Store  # noqa: PLC0415

    return open_run(f"{baseline} {phase.part}" if phase.part else baseline, Store())


def _named(path: Path, phase: Phase) -> Path:
    """`report.html` of the phase peak is `report-peak.html`, when there are several."""
    if not phase.part:
        return path
    slug = re.sub(r"[^a-z0-9]+", "-", phase.part.lower()).strip("-")
    return path.with_name(f"{path.stem}-{slug}{path.suffix}")


def _in_store() -> Path:
    from paceline.measure.records.store import default_folder  # noqa: PLC0415

    return default_folder() / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(3)}.records"
