"""A run while it goes on, on standard error: a still picture on a terminal, now and then a line anywhere else.

Standard output is for results. No thread draws: the caller's own progress does, so that nothing takes time from the generator in between.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from paceline.base.figures import NONE, against, clock, count, latency, rate
from paceline.base.slo import STATES
from paceline.measure.plan import Plan
from paceline.measure.progress import Progress
from paceline.measure.render import wording

if TYPE_CHECKING:
    from rich.console import RenderableType

EVERY_S = 5
"""Seconds of the run between two plain lines."""
REDRAW_S = 0.09
"""Progress that comes sooner than this after the last is not drawn: 10 Hz with room for jitter."""
LATE_MS = 1.0
"""Lag of the generator that a plain line mentions; at this the run is no longer valid."""

OnProgress = Callable[[Progress], None]


@contextmanager
def live(plan: Plan, *, stream: TextIO | None = None) -> Iterator[OnProgress]:
    """Yield what to call with each moment of the run; the picture is gone when the block ends."""
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that `--help` need not spend

    stream = stream or sys.stderr
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal or console.is_dumb_terminal:
        stream.write(f"measuring {plan.target.url}: {wording.load(plan.load)}\n")
        yield _lines(stream)
        return
    from rich.live import Live  # noqa: PLC0415

    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as screen:
        drawn_at = -1.0

        def on_progress(now: Progress) -> None:
            nonlocal drawn_at
            if 0 <= now.elapsed_s - drawn_at < REDRAW_S:
                return
            drawn_at = now.elapsed_s
            screen.update(picture(plan, now), refresh=True)

        yield on_progress


def _lines(stream: TextIO) -> OnProgress:
    next_at = last_at = 0.0

    def on_progress(now: Progress) -> None:
        nonlocal next_at, last_at
        if now.elapsed_s < last_at or not next_at:
            # The first moment, or a search has begun its next probe.
            next_at = EVERY_S
        last_at = now.elapsed_s
        if now.elapsed_s >= next_at:
            next_at = (now.elapsed_s // EVERY_S + 1) * EVERY_S
            stream.write(f"{line(now)}\n")
            stream.flush()

    return on_progress


def line(now: Progress) -> str:
    """`  5s  rate 412/s  p50 12.1 ms  p95 30.2 ms  p99 51.0 ms  errors 0  in flight 9`: of the last second."""
    parts = [
        f"{round(now.elapsed_s):3d}s",
        f"rate {rate(now.done_per_s)}",
        f"p50 {latency(now.recent_p50_ms)}",
        f"p95 {latency(now.recent_p95_ms)}",
        f"p99 {latency(now.recent_p99_ms)}",
        f"errors {_errors(now)}",
        f"in flight {count(now.in_flight)}",
    ]
    if now.tokens_per_s is not None:
        parts.append(f"tokens {rate(now.tokens_per_s)}")
    if now.lag_p99_ms is not None and now.lag_p99_ms > LATE_MS:
        parts.append(f"generator late by {latency(now.lag_p99_ms)}")
    parts.extend(filter(None, (now.phase, now.note)))
    return "  ".join(parts)


def share_done(now: Progress) -> float | None:
    """Of the run, 0 to 1, by time or else by requests; None when neither is known."""
    if now.total_s:
        return min(1.0, now.elapsed_s / now.total_s)
    if now.scheduled:
        return min(1.0, (now.done + now.failed) / now.scheduled)
    return None


def left_s(now: Progress) -> float | None:
    """Seconds to the end of the schedule, or to the last request at the rate of the last second."""
    if now.total_s:
        return max(0.0, now.total_s - now.elapsed_s)
    if now.scheduled and now.done_per_s:
        return max(0.0, (now.scheduled - now.done - now.failed) / now.done_per_s)
    return None


def _errors(now: Progress) -> str:
    kinds = sorted(now.failures.items(), key=lambda pair: -pair[1])
    named = ", ".join(f"{kind} {count(many)}" for kind, many in kinds)
    return f"{count(now.failed)} ({named})" if named else count(now.failed)


def picture(plan: Plan, now: Progress) -> RenderableType:
    """At most 21 lines: it fits a terminal of 24, and its height changes only with the number of objectives."""
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    title = (
        Text(no_wrap=True, overflow="ellipsis")
        .append(plan.name, "bold")
        .append(f"  {plan.target.url}", "dim")
    )
    parts: list[RenderableType] = [title, _bar(now), "", _state(now), "", _latencies(now)]
    if now.slo:
        parts += ["", _objectives(now)]
    return Group(*parts)


def _bar(now: Progress) -> RenderableType:
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    share, left = share_done(now), left_s(now)
    remaining = f"{clock(now.elapsed_s)} gone" if left is None else f"{clock(left)} left"
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True, min_width=9)
    bar = ProgressBar(completed=100 * (share or 0), complete_style="cyan", finished_style="cyan")
    grid.add_row(bar, NONE if share is None else f"{100 * share:3.0f} %", remaining)
    return grid


def _state(now: Progress) -> RenderableType:
    offered = "" if now.offered_per_s is None else f" of {rate(now.offered_per_s)} offered"
    phase = "awaiting the last answers" if now.phase == "drain" else now.phase
    rows = [
        ("phase", ", ".join(filter(None, (phase, now.note))) or NONE, ""),
        ("rate", f"{rate(now.done_per_s)}{offered}", ""),
        ("in flight", count(now.in_flight), ""),
        ("errors", _errors(now), "red" if now.failed else ""),
        (
            "generator",
            f"late by {latency(now.lag_p99_ms)} at p99",
            "red" if (now.lag_p99_ms or 0) > LATE_MS else "",
        ),
    ]
    if now.tokens_per_s is not None:
        rows.insert(2, ("tokens", rate(now.tokens_per_s), ""))
    return _grid(rows)


def _latencies(now: Progress) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", min_width=9, style="dim")
    table.add_column("last second", justify="right", min_width=11)
    table.add_column("whole run", justify="right", min_width=11)
    table.add_row("p50", latency(now.recent_p50_ms), latency(now.p50_ms))
    table.add_row("p95", latency(now.recent_p95_ms), latency(now.p95_ms))
    table.add_row("p99", latency(now.recent_p99_ms), latency(now.p99_ms))
    return table


def _objectives(now: Progress) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("objective", no_wrap=True, overflow="ellipsis", min_width=9)
    table.add_column("measured", justify="right", no_wrap=True, min_width=9)
    table.add_column("target", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for row in now.slo:
        state = STATES[row.state]
        table.add_row(
            row.label,
            against(row.value, None, None, row.critical if row.state == "critical" else row.target, row.unit),
            wording.bound(row, row.target),
            Text(state, style=wording.COLOURS.get(state, "dim")),
        )
    return table


def _grid(rows: list[tuple[str, str, str]]) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="dim", min_width=9)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for label, value, style in rows:
        grid.add_row(label, Text(value, style=style))
    return grid
