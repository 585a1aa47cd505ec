"""Discrete events around the real queue and gate: the engine is a formula, time costs nothing.

Used by batching_curve.py and overload_simulated.py.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

from paceline.base.errors import Overloaded
from paceline.flow.batch_queue import BatchQueue
from paceline.flow.gate import Gate
from paceline.flow.job import Batch, Job

Service = Callable[[int, int], float]
"""Seconds a batch of (rows, padded length) runs."""


def service(a: float, b: float, c: float) -> Service:
    """t = a + b*B + c*B*S."""
    return lambda rows, length: a + b * rows + c * rows * length


CPU = service(0.5e-3, 0.1e-3, 60e-6)
"""Two cores, small encoder: linear in the padded tokens; 64 tokens are 4.4 ms, fixed part 0.5 ms."""
GPU = service(8e-3, 0.02e-3, 0.5e-6)
"""An accelerator that hardly notices rows: 8 ms fixed, 32 rows of 64 tokens add 1.7 ms."""


def mixed_lengths(rng: random.Random) -> int:
    """8..128 tokens, log-uniform."""
    return round(math.exp(rng.uniform(math.log(8), math.log(128))))


class CountQueue:
    """Control: first in, first out, `max_size` rows padded to their longest, as most servers batch."""

    def __init__(self, max_size: int, lanes: int = 1) -> None:
        self.max_size, self.lanes = max_size, lanes
        self.waiting: deque[Job] = deque()
        self.running = 0

    def put(self, job: Job, now: float) -> None:
        job.enqueued_at = now
        self.waiting.append(job)

    def take(self, now: float) -> Batch | None:
        if not self.waiting or self.running >= self.lanes:
            return None
        jobs = [self.waiting.popleft() for _ in range(min(self.max_size, len(self.waiting)))]
        self.running += 1
        return Batch(jobs, max(job.length for job in jobs), now, 0.0, 0.0)

    def finished(self, _batch: Batch, _now: float, _run_s: float) -> None:
        self.running -= 1

    def wake_at(self) -> float | None:
        return None


class Simulation:
    """One queue, one engine per lane, and whatever arrives."""

    def __init__(
        self, queue: BatchQueue | CountQueue, run: Service, noise: float = 0.03, seed: int = 7
    ) -> None:
        self.queue, self.service, self.noise = queue, run, noise
        self.rng = random.Random(seed)
        self.now = 0.0
        self.gate: Gate | None = None
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.number = 0
        self.refused: list[tuple[float, float]] = []
        """Instant and retry_after_s of each refusal."""
        self.done: list[tuple[float, float, int]] = []
        """End, latency and length of each job that was answered."""
        self.on_done: dict[int, Callable[[], None]] = {}
        self.wake: float | None = None

    def clock(self) -> float:
        return self.now

    def at(self, when: float, action: Callable[[], None]) -> None:
        self.number += 1
        heappush(self.events, (when, self.number, action))

    def offer(self, length: int, then: Callable[[], None] | None = None) -> None:
        """One request of one text; `then` is called when it is answered."""
        try:
            if self.gate is not None:
                self.gate.admit((length,))
        except Overloaded as refusal:
            self.refused.append((self.now, refusal.retry_after_s))
            return
        self.queue.put(Job(then, length), self.now)
        self.pump()

    def pump(self) -> None:
        while (batch := self.queue.take(self.now)) is not None:
            run_s = self.service(batch.rows, batch.length) * max(0.5, self.rng.gauss(1.0, self.noise))
            self.at(self.now + run_s, lambda batch=batch, run_s=run_s: self.end(batch, run_s))
        wake = self.queue.wake_at()
        if wake is not None and wake != self.wake:
            self.wake = wake
            self.at(wake, self.pump)

    def end(self, batch: Batch, run_s: float) -> None:
        self.queue.finished(batch, self.now, run_s)
        self.pump()
        for job in batch.jobs:
            self.done.append((self.now, self.now - job.enqueued_at, job.length))
            if job.payload is not None:
                job.payload()

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            self.now, _, action = heappop(self.events)
            action()
        self.now = until

    def closed_loop(
        self, clients: int, lengths: Callable[[random.Random], int], think_s: float = 0.2e-3
    ) -> None:
        """Each client asks again a moment (exponential, mean `think_s`) after its answer."""

        def ask() -> None:
            self.offer(lengths(self.rng), lambda: self.at(self.now + self.rng.expovariate(1 / think_s), ask))

        for _ in range(clients):
            self.at(self.rng.uniform(0, 1e-3), ask)

    def open_loop(self, rate: float, lengths: Callable[[random.Random], int], until: float) -> None:
        """Poisson arrivals; nobody retries."""

        def ask() -> None:
            self.offer(lengths(self.rng))
            if self.now < until:
                self.at(self.now + self.rng.expovariate(rate), ask)

        self.at(self.rng.expovariate(rate), ask)


def quantile(values: list[float], q: float) -> float:
    """Nearest rank; NaN of nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, math.ceil(q * len(ranked)) - 1)] if ranked else math.nan
