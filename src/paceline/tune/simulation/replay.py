"""One trace through one station on virtual time, by the classes that serve.

    arrival -> limiter -> cache -> one flight per key -> gate -> queue -> engine (a formula) -> fill cache -> answer

The event loop is modelled as asyncio's: whatever has happened when a turn begins is handled in that turn, in order
of time; texts put in one turn are one arrival to the queue, and the queue is asked for batches when the turn ends.
"""

from __future__ import annotations

import hashlib
from heapq import heappop, heappush
from math import inf, nan

import numpy as np
import numpy.typing as npt

from paceline.base.clock import Clock
from paceline.base.errors import Overloaded, PayloadTooLarge
from paceline.flow.batch_queue import BatchQueue
from paceline.flow.cache.l1 import CostCache, Memory
from paceline.flow.cache.lru import LruCache
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import Gate
from paceline.flow.job import Batch, Job
from paceline.flow.limiter import Limiter
from paceline.flow.run_time import RunTime
from paceline.tune.simulation.outcome import Outcome
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

ENDPOINT = "/v1/embeddings"
"""Where the trace arrives, for limits of single endpoints."""
LIFE_JITTER = 0.1
"""Cached answers live up to this share shorter, by their key, as in the cache tiers."""


def replay(  # noqa: PLR0913 - what runs, and under which circumstances
    workload: Workload,
    station: Station,
    model: ServiceModel,
    *,
    seed: int = 1,
    gate: bool = True,
    answered: npt.NDArray[np.bool_] | None = None,
) -> Outcome:
    """Run the trace. Without `gate` nothing is refused for its predicted latency or a full queue.

    `answered` names the texts that are cached, in place of the station's cache and of flights.
    """
    return _Replay(workload, station, model, seed=seed, gate=gate, answered=answered).run()


def cache_key(key: int) -> bytes:
    """16 bytes as evenly spread as the product's."""
    return hashlib.sha256(key.to_bytes(8, "little", signed=True)).digest()[:16]


