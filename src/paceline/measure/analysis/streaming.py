"""Streamed answers: time to first token, time per output token, gaps between tokens, tokens per second.

A token's time is that of the event that carried it. When the kernel hands us several events at once they share one
instant, so gaps of zero are real: the tokens did reach the client together. A server that packs several tokens into
an event has fewer gaps than tokens, and a gap is then one between events.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from paceline.base.goodput import Limits
from paceline.measure.analysis.distribution import distribution, empty, from_stretches
from paceline.measure.plan import Plan
from paceline.measure.records.record import RunFile, Second
from paceline.measure.report import Streaming
from paceline.measure.statistics.quantile import quantile


@dataclass(frozen=True, slots=True)
class Stream:
    """One good streamed answer; instants in ns since the run's start, its own figures in ms."""

    position: int
    """Its row."""
    first_ns: int
    last_ns: int
    tokens: int
    """By the server's usage, else events."""
    ttft_ms: float
    tpot_ms: float | None
    """None for a single token."""
    gaps_ms: list[float]

    def within(self, limits: Limits) -> bool:
        """Whether it kept the limits on tokens; one it has no value for is kept."""
        tail = quantile(sorted(self.gaps_ms), 0.95) if self.gaps_ms and limits.itl is not None else None
        return all(
            value is None or limit is None or value <= limit
            for value, limit in ((self.ttft_ms, limits.ttft), (self.tpot_ms, limits.tpot), (tail, limits.itl))
        )


def streams(run: RunFile, start_ns: int = 0) -> Iterator[Stream]:
    """The good answers that carried tokens, of requests due from `start_ns` on, in order of intended start."""
    columns, tokens = run.columns, run.tokens
    place = {index: position for position, index in enumerate(tokens.index)}
    for position, events in enumerate(columns.token_events):
        intended = columns.intended_ns[position]
        if events <= 0 or columns.failure[position] or intended < start_ns:
            continue
        found = place.get(columns.index[position])
        times = tokens.times_ns[tokens.start[found] : tokens.start[found + 1]] if found is not None else None
        first = times[0] if times else columns.first_ns[position]
        last = times[-1] if times else columns.last_ns[position]
        usage = columns.completion_tokens[position]
        count = usage if usage > 0 else events
        yield Stream(
            position=position,
            first_ns=first,
            last_ns=last,
            tokens=count,
            ttft_ms=(first - intended) / 1e6,
            tpot_ms=(last - first) / 1e6 / (count - 1) if count > 1 else None,
            gaps_ms=[(b - a) / 1e6 for a, b in pairwise(times or ())],
        )


def streaming_of_rows(
    run: RunFile, warmup_ns: int, tokens_per_s: float | None, *, constant: bool
) -> Streaming | None:
    """None when no answer of the measured part carried tokens."""
    columns = run.columns
    ttft, tpot, gaps = array("d"), array("d"), array("d")
    prompt = usage = events = 0
    said_prompt = said_usage = False
    for stream in streams(run, warmup_ns):
        ttft.append(stream.ttft_ms)
        if stream.tpot_ms is not None:
            tpot.append(stream.tpot_ms)
        gaps.extend(stream.gaps_ms)
        events += columns.token_events[stream.position]
        usage += stream.tokens
        prompt += max(0, columns.prompt_tokens[stream.position])
        said_prompt = said_prompt or columns.prompt_tokens[stream.position] > 0
        said_usage = said_usage or columns.completion_tokens[stream.position] > 0
    if not ttft:
        return None
    return Streaming(
        ttft_ms=distribution(ttft, constant=constant),
        tpot_ms=distribution(tpot, constant=constant),
        itl_ms=distribution(gaps, constant=constant),
        prompt_tokens=prompt if said_prompt else None,
        completion_tokens=usage if said_usage else None,
        token_events=events,
        completion_tokens_per_s=tokens_per_s,
    )


def streaming_of_seconds(
    seconds: list[Second], tokens_per_s: float | None, *, constant: bool
) -> Streaming | None:
    """Of a run that kept histograms: time to first token and counts only."""
    events = sum(second.token_events for second in seconds)
    if not events:
        return None
    absent = empty("the run kept histograms by second, which hold no tokens; use records = all")
    return Streaming(
        ttft_ms=from_stretches([second.ttft for second in seconds], constant=constant),
        tpot_ms=absent,
        itl_ms=absent,
        prompt_tokens=sum(second.prompt_tokens for second in seconds) or None,
        completion_tokens=sum(second.completion_tokens for second in seconds) or None,
        token_events=events,
        completion_tokens_per_s=tokens_per_s,
    )


def tokens_per_s(run: RunFile, start_ns: int, end_ns: int) -> float | None:
    """Tokens that came between two instants, per second; of embeddings those of the inputs. None without any.

    The tokens of an answer are spread evenly from its first byte to its last, so that long answers at the edges count
    with the share that lies inside. Without the server's usage, events are counted.
    """
    if end_ns <= start_ns:
        return None
    inside = 0.0
    for tokens, first, last in _answered(run.header.plan, run):
        if last > first:
            inside += tokens * max(0, min(last, end_ns) - max(first, start_ns)) / (last - first)
        elif start_ns <= last < end_ns:
            inside += tokens
    return inside / (end_ns - start_ns) * 1e9 if inside else None


def _answered(plan: Plan, run: RunFile) -> Iterator[tuple[int, int, int]]:
    """Tokens, first and last instant of each good answer."""
    columns = run.columns
    counts = columns.prompt_tokens if plan.payload.task == "embeddings" else columns.completion_tokens
    for usage, events, sent, first, last, failure in zip(
        counts,
        columns.token_events,
        columns.sent_ns,
        columns.first_ns,
        columns.last_ns,
        columns.failure,
        strict=True,
    ):
        tokens = usage if usage > 0 else events
        if tokens > 0 and not failure:
            yield tokens, first if events > 0 and first >= 0 else sent, last
