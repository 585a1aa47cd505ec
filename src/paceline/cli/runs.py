"""`paceline runs`: the runs that are kept on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.cli.console import say, say_note

if TYPE_CHECKING:
    from paceline.measure.records.store import StoredRun

command = App(
    name="runs",
    help_epilogue="Examples:\n\n"
    "    paceline runs                    the latest 20\n"
    "    paceline runs --limit 0 --json   all, for programs\n"
    "    paceline runs rm 20260314-10     one, by the beginning of its id\n"
    "    paceline runs prune --keep 50    all but the latest 50\n\n"
    "They lie in the folder PACELINE_RUNS, by default ~/.local/share/paceline/runs. Removing a run removes its records "
    "too, unless they were put elsewhere.",
)


@command.default
def runs(
    *,
    limit: Annotated[int, Parameter(help="How many; 0 lists all.")] = 20,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON.")] = False,
) -> None:
    """List the runs that are kept, the latest first."""
    if limit < 0:
        raise ConfigError(f"--limit {limit}: expected 0 or more", param="limit")
    from paceline.measure.records.store import Store  # noqa: PLC0415 - `--help` does without

    store = Store()
    found = store.runs(limit or None)
    if json:
        say(msgspec.json.encode(found).decode())
    elif not found:
        say_note(f"no runs in {store.folder}; `paceline measure` makes one")
    else:
        say(table(found))
    for path in store.without_report():
        say_note(f"{path} has no report: still running, or broken off; paceline report {path} shows it")


@command.command
def rm(*run: Annotated[str, Parameter(help="Ids, their beginnings, names, last or last~1.")]) -> None:
    """Remove runs and their records."""
    if not run:
        raise ConfigError("no run named; `paceline runs` lists them", param="run")
    from paceline.measure.records.store import Store  # noqa: PLC0415

    store = Store()
    # All are looked up first: `rm last last~1` means two runs, and a wrong name removes none.
    for run_id in dict.fromkeys(store.find(which).run_id for which in run):
        store.remove(run_id)
        say_note(f"removed {run_id}")


@command.command
def prune(*, keep: Annotated[int, Parameter(help="How many of the latest runs stay.")]) -> None:
    """Remove all but the latest runs."""
    from paceline.measure.records.store import Store  # noqa: PLC0415

    say_note(f"removed {len(Store().prune(keep))} runs")


def table(found: list[StoredRun]) -> str:
    """One line a run. Of an INVALID run no percentile is shown."""
    from paceline.base.figures import latency, percent, rate  # noqa: PLC0415

    rows = [("id", "name", "began", "rate", "p50", "p95", "errors", "validity", "url")]
    for run in found:
        valid = run.validity != "INVALID"
        rows.append(
            (
                run.run_id,
                run.name,
                run.made_at[:16].replace("T", " "),
                rate(run.done_per_s if valid else None),
                latency(run.p50_ms if valid else None),
                latency(run.p95_ms if valid else None),
                percent(run.error_percent),
                run.validity if run.ended == "complete" else f"{run.validity}, {run.ended.replace('_', ' ')}",
                run.url,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            (str.rjust if 3 <= place <= 6 else str.ljust)(cell, width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
