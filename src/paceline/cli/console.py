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
def progress(title: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs, if that is a terminal; the block is given `advance(steps)`."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _steps: None
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that most calls need not spend
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)
