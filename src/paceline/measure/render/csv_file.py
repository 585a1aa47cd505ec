"""The report as CSV: what happened step by step, or the result in one row for the run and one for each stage.

Units stand in the column names. An empty cell was not measured. Of a run that is INVALID every latency is empty.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from paceline.base.errors import ConfigError
from paceline.measure.report import Distribution, Estimate, LoadReport, StageResult

Rows = Literal["series", "summary"]
Cell = str | int | float | None
Row = dict[str, Cell]

QUANTILES = ("p50", "p90", "p95", "p99", "p99.9")


def write(report: LoadReport, path: Path, rows: Rows = "series") -> None:
    """Write `render(report, rows)` to `path`. Raises ConfigError when the file cannot be written."""
    try:
        path.write_text(render(report, rows), encoding="utf-8", newline="")
    except OSError as error:
        message = (
            f"cannot write {path}: {error.strerror or error}; name a file in a folder that can be written"
        )
        raise ConfigError(message, param="output") from error


def render(report: LoadReport, rows: Rows = "series") -> str:
    """CSV with a head; lines end with a line feed. `series` has one row a step of the run, `summary` one a run and stage.

    series: at_s (start of the step), step_s, stage, offered_per_s, done_per_s, failed_per_s, in_flight, p50_ms, p95_ms,
    p99_ms, and of the server, as it was last seen in the step: server_cpu_percent, server_memory_bytes,
    server_open_files, server_queue_depth.

    summary: what the row is about (run_id, name, part, made_at, url, validity, slo_state), then counts, rates and
    latencies with the ends of their 95 % intervals. `part` is `run`, then the name of each of several stages; those have no
    intervals.
    """
    found = list(_series(report) if rows == "series" else _summary(report))
    text = io.StringIO()
    names = list(dict.fromkeys(chain.from_iterable(found))) or list(SERIES)
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in found)
    return text.getvalue()


SERIES = (
    "at_s",
    "step_s",
    "stage",
    "offered_per_s",
    "done_per_s",
    "failed_per_s",
    "in_flight",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "server_cpu_percent",
    "server_memory_bytes",
    "server_open_files",
    "server_queue_depth",
)


def _series(report: LoadReport) -> Iterator[Row]:
    series = report.series
    timed = report.validity.state != "INVALID"
    stage_of, seen_at = _stage_finder(report.stages), _server_finder(report)
    for index, at_s in enumerate(series.at_s):
        cells: tuple[Cell, ...] = (
            at_s,
            series.step_s,
            stage_of(at_s),
            series.offered_per_s[index],
            series.done_per_s[index],
            series.failed_per_s[index],
            series.in_flight[index],
            *(
                (quantile[index] if timed else None)
                for quantile in (series.p50_ms, series.p95_ms, series.p99_ms)
            ),
            *seen_at(at_s, at_s + series.step_s),
        )
        yield dict(zip(SERIES, cells, strict=True))


def _stage_finder(stages: Sequence[StageResult]) -> Callable[[float], str]:
    """The name of the stage in which a moment lies; the last one also has what comes after it."""
    ends = [stage.end_s for stage in stages[:-1]]
    names = [stage.name or f"stage {number}" for number, stage in enumerate(stages, 1)]

    def stage_of(at_s: float) -> str:
        return names[bisect_left(ends, at_s + 1e-9)] if names else ""

    return stage_of


def _server_finder(report: LoadReport) -> Callable[[float, float], tuple[Cell, Cell, Cell, Cell]]:
    """The last sample of the server in [from_s, to_s)."""
    server = report.server

    def seen_at(from_s: float, to_s: float) -> tuple[Cell, Cell, Cell, Cell]:
        last = bisect_left(server.at_s, to_s) - 1 if server else -1
        if server is None or last < 0 or server.at_s[last] < from_s:
            return None, None, None, None
        return (
            server.cpu_percent[last],
            server.memory_bytes[last],
            server.open_files[last],
            server.queue_depth[last],
        )

    return seen_at


def _summary(report: LoadReport) -> Iterator[Row]:
    timed = report.validity.state != "INVALID"
    about: Row = {
        "run_id": report.run_id,
        "name": report.plan.name,
        "part": "run",
        "made_at": report.made_at,
        "url": report.plan.target.url,
        "validity": report.validity.state,
        "slo_state": report.slo_state if timed else "unknown",
    }
    yield {
        **about,
        "start_s": 0.0,
        "end_s": report.duration_s,
        "warmup_s": report.warmup_s,
        "sent": report.sent,
        "done": report.done,
        "failed": report.failed,
        "offered_per_s": report.offered_per_s,
        **_estimate("done_per_s", report.done_per_s, known=timed),
        "goodput_percent": report.goodput_percent if timed else None,
        **_distribution("", report.latency_ms, known=timed),
        **_distribution("service_", report.service_ms, known=timed),
        **_streaming(report, known=timed),
        **(
            {}
            if report.capacity is None
            else _estimate("capacity_per_s", report.capacity.rate_per_s, known=timed)
        ),
    }
    for number, stage in enumerate(report.stages if len(report.stages) > 1 else [], 1):
        yield {
            **about,
            "part": stage.name or f"stage {number}",
            "slo_state": None,
            "start_s": stage.start_s,
            "end_s": stage.end_s,
            "sent": stage.sent,
            "done": stage.done,
            "failed": stage.failed,
            "done_per_s": stage.done_per_s,
            **({"p50_ms": stage.p50_ms, "p95_ms": stage.p95_ms, "p99_ms": stage.p99_ms} if timed else {}),
        }


def _streaming(report: LoadReport, *, known: bool) -> Row:
    found = report.streaming
    if found is None:
        return {}
    return {
        **_distribution("ttft_", found.ttft_ms, known=known),
        **_distribution("tpot_", found.tpot_ms, known=known),
        **_distribution("itl_", found.itl_ms, known=known),
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
        "completion_tokens_per_s": found.completion_tokens_per_s if known else None,
    }


def _distribution(prefix: str, found: Distribution, *, known: bool) -> Row:
    row = _estimate(f"{prefix}mean_ms", found.mean, known=known)
    for name in QUANTILES:
        row |= _estimate(f"{prefix}{name}_ms", found.quantiles.get(name, Estimate()), known=known)
    return {**row, f"{prefix}max_ms": found.max if known else None}


def _estimate(name: str, found: Estimate, *, known: bool) -> Row:
    """`p95_ms`, `p95_low_ms`, `p95_high_ms`."""
    unit = "_per_s" if name.endswith("_per_s") else "_ms"
    stem = name.removesuffix(unit)
    ends = (found.value, found.low, found.high) if known else (None, None, None)
    return dict(zip((name, f"{stem}_low{unit}", f"{stem}_high{unit}"), ends, strict=True))


def _cell(value: Cell) -> Cell:
    """Nine significant digits: more than was measured, and no 0.30000000000000004."""
    return float(f"{value:.9g}") if isinstance(value, float) else value
