"""When company comes: the rate of arrivals, seen from the end of the last batch."""

from __future__ import annotations

from bisect import bisect_right
from math import inf

EDGES_S = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)
"""Arrivals are counted by the time since the last batch ended. Clients that wait for their answer before they
ask again come in a burst right after it, others at an even rate: one table tells both apart."""

_ENDS_S = (*EDGES_S, inf)

MEMORY = 0.97
"""Weight a batch interval keeps after the next one."""
TICK_S = 1e-6
"""Clocks and timers are believed to a microsecond."""


class Arrivals:
    """Expected gap to the next arrival that finds others queued or running.

    Only time in which the system holds a job counts, and only arrivals that find one there: a caller who is
    alone, however fast, leaves the table empty and so is never made to wait for company.
    """

    __slots__ = ("_count", "_ended_at", "_seconds", "_since", "total")

    def __init__(self) -> None:
        self._count = [0.0] * (len(EDGES_S) + 1)
        self._seconds = [0.0] * (len(EDGES_S) + 1)
        self._ended_at = -1e6
        self._since = inf
        self.total = 0

    def first(self, now: float) -> None:
        """A job arrived and found the system empty."""
        self._since = now

    def joined(self, now: float) -> None:
        """A job arrived and found others."""
        self.total += 1
        self._count[bisect_right(EDGES_S, now - self._ended_at + TICK_S)] += 1.0

    def batch_ended(self, now: float, *, empty: bool) -> None:
        """A batch ended; `empty` says that nothing is left in the system."""
        begin, end = self._since - self._ended_at, now - self._ended_at
        low = 0.0
        for i, edge in enumerate(_ENDS_S):
            self._count[i] *= MEMORY
            self._seconds[i] *= MEMORY
            if end > low and begin < edge:
                self._seconds[i] += max(0.0, min(end, edge) - max(begin, low))
            low = edge
        self._ended_at = now
        self._since = inf if empty else now

    def pause_s(self, now: float) -> float:
        """Seconds since the last batch ended."""
        return now - self._ended_at

    def gap_s(self, now: float) -> tuple[float, float]:
        """Expected seconds to the next arrival, and the instant at which this expectation changes."""
        i = bisect_right(EDGES_S, now - self._ended_at + TICK_S)
        changes_at = self._ended_at + EDGES_S[i] if i < len(EDGES_S) else inf
        if self._count[i] < 0.5:
            return inf, changes_at
        return self._seconds[i] / self._count[i], changes_at
