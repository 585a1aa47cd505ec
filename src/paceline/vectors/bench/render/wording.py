"""Words and cells that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paceline.base.figures import NONE, count, duration, interval, latency, level, number, rate, size
from paceline.vectors.bench.report import BenchReport, Changes, Held, Point, Precision, Result

Row = Sequence[str]
HELD_HEAD = ("", "index", "ef", "recall", "queries/s, one core", "beside ours", "p50", "p99")
SIZE_HEAD = ("", "held", "resident", "disk", "built in", "vectors/s")
CHANGES_HEAD = ("", "updates", "deletes", "recall after")
PRECISIONS_HEAD = ("", "re-scored on", "codes", "graph", "ef", "recall", "queries/s", "p50", "p99")
OURS = "paceline"


def headline(report: BenchReport) -> str:
    """The figure to be quoted: at the highest recall that ours held, beside the best other."""
    for target in sorted(report.settings.recalls, reverse=True):
        rows = dict(held_at(report, target))
        if not rows:
            continue
        ours = rows.pop(OURS, None)
        best = max(rows, key=lambda name: rows[name].qps, default="")
        if ours is None:
            return f"{best} is the quickest at recall >= {level(target)}: {rate(rows[best].qps)} on one core"
        told = f"{rate(ours.qps)} on one core at recall >= {level(target)}"
        return (
            f"{told}: {number(ours.qps / rows[best].qps)} times {best}, the best of {len(rows)} others"
            if rows
            else told
        )
    return f"{len(report.results)} measured, none of them in rounds at a recall that was asked for"


def about(report: BenchReport) -> list[tuple[str, str]]:
    """What the figures are of."""
    corpus, settings, host = report.corpus, report.settings, report.host
    return [
        ("vectors", f"{count(corpus.vectors)} of {corpus.dimensions} dimensions, {corpus.name}"),
        ("queries", f"{count(corpus.queries)}, {corpus.queries_from}; recall@{corpus.k} against brute force"),
        (
            "settings",
            (
                f"M {settings.m}, ef_construction {settings.ef_construction}, {settings.build_threads} threads to build, "
                f"{settings.rounds} rounds in turns, passes of {duration(settings.pass_s)} at most, seed {corpus.seed}"
            ),
        ),
        (
            "on",
            f"{host.hostname}: {host.cpu}, {host.cores} cores, {host.memory_bytes / 2**30:.1f} GiB; {host.system}",
        ),
        (
            "with",
            f"paceline {report.paceline}"
            + (f" ({report.commit})" if report.commit else "")
            + f", Python {host.python}",
        ),
        ("began", f"{report.made_at[:19].replace('T', ' ')} UTC, took {duration(report.seconds)}"),
    ]


def held_at(report: BenchReport, target: float) -> Iterator[tuple[str, Held]]:
    """Who held a recall, and how."""
    for result in report.results:
        for held in result.held:
            if held.target == target:
                yield result.name, held


def held_rows(report: BenchReport, target: float) -> list[Row]:
    """By queries a second, the quickest first."""
    rows = dict(held_at(report, target))
    index = {result.name: result.size.index if result.size else "" for result in report.results}
    ours = rows.get(OURS)
    return [
        (
            name,
            index[name],
            str(held.effort),
            f"{held.recall:.4f}",
            interval(held.qps, held.qps_low, held.qps_high, ""),
            NONE if ours is None else f"{number(held.qps / ours.qps)}x",
            latency(held.p50_ms),
            latency(held.p99_ms),
        )
        for name, held in sorted(rows.items(), key=lambda item: -item[1].qps)
    ]


def size_rows(report: BenchReport) -> list[Row]:
    """Bytes a vector, and the build."""
    return [_size_row(result) for result in report.results if result.size or result.build]


def _size_row(result: Result) -> Row:
    taken, build = result.size, result.build
    return (
        result.name,
        *(
            (NONE,) * 3
            if taken is None
            else map(size, (taken.held_bytes, taken.resident_bytes, taken.disk_bytes))
        ),
        *((NONE,) * 2 if build is None else (duration(build.seconds), rate(build.vectors_per_s))),
    )


def changes_rows(report: BenchReport) -> list[Row]:
    """Updates and deletes of those that can."""
    return [
        (result.name, *_changes(result.changes))
        for result in report.results
        if result.changes is not None and not result.changes.reason
    ]


def _changes(changes: Changes) -> Row:
    after = NONE if changes.recall_after is None else f"{changes.recall_after:.4f} at ef {changes.effort}"
    return (rate(changes.updates_per_s), rate(changes.deletes_per_s), after)


def precision_rows(report: BenchReport) -> list[Row]:
    """A line for each precision and ef."""
    return [row for one in report.precisions for row in _precision_rows(one)]


def _precision_rows(one: Precision) -> Iterator[Row]:
    for number_, point in enumerate(one.levels):
        first = (one.precision, one.rescored_on or NONE, size(one.code_bytes), size(one.graph_bytes))
        yield (
            *(first if number_ == 0 else ("",) * 4),
            str(point.effort),
            f"{point.recall:.4f}",
            rate(point.qps),
            latency(point.p50_ms),
            latency(point.p99_ms),
        )


def _rests_on(report: BenchReport, result: Result) -> Iterator[str]:
    """Where its figures are of some queries only: time was up."""
    parts: tuple[tuple[str, Sequence[Point | Held]], ...] = (
        ("the rounds", result.held),
        ("the curve", result.curve),
    )
    for part, measured in parts:
        asked = [one.queries for one in measured if one.queries]
        alone = [one.single_queries for one in measured if one.single_queries]
        some = [f"{count(min(asked))} queries in one call"] if asked else []
        some += (
            [f"{count(min(alone))} one by one" if asked else f"{count(min(alone))} queries one by one"]
            if alone
            else []
        )
        if some:
            whole = count(report.corpus.queries)
            yield f"{result.name} answered {' and '.join(some)}, at least, of {whole} in {part}: its time was up."
    if result.changes is not None and result.changes.queries:
        yield f"{result.name} answered {count(result.changes.queries)} queries after the changes: its time was up."


def notes(report: BenchReport) -> list[str]:
    """What is missing from the tables, and why."""
    told = ["Ctrl-C ended the run before its end."] if report.interrupted else []
    told += [f"{result.name} failed: {result.failed}" for result in report.results if result.failed]
    for result in report.results:
        if result.missed:
            highest = max((point.recall for point in result.curve), default=0.0)
            wanted = " and ".join(level(target) for target in result.missed)
            told.append(f"{result.name} does not reach recall {wanted}; {highest:.4f} at most.")
        told += _rests_on(report, result)
        if result.changes is not None and result.changes.reason:
            told.append(f"{result.name} is not among the changes: {result.changes.reason}.")
    kept = [result.name for result in report.results if result.build is not None and result.build.was_kept]
    if kept:
        told.append(f"Built by an earlier run: {', '.join(kept)}.")
    if report.absent:
        installs = dict.fromkeys(one.install for one in report.absent)
        told.append(f"Not installed: {', '.join(one.name for one in report.absent)} ({'; '.join(installs)}).")
    return told
