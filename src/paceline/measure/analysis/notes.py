"""What a reader of a report should know beside its numbers, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from paceline.measure.analysis.tally import Tally, is_constant
from paceline.measure.analysis.validity import LATEST_SHARE
from paceline.measure.plan import ClosedLoop, Replay
from paceline.measure.records.histogram import Histogram
from paceline.measure.records.record import RunFile

_SHOWN_FAILURES = 3
NOTABLE_HITS_PERCENT = 5.0


def notes(run: RunFile, tally: Tally, lag: Histogram | None) -> list[str]:
    """One sentence or two each."""
    return [
        *run.header.notes,
        *tally.notes,
        *_of_the_file(run),
        *_of_the_load(run, tally),
        *_of_failures(tally),
        *_of_lag(tally, lag),
        *_of_tokens(tally),
    ]


def _of_the_file(run: RunFile) -> Iterator[str]:
    if run.torn:
        yield f"The records file is damaged: {run.torn}. What could be read is counted."


def _of_the_load(run: RunFile, tally: Tally) -> Iterator[str]:
    plan = run.header.plan
    if not is_constant(plan):
        cut = "" if plan.warmup_s is not None else "nothing was cut as warm-up and "
        more = "the stages are listed one by one" if len(tally.stages) > 1 else "see the series"
        why = "The arrivals follow a trace" if isinstance(plan.load, Replay) else "The load was not constant"
        yield f"{why}, so {cut}percentiles of the whole run carry no interval; {more}."
    elif plan.warmup_s is None and tally.warmup_s > 0:
        yield f"The first {tally.warmup_s:.3g} s were cut as warm-up (MSER-5); set a warm-up to decide it yourself."
    if isinstance(plan.load, ClosedLoop):
        yield (
            "Users waited for each answer before they asked again, so a slow server was asked less. An open loop at the "
            "rate you expect shows what callers who do not wait would see."
        )
    hits = tally.hit_percent
    if hits is not None and hits >= NOTABLE_HITS_PERCENT and plan.made_up:
        yield (
            f"{hits:.0f} % of the answers came from the server's cache, for texts that we made up: it was asked them "
            "before. Another --seed asks others."
        )
    if tally.steady == "falling":
        yield "Latency still fell at the end, so the warm-up was longer than what was cut; run longer."


def _of_failures(tally: Tally) -> Iterator[str]:
    failures = tally.totals.failures
    if not failures:
        return
    most = sorted(failures.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{count:,} {kind}" for kind, count in most[:_SHOWN_FAILURES])
    more = f" and {len(most) - _SHOWN_FAILURES} other kinds" if len(most) > _SHOWN_FAILURES else ""
    yield (
        f"{tally.totals.failed:,} requests failed ({shown}{more}). Failed requests have no latency; they count as errors "
        "and against goodput."
    )


def _of_lag(tally: Tally, lag: Histogram | None) -> Iterator[str]:
    p50 = tally.latency.quantiles["p50"].value
    if lag is None or not lag.counts or not p50:
        return
    late = lag.quantile(0.99) / 1e6
    if late > LATEST_SHARE * p50:
        yield (
            f"Requests left up to {late:.2g} ms late (p99), which is in the latencies (median {p50:.2g} ms). The service "
            "time, from the actual start, leaves that out."
        )


def _of_tokens(tally: Tally) -> Iterator[str]:
    streaming = tally.streaming
    if streaming is None:
        return
    if streaming.completion_tokens is None:
        yield "The server told no usage, so events that carried text are counted as tokens."
    elif streaming.completion_tokens > 1.05 * streaming.token_events:
        packed = streaming.completion_tokens / streaming.token_events
        yield f"An event carried {packed:.2f} tokens on average; inter-token latency is between events."