class _Replay:
    """The state of one run; times on the virtual clock `now`."""

    def __init__(  # noqa: PLR0913 - as `replay`
        self,
        workload: Workload,
        station: Station,
        model: ServiceModel,
        *,
        seed: int,
        gate: bool,
        answered: npt.NDArray[np.bool_] | None,
    ) -> None:
        self.now = 0.0
        clock = self._clock
        self._model = model
        self._arrive_s: list[float] = workload.arrive_s.tolist()
        self._length: list[int] = workload.length.tolist()
        self._request: list[int] = workload.request.tolist()
        self._starts: list[int] = workload.starts.tolist()
        self._answered = answered
        self._noise: list[float] = model.noise(seed, workload.texts).tolist()
        self._queue = BatchQueue(station.batch, RunTime(station.prior), station.lanes)
        self._gate = Gate(station.gate, self._queue, clock) if gate else None
        self._limiter = Limiter(station.limits, clock=clock) if station.limits is not None else None
        self._cache = None if answered is not None else open_cache(station.cache, clock)
        self._value, self._ttl_s = bytes(station.value_bytes), station.ttl_s
        self._shares = station.cache is not None and answered is None
        names = {key: cache_key(key) for key in set(workload.key.tolist())} if self._shares else {}
        self._key: list[bytes] = [names.get(key, b"") for key in workload.key.tolist()]
        self._flights: dict[bytes, list[int]] = {}
        """Texts that want the value of a key which is being computed; the first of them queued it."""
        self._running: list[tuple[float, int, Batch]] = []
        """End and number of each batch in an engine."""
        self._came = 0
        self._turn_at: float | None = None
        self._rings_at = inf
        self._missing = [0] * workload.requests
        """Texts whose value each request still waits for."""
        self._latency_s = [nan] * workload.requests
        self._refused = self._hits = self._shared = 0
        self._engine_s = self._makespan_s = 0.0

    def run(self) -> Outcome:
        """Turn after turn until nothing is left."""
        while (happens_at := min(self._ends_at(), self._arrives_at(), self._rings_at)) < inf:
            began_at = self.now = max(self.now, happens_at)
            self._turn(began_at)
        assert not self._queue.depth
        return Outcome(
            latency_s=np.array(self._latency_s),
            refused=self._refused,
            hits=self._hits,
            flights=self._shared,
            rows=self._queue.rows_total,
            batches=self._queue.batches_total,
            engine_s=self._engine_s,
            makespan_s=self._makespan_s,
        )

    def _turn(self, began_at: float) -> None:
        """Handle what has happened by `began_at`: of one instant first ends, then arrivals, then the timer."""
        while True:
            ends_at, arrives_at = self._ends_at(), self._arrives_at()
            if ends_at <= min(began_at, arrives_at, self._rings_at):
                self._end()
            elif arrives_at <= min(began_at, self._rings_at):
                self._arrive()
            elif self._rings_at <= began_at:
                self._rings_at = inf
                self._pump()
            else:
                break
        if self._turn_at is not None:
            self._pump()

    def _arrive(self) -> None:
        """The next request: refused, answered from memory, waiting for another's run, or put into the queue."""
        request = self._came
        self._came += 1
        texts = range(self._starts[request], self._starts[request + 1])
        if self._limiter is not None:
            verdict = self._limiter.take_nowait("trace", ENDPOINT)
            if verdict is not None and not verdict.allowed:
                self._refuse()
                return
        missing = [text for text in texts if not self._cached(text)]
        if not self._admitted(missing):
            self._refuse()
            return
        hits = len(texts) - len(missing)
        self._hits += hits
        self._work(hits * self._model.hit_s + len(missing) * self._model.enter_s)
        self._missing[request] = len(missing)
        if not missing:
            self._answer(request)
        for text in missing:
            if self._shares:
                riders = self._flights.setdefault(self._key[text], [])
                riders.append(text)
                if len(riders) > 1:
                    self._shared += 1
                    continue
            if self._turn_at is None:
                self._turn_at = self.now
            self._queue.put(Job(text, self._length[text]), self._turn_at)

    def _end(self) -> None:
        """The batch that ends first: its lane is free and taken again before its answers are written."""
        ends_at, _, batch = heappop(self._running)
        self._engine_s += ends_at - batch.started_at
        self._queue.finished(batch, self.now, self.now - batch.started_at)
        self._pump()
        for job in batch.jobs:
            text = job.payload
            key = self._key[text]
            if self._cache is not None:
                life_s = self._ttl_s * (1.0 - LIFE_JITTER * key[-1] / 255)
                self._cache.put(key, self._value, job.run_s / job.batch_rows, life_s)
            for rider in self._flights.pop(key) if self._shares else (text,):
                self._work(self._model.leave_s)
                request = self._request[rider]
                self._missing[request] -= 1
                if not self._missing[request]:
                    self._answer(request)

    def _pump(self) -> None:
        """Start what can start, and set the timer for the queue's next change of mind."""
        self._turn_at = None
        queue, model = self._queue, self._model
        while (batch := queue.take(self.now)) is not None:
            number = queue.batches_total - 1
            run_s = model.run_s(batch.rows, batch.length)
            run_s = run_s * (1.0 + model.contention * (queue.running - 1)) * self._noise[number]
            heappush(self._running, (self.now + run_s, number, batch))
        wake_at = queue.wake_at()
        if wake_at is None:
            self._rings_at = inf
        elif wake_at < self._rings_at:  # one that rings too early only asks again
            self._rings_at = wake_at

    def _admitted(self, missing: list[int]) -> bool:
        """Ask the gate, once a request; who only waits for runs of others is not asked."""
        if self._gate is None or all(self._shares and self._key[text] in self._flights for text in missing):
            return True
        try:
            self._gate.admit([self._length[text] for text in missing])
        except (Overloaded, PayloadTooLarge):
            return False
        return True

    def _cached(self, text: int) -> bool:
        if self._answered is not None:
            return bool(self._answered[text])
        return self._cache is not None and self._cache.get(self._key[text]) is not None

    def _refuse(self) -> None:
        self._refused += 1
        self._work(self._model.hit_s)

    def _work(self, seconds: float) -> None:
        """The event loop works; batches that have all the cores lose some of them meanwhile."""
        self.now += seconds
        if len(self._running) == self._queue.lanes:
            lost_s = self._model.steal * seconds
            # All are put off alike, so the order of the heap stays.
            self._running = [(ends_at + lost_s, number, batch) for ends_at, number, batch in self._running]

    def _answer(self, request: int) -> None:
        self._makespan_s = self.now
        came_at = self._arrive_s[self._starts[request]]
        self._latency_s[request] = self.now - came_at + self._model.fixed_s

    def _ends_at(self) -> float:
        return self._running[0][0] if self._running else inf

    def _arrives_at(self) -> float:
        return self._arrive_s[self._starts[self._came]] if self._came < len(self._latency_s) else inf

    def _clock(self) -> float:
        return self.now


def open_cache(policy: L1Policy | None, clock: Clock) -> Memory | None:
    """As `open_tiers` does for the memory tier."""
    if policy is None or not policy.enabled:
        return None
    kind = CostCache if policy.eviction == "cost" else LruCache
    return kind(policy.max_bytes, clock)
