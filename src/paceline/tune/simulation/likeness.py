"""Which settings cannot make a difference to a trace."""

from __future__ import annotations

from collections.abc import Hashable

from paceline.flow.limiter import EndpointLimit, LimitPolicy
from paceline.tune.simulation.replay import ENDPOINT
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload


class Likeness:
    """Names stations so that two of the same name behave the same in this trace, request by request."""

    def __init__(self, workload: Workload) -> None:
        self._texts, self._requests = workload.texts, workload.requests
        self._tokens = int(workload.length.sum())
        # The queue's first guess of a usual run is one of 64 tokens, whatever comes.
        self._shortest = min(64, int(workload.length.min()))
        self._longest = max(64, int(workload.length.max()))

    def queue(self, station: Station, cached: int) -> Hashable:
        """Name of what decides capacity; `cached` numbers what the station's cache answers."""
        batch = station.batch
        bucket = batch.bucket
        # No batch has more rows than the shortest texts fill it with, nor costs more than its rows of the longest.
        max_size = max(1, min(batch.max_size, batch.max_cost // (-(-self._shortest // bucket) * bucket)))
        max_cost = min(batch.max_cost, max_size * -(-self._longest // bucket) * bucket)
        return (
            *(max_size, max_cost, batch.max_wait_ms, batch.adaptive, bucket),
            *(station.lanes, station.prior, cached),
        )

    def station(self, station: Station, cached: int) -> Hashable:
        """Name of everything."""
        gate, limit = station.gate, self.limit(station)
        return (
            self.queue(station, cached),
            *(gate.slo_ms, min(gate.max_queue, self._texts), min(gate.max_queue_tokens, self._tokens)),
            *((limit.rpm, limit.rph) if limit is not None else (0, 0)),
        )

    def limit(self, station: Station) -> EndpointLimit | None:
        """The limit that may refuse something; None when the trace has too few requests for any to do so."""
        limits: LimitPolicy | None = station.limits
        if limits is None:
            return None
        limit = limits.endpoints.get(ENDPOINT, EndpointLimit(limits.rpm, limits.rph))
        binds = any(0 < most < self._requests for most in (limit.rpm, limit.rph))
        return limit if binds else None
