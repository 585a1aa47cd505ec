"""The page of a run: one HTML file that needs nothing from elsewhere; the same text for the same report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from importlib.resources import files
from typing import Final

from paceline.base.figures import count, duration, latency, level, rate, size
from paceline.base.page.figure import HALF, WIDE, figure
from paceline.base.page.frame import frame
from paceline.base.page.marks import facts, icon, section, table, typeset
from paceline.base.page.svg import tag
from paceline.base.slo import State
from paceline.vectors.bench.curve import rising
from paceline.vectors.bench.render import wording
from paceline.vectors.bench.render.bars import Bar, bars
from paceline.vectors.bench.render.recall_lines import Dot, Line, recall_lines
from paceline.vectors.bench.report import BenchReport, Point, Result

_COLOURS: Final = 15
_RECALL_TOLD: Final = (
    "Each dot is one ef, on one core. The scale of recall stretches towards 1: a tenth of the misses is always as far. "
    "Ours is the thick line, libraries are dashed, products dotted."
)


def render(report: BenchReport) -> str:
    """The whole page."""
    return frame(
        f"Vectors bench of {report.corpus.name}",
        head=_head(report),
        main=filter(
            None,
            (
                _verdict(report),
                *(_held(report, target) for target in sorted(report.settings.recalls, reverse=True)),
                _curves(report),
                _sizes(report),
                _table("Updates and deletes", wording.CHANGES_HEAD, wording.changes_rows(report), (1, 2, 3)),
                _table(
                    "Precisions of ours, on one graph",
                    wording.PRECISIONS_HEAD,
                    wording.precision_rows(report),
                    range(2, 9),
                ),
                _notes(report),
            ),
        ),
        foot=f"paceline {report.paceline}, {report.schema}",
        style=files("paceline.vectors.bench.render").joinpath("style.css").read_text("utf-8"),
    )


def _head(report: BenchReport) -> str:
    return tag(
        "header",
        tag("p", "Vectors bench", class_="over"),
        tag("h1", typeset(f"{count(report.corpus.vectors)} vectors, {len(report.results)} contestants")),
        tag("p", escape(report.corpus.name), class_="target"),
        facts(wording.about(report)),
    )


def _verdict(report: BenchReport) -> str:
    state: State = "warning" if report.interrupted or any(one.failed for one in report.results) else "ok"
    word = "Interrupted" if report.interrupted else "Measured"
    text = tag(
        "div",
        tag("p", tag("span", word), class_="word"),
        tag("h2", typeset(wording.headline(report)), class_="headline"),
    )
    return tag("section", icon(state), text, class_=f"verdict {state}", aria_label="Verdict")


def _held(report: BenchReport, target: float) -> str:
    title = f"Quickest at recall {level(target)} or more"
    return _table(title, wording.HELD_HEAD, wording.held_rows(report, target), range(2, 8))


def _table(title: str, head: Sequence[str], rows: Sequence[wording.Row], numbers: Sequence[int]) -> str:
    if not rows:
        return ""
    cells = [[typeset(cell) for cell in row] for row in rows]
    return section(title, table(title, ["contestant", *head[1:]], cells, numbers=numbers))


def _curves(report: BenchReport) -> str:
    """Both over recall, side by side in meaning, one below the other on the page."""
    drawn = [
        _curve(report, "Recall against queries a second", "queries/s", lambda point: point.qps, 1.0),
        _curve(report, "Recall against p99", "p99, ms", lambda point: point.p99_ms, 1.0),
    ]
    return section("What recall costs", *drawn)


def _curve(report: BenchReport, title: str, axis: str, value: Callable[[Point], float], by: float) -> str:
    lines = [
        Line(
            result.name,
            _kind(number, result),
            [Dot(point.recall, value(point), _words(result, point)) for point in rising(result.curve)],
        )
        for number, result in enumerate(report.results)
    ]
    return figure(title, _RECALL_TOLD, lambda width: recall_lines(lines, axis, by, width), WIDE)


def _kind(number: int, result: Result) -> str:
    return f"{result.family} s{number % _COLOURS}"


def _words(result: Result, point: Point) -> str:
    return (
        f"{result.name}, ef {point.effort}: recall {point.recall:.4f}, {rate(point.qps)}, "
        f"p50 {latency(point.p50_ms)}, p99 {latency(point.p99_ms)}"
    )


def _sizes(report: BenchReport) -> str:
    """Memory and build, as bars and as a table."""
    memory, built = [], []
    for number, result in enumerate(report.results):
        kind = _kind(number, result)
        if result.size is not None:
            held, resident = result.size.held_bytes, result.size.resident_bytes
            told = (
                f"; resident {size(resident)}"
                if held is not None
                else " resident; it does not tell what it holds"
            )
            value = resident if held is None else held
            memory.append(
                Bar(result.name, kind, max(0.0, value), size(value), None if held is None else resident, told)
            )
        if result.build is not None:
            seconds = result.build.seconds
            built.append(
                Bar(
                    result.name,
                    kind,
                    seconds,
                    duration(seconds),
                    None,
                    f", {rate(result.build.vectors_per_s)}",
                )
            )
    pair = [
        figure(
            "Bytes a vector",
            "Codes and graph that searches go through, or, where that is not told, resident memory. The stroke is resident "
            "memory after every query was searched once.",
            partial(bars, memory, "bytes a vector"),
            HALF,
        ),
        figure(
            "Build",
            "From vectors in memory to an index in a folder.",
            partial(bars, built, "seconds"),
            HALF,
        ),
    ]
    rows = wording.size_rows(report)
    cells = [[typeset(cell) for cell in row] for row in rows]
    shown = table("Memory, disk, build", ["contestant", *wording.SIZE_HEAD[1:]], cells, numbers=range(1, 6))
    return section(
        "Memory and build",
        tag("div", *filter(None, pair), class_="pair") if any(pair) else "",
        shown if rows else "",
    )


def _notes(report: BenchReport) -> str:
    versions = (
        (result.name, f"{result.version}; {result.size.index}" if result.size else result.version)
        for result in report.results
    )
    told = wording.notes(report)
    return section(
        "Who, and what is missing",
        tag("ul", *(tag("li", typeset(words)) for words in told), class_="notes") if told else "",
        facts(versions),
    )
