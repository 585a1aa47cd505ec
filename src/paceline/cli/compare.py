"""`paceline compare`: whether one run was faster than another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.cli.console import say, say_note

if TYPE_CHECKING:
    from paceline.measure.comparison.change import Change
    from paceline.measure.comparison.compare import Comparison, Side

command = App(
    name="compare",
    help_epilogue="Examples:\n\n"
    "    paceline compare last~1 last               the two latest runs\n"
    "    paceline compare release last --margin 2%  the latest run named release\n"
    "    paceline compare old.records new.json      records, or reports as JSON\n\n"
    "Exit status: 0 equivalent or faster, 1 slower, 4 inconclusive, 2 wrong usage.",
)

STATUS = {"equivalent": 0, "faster": 0, "slower": 1, "inconclusive": 4}

_Flag = Parameter(negative="", show_default=False)


@command.default
def compare(
    a: Annotated[str, Parameter(help="The baseline: id, name, last, last~1, records file or JSON report.")],
    b: Annotated[str, Parameter(help="The run to judge, named in the same ways.")],
    /,
    *,
    margin: Annotated[
        str, Parameter(help="A difference within this share of the baseline does not matter.")
    ] = "5%",
    json: Annotated[bool, _Flag, Parameter(help="Print JSON.")] = False,
    force: Annotated[bool, _Flag, Parameter(help="Compare runs that are INVALID too.")] = False,
) -> int:
    """Compare run B with the baseline A: differences with 95 % intervals, and a verdict.

    Runs of the same seed and load are paired request by request, which shows smaller differences.
    """
    from paceline.measure.comparison import compare as comparing  # noqa: PLC0415 - `--help` does without
    from paceline.measure.records.named_run import open_run  # noqa: PLC0415
    from paceline.measure.records.store import Store  # noqa: PLC0415

    store = Store()
    found = comparing.compare(open_run(a, store), open_run(b, store), margin=share(margin), force=force)
    for warning in found.warnings:
        say_note(f"warning: {warning}")
    say(msgspec.json.encode(found).decode() if json else table(found))
    return STATUS[found.verdict]


def share(text: str) -> float:
    """`5%` or `0.05`. Raises ConfigError for anything that is not from 0 to below 100 %."""
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if rest or not 0 <= value < 1:
        raise ConfigError(
            f"--margin {text}: expected a share from 0 to below 1, as 5% or 0.05", param="margin"
        )
    return value


def table(found: Comparison) -> str:
    """For people: both runs, every difference, and the verdict last."""
    head = ("", "A", "B", "change", "95 % interval", "smallest seen", "verdict")
    rows = [head, *map(_row, found.changes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            (str.ljust if place in {0, 6} else str.rjust)(cell, width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(
        [
            *(f"{name}  {_about(side)}" for name, side in (("A", found.a), ("B", found.b))),
            f"{_method(found)}; differences within {100 * found.margin:g} % do not matter",
            "",
            *lines,
            "",
            f"{found.verdict}: {found.because}",
        ]
    )


def _about(side: Side) -> str:
    return f"{side.run_id}  {side.name}  {side.url}  {side.made_at}  on {side.hostname}  {side.validity}"


def _method(found: Comparison) -> str:
    if found.method == "paired":
        return f"{found.pairs:,} pairs of the same request"
    return {
        "unpaired": "requests of two different schedules, not paired",
        "intervals": "no records of both runs, so from their intervals",
    }[found.method]


def _row(change: Change) -> tuple[str, ...]:
    from paceline.base.figures import NONE, measured  # noqa: PLC0415

    points = change.unit == "%"
    shown = change.difference if points or change.relative.value is None else change.relative
    unit = " points" if points else " %" if shown is change.relative else f" {change.unit}"
    scale = 100 if shown is change.relative else 1

    def part(amount: float) -> str:
        return f"{scale * amount:+z.{2 if points else 1}f}{unit}"

    seen = change.detectable
    if seen is not None and shown is change.relative and change.a:
        seen /= change.a

    bounds = NONE if shown.low is None or shown.high is None else f"{part(shown.low)} to {part(shown.high)}"
    word = change.verdict if change.unit == "ms" else _WORSE.get(change.verdict, change.verdict)
    return (
        change.label,
        measured(change.a, change.unit),
        measured(change.b, change.unit),
        NONE if shown.value is None else part(shown.value),
        bounds,
        NONE if seen is None else part(seen).lstrip("+"),
        f"{word} ({shown.reason})" if shown.reason else word,
    )


_WORSE = {"faster": "better", "slower": "worse"}
"""What is not a time is not slow."""
