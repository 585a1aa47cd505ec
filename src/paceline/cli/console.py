"""What goes to the terminal: results on standard output, everything about them on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def say(text: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{text}\n")


def say_note(text: str) -> None:
    """Print a line about the result."""
    sys.stderr.write(f"paceline: {text}\n")


def say_error(text: str) -> None:
    """Print an error, as one line whatever it holds."""
    say_note(f"error: {' '.join(text.split())}")


@contextmanager
def progress(
    title: str, total: int, *, shown: bool = True, unit: str = ""
) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs, if that is a terminal; the block is given `advance(steps)`.

    With a `unit`, such as "records", it tells their rate too.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda _steps: None
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that most calls need not spend
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} {unit}/s")

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    if unit:
        columns.insert(3, Rate())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)
