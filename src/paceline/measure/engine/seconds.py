"""Counting by second instead of keeping rows, for runs of many hours."""

from __future__ import annotations

from array import array

from paceline.measure.records.histogram import bucket
from paceline.measure.records.record import Row, Second, Tier

SECOND_NS = 1_000_000_000


class Seconds:
    """What fell due in each second and stage; taken out about once a second."""

    def __init__(self, stream: bool) -> None:
        self._stream = stream
        self._seconds: dict[tuple[int, int], Second] = {}
        self._newest = -1
        self.full = False
        """Whether a second is over since the last `take`."""

    def add(self, rows: list[Row], tokens: list[tuple[int, array[int]]]) -> None:
        """Count finished requests; of tokens only the first is kept, as time to first token."""
        first_ns = {index: times[0] for index, times in tokens}
        for row in rows:
            self._add(row, first_ns.get(row[0], -1))

    def _add(self, row: Row, first_token_ns: int) -> None:
        (
            _,
            stage,
            intended_ns,
            sent_ns,
            _,
            last_ns,
            status,
            failure,
            size,
            prompt,
            completion,
            events,
            tier,
        ) = row
        at_s = max(0, intended_ns) // SECOND_NS
        if at_s > self._newest:
            self.full = self._newest >= 0
            self._newest = at_s
        second = self._seconds.get((at_s, stage))
        if second is None:
            second = self._seconds[at_s, stage] = Second(at_s, stage)
        second.sent += 1
        second.received_bytes += size
        if status:
            second.statuses[status] = second.statuses.get(status, 0) + 1
        if failure:
            second.failed[failure] = second.failed.get(failure, 0) + 1
            return
        second.done += 1
        _count(second.latency, last_ns - intended_ns)
        _count(second.service, last_ns - sent_ns)
        if first_token_ns >= 0:
            _count(second.ttft, first_token_ns - intended_ns)
        second.prompt_tokens += max(0, prompt)
        second.completion_tokens += max(0, completion)
        second.token_events += events
        second.hits += tier == Tier.HIT
        second.misses += tier == Tier.MISS

    def take(self) -> list[Second]:
        """Everything counted since the last call."""
        taken = list(self._seconds.values())
        self._seconds = {}
        self.full = False
        return taken


def _count(counts: dict[int, int], ns: int) -> None:
    number = bucket(ns)
    counts[number] = counts.get(number, 0) + 1
