"""A tune while it goes on, on standard error: a bar on a terminal, one line for each finished step anywhere else.

Standard output is for results. No thread draws: the calls of the pipeline do, so that nothing takes time from a run in
between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from paceline.base.clock import Clock, monotonic
from paceline.base.figures import clock, count, duration
from paceline.base.terminal import printable
from paceline.tune.watcher import Watcher

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REDRAW_S = 0.09
"""What advances sooner than this after the last picture is not drawn: 10 Hz with room for jitter."""
NAME = 14
"""Columns of the names of phases."""


@contextmanager
def watching(stream: TextIO | None = None, *, now: Clock = monotonic) -> Iterator[Watcher]:
    """Yield what the pipeline tells of its progress; the bar is gone when the block ends, finished steps stay."""
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that `--help` need not spend

    stream = stream or sys.stderr
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield LineWatcher(stream, now)
        return
    watcher = TerminalWatcher(console, now)
    try:
        yield watcher
    finally:
        watcher.close()


class LineWatcher:
    """`1:07  verify: max_size=8 p95 24.1 ms`: when, in which phase, what came out."""

    def __init__(self, stream: TextIO, now: Clock = monotonic) -> None:
        self._stream, self._now, self._began, self._phase = stream, now, now(), ""

    def phase(self, name: str, total: int | None) -> None:
        """A line says what has begun."""
        self._phase = name
        self._write(name if total is None else f"{name}: {count(total)} to do")

    def step(self, text: str) -> None:
        """A line says what came out."""
        self._write(f"{self._phase}: {text}" if self._phase else text)

    def advance(self, n: int = 1) -> None:
        """Parts of a step have no line."""

    def note(self, text: str) -> None:
        """A line of its own."""
        self._write(f"note: {text}")

    def _write(self, words: str) -> None:
        self._stream.write(f"{clock(self._now() - self._began)}  {printable(words).plain}\n")
        self._stream.flush()


class TerminalWatcher:
    """The phase that runs has a bar; above it stay the phases that are over, with what came out of them."""

    def __init__(self, console: Console, now: Clock = monotonic) -> None:
        from rich.live import Live  # noqa: PLC0415

        self._now, self._phase = now, ""
        self._total: int | None = None
        self._done = 0
        self._phase_began = self._drawn_at = now()
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._live.start()

    def phase(self, name: str, total: int | None) -> None:
        """The bar begins anew; how long the phase before took stays."""
        self._end_phase()
        self._phase, self._total, self._done = name, total, 0
        self._phase_began = self._now()
        self._draw()

    def step(self, text: str) -> None:
        """What came out stays above the bar."""
        self._print("", text, "")
        self._draw()

    def advance(self, n: int = 1) -> None:
        """The bar grows, at most ten times a second."""
        self._done += n
        if self._now() - self._drawn_at >= REDRAW_S or self._done == self._total:
            self._draw()

    def note(self, text: str) -> None:
        """Stays above the bar, in colour."""
        self._print("note", text, "yellow")
        self._draw()

    def close(self) -> None:
        """The last phase is over and the bar goes."""
        self._end_phase()
        self._phase = ""
        self._live.update("", refresh=True)
        self._live.stop()

    def _end_phase(self) -> None:
        if self._phase:
            self._print(self._phase, duration(self._now() - self._phase_began), "dim")

    def _print(self, name: str, text: str, style: str) -> None:
        self._live.console.print(printable(f"{name:{NAME}}  {text}", style=style), soft_wrap=True)

    def _draw(self) -> None:
        self._drawn_at = self._now()
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        """One line: the phase, its bar, how much of it is done, how long it has run."""
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(min_width=NAME, no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True, min_width=5)
        share = 100 * self._done / self._total if self._total else 0.0
        bar = ProgressBar(completed=min(share, 100.0), complete_style="cyan", finished_style="cyan")
        done = f"{count(self._done)} of {count(self._total)}" if self._total else ""
        grid.add_row(printable(self._phase), bar, done, clock(self._now() - self._phase_began))
        return grid
