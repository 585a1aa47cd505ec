"""Twin of `Arrivals`."""

from __future__ import annotations

from math import inf
from typing import Any

from paceline.flow.arrivals import EDGES_S, MEMORY, TICK_S
from paceline.tune.simulation.compiled.compiler import compiled
from paceline.tune.simulation.compiled.state import BANDS


@compiled
def band(s: Any, now: float) -> int:
    """Place of `now` in the table, by the time since the last batch ended."""
    since_s = now - s.ended_at + TICK_S
    for i in range(BANDS - 1):
        if since_s < EDGES_S[i]:
            return i
    return BANDS - 1


@compiled
def batch_ended(s: Any, now: float, empty: bool) -> None:
    """Book the interval that ends with a batch."""
    begin, end = s.since - s.ended_at, now - s.ended_at
    low = 0.0
    for i in range(BANDS):
        edge = EDGES_S[i] if i < BANDS - 1 else inf
        s.count[i] *= MEMORY
        s.seconds[i] *= MEMORY
        if end > low and begin < edge:
            s.seconds[i] += max(0.0, min(end, edge) - max(begin, low))
        low = edge
    s.ended_at = now
    s.since = inf if empty else now
