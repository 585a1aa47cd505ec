"""What the autoscaler remembers from one decision to the next."""

from __future__ import annotations

import msgspec

ROUNDING = 1e-9
"""Of a quotient of floats: 3.0000000001 replicas are 3."""

Events = tuple[tuple[float, int], ...]
"""Instants, ascending, and a number for each."""


def within(events: Events, span_s: float, now: float) -> Events:
    """Those of the last `span_s`; one of exactly then is over."""
    return tuple(event for event in events if event[0] > now - span_s)


class Missed(msgspec.Struct, frozen=True):
    """So many replicas did not hold queue depth or p95 at this load."""

    replicas: int
    load: float
    """CPU percent of all replicas together."""

    def refuses(self, replicas: int, load: float) -> bool:
        """Whether so many would carry as much in all, or each more than each of one replica more did."""
        if replicas > self.replicas:
            return False
        return load >= self.load or load * (self.replicas + 1) > self.load * replicas * (1 + ROUNDING)


class State(msgspec.Struct, frozen=True):
    """What `decide` must remember. A new one starts with the replicas there are: `State(replicas=4)`."""

    replicas: int
    """Wanted now, whether they all run or not."""
    asked: tuple[tuple[float, int], ...] = ()
    """Instant and number of each recommendation within the longer of the two windows."""
    changes: tuple[tuple[float, int], ...] = ()
    """Instant and replicas added (or, negative, removed) within `step_s`."""
    missed: Missed | None = None
