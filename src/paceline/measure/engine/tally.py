"""What a worker tells while it runs: counts that only grow, and a sample of the newest latencies."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from paceline.measure.records.histogram import bucket
from paceline.measure.records.record import Row

SAMPLE = 200
"""Latencies told per tick; the records have them all."""


class News(msgspec.Struct, frozen=True):
    """One worker's message to its parent, ten times a second."""

    worker: int
    sent: int
    done: int
    failed: int
    failures: dict[int, int]
    in_flight: int
    tokens: int
    """Events with text so far, or the server's count where it gave one."""
    latencies_ns: list[int]
    """Of good answers since the last message; at most `SAMPLE` of them, evenly taken."""
    lag_p99_ns: float | None
    """Of the requests since the last message."""
    stopping: bool


class Tally:
    """Counts of one worker."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.failures: dict[int, int] = {}
        self.tokens = 0
        self.lag: dict[int, int] = {}
        """Counts of a `Histogram`, ns."""
        self.fresh_ns: list[int] = []
        self._late_ns: list[int] = []
        self._newest_late_ns: list[int] = []

    def late(self, ns: int) -> None:
        """Count one request's start after its intended start."""
        self._late_ns.append(ns)

    def rows(self, rows: Sequence[Row]) -> None:
        """Count finished requests."""
        failed = 0
        for row in rows:
            if row[7]:
                failed += 1
                self.failures[row[7]] = self.failures.get(row[7], 0) + 1
            if row[11]:
                self.tokens += row[11]
        self.failed += failed
        self.done += len(rows) - failed
        step = max(1, len(rows) // SAMPLE)
        self.fresh_ns += [row[5] - row[2] for row in rows[::step] if not row[7]]

    def count_late(self) -> None:
        """Take in what `late` was told; often, so that it is little each time."""
        fresh, self._late_ns = self._late_ns, []
        lag = self.lag
        for ns in fresh:
            number = ns if 0 <= ns < 2048 else bucket(ns)
            lag[number] = lag.get(number, 0) + 1
        self._newest_late_ns += fresh

    def lag_p99(self) -> float | None:
        """Of the requests since the last call, ns; None without one."""
        newest, self._newest_late_ns = self._newest_late_ns, []
        newest.sort()
        return float(newest[int(0.99 * (len(newest) - 1))]) if newest else None

    def sample(self) -> list[int]:
        """The latencies since the last call."""
        fresh, self.fresh_ns = self.fresh_ns, []
        return fresh[:: max(1, len(fresh) // SAMPLE)]
