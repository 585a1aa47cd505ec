"""`paceline report`: a run shown again, from its records or from the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.cli.console import say, say_note

if TYPE_CHECKING:
    from paceline.measure.report import LoadReport

command = App(
    name="report",
    help_epilogue="Examples:\n\n"
    "    paceline report last                          the latest run\n"
    "    paceline report broken-off.records            what a killed run had written\n"
    "    paceline report last --html report.html --junit junit.xml\n"
    "    paceline report last --json -",
)

_Path = Parameter(allow_leading_hyphen=True)


@command.default
def report(
    run: Annotated[str, Parameter(help="Id, name, last, last~1, records file or JSON report.")],
    /,
    *,
    html: Annotated[Path | None, Parameter(help="Write a page with charts.")] = None,
    json: Annotated[
        Path | None, _Path, Parameter(help="Write JSON; - prints it instead of the tables.")
    ] = None,
    csv: Annotated[Path | None, Parameter(help="Write what happened second by second.")] = None,
    junit: Annotated[Path | None, Parameter(help="Write the objectives as tests, for CI.")] = None,
) -> None:
    """Show a run again, and write its report in other forms.

    A records file is summarised anew, also one of a run that was broken off.
    """
    from paceline.measure.records.named_run import open_run  # noqa: PLC0415 - `--help` does without
    from paceline.measure.records.store import Store  # noqa: PLC0415

    named = open_run(run, Store())
    printed = json is not None and str(json) == "-"
    wanted = (
        ("html", html, _html),
        ("json", None if printed else json, _json),
        ("csv", csv, _csv),
        ("junit", junit, _junit),
    )
    for option, path, render in wanted:
        if path is not None:
            _write(option, path, render(named.report))
    if printed:
        say(_json(named.report))
        return
    from paceline.measure.render.terminal import show  # noqa: PLC0415

    show(named.report, files={"records": named.records} if named.records else {})


def _write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(
            f"--{option} {path} cannot be written: {error.strerror or error}; name a file in a folder that can be written",
            param=option,
        ) from error
    say_note(f"wrote {path}")


def _html(found: LoadReport) -> str:
    from paceline.measure.render.page import render  # noqa: PLC0415

    return render(found)


def _json(found: LoadReport) -> str:
    from paceline.measure.report import encode  # noqa: PLC0415

    return encode(found).decode()


def _csv(found: LoadReport) -> str:
    from paceline.measure.render.csv_file import render  # noqa: PLC0415

    return render(found)


def _junit(found: LoadReport) -> str:
    from paceline.measure.render.junit import render  # noqa: PLC0415

    return render(found)
