"""Each stage of the load on its own: what was asked in it and what came back for that."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise

from paceline.measure.analysis.distribution import typical, typical_of
from paceline.measure.records.histogram import Histogram
from paceline.measure.records.record import Columns, Header, Second
from paceline.measure.report import StageResult

Shown = list[float | None]


def stages_of_rows(header: Header, columns: Columns, warmup_ns: int, end_s: float) -> list[StageResult]:
    """A request belongs to the stage in which it was due; percentiles leave out what came before `warmup_ns`."""
    number = len(header.stage_ends_s)
    values = [array("d") for _ in range(number)]
    sent, done, failed = [0] * number, [0] * number, [0] * number
    for stage, intended, started, ended, failure in zip(
        columns.stage, columns.intended_ns, columns.sent_ns, columns.last_ns, columns.failure, strict=True
    ):
        place = min(stage, number - 1)
        sent[place] += started >= 0
        if failure:
            failed[place] += 1
            continue
        done[place] += 1
        if intended >= warmup_ns:
            values[place].append((ended - intended) / 1e6)
    shown = [typical(of_stage) for of_stage in values]
    return _results(header, end_s, sent, done, failed, shown)


def stages_of_seconds(
    header: Header, seconds: Sequence[Second], warmup_s: float, end_s: float
) -> list[StageResult]:
    """The same for a run that kept histograms."""
    number = len(header.stage_ends_s)
    histograms = [Histogram() for _ in range(number)]
    sent, done, failed = [0] * number, [0] * number, [0] * number
    for second in seconds:
        place = min(second.stage, number - 1)
        sent[place] += second.sent
        done[place] += second.done
        failed[place] += sum(second.failed.values())
        if second.at_s >= warmup_s:
            histograms[place].add(second.latency)
    shown = [typical_of(histogram) for histogram in histograms]
    return _results(header, end_s, sent, done, failed, shown)


def _results(  # noqa: PLR0913, PLR0917 - private: one list for each column
    header: Header, end_s: float, sent: list[int], done: list[int], failed: list[int], shown: list[Shown]
) -> list[StageResult]:
    results = []
    for place, (start, planned) in enumerate(pairwise([0.0, *header.stage_ends_s])):
        end = max(start, min(planned, end_s))
        p50, p95, p99 = shown[place]
        results.append(
            StageResult(
                name=header.stage_names[place] or f"stage {place + 1}",
                start_s=start,
                end_s=end,
                level=header.levels[place],
                sent=sent[place],
                done=done[place],
                failed=failed[place],
                done_per_s=done[place] / (end - start) if end > start else 0.0,
                p50_ms=p50,
                p95_ms=p95,
                p99_ms=p99,
            )
        )
    return results
