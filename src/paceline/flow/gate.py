"""Admission: the gate refuses and never waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Annotated

import msgspec

from paceline.base.clock import Clock, loop_clock
from paceline.base.errors import DeadlineExceeded, Overloaded, PayloadTooLarge
from paceline.base.knob import knob
from paceline.flow.batch_queue import BatchQueue
from paceline.flow.job import NORMAL


class GatePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a request is refused instead of queued."""

    max_queue: Annotated[
        int,
        knob(
            "Jobs waiting at most, all callers together.",
            ge=1,
            le=1_000_000,
            unit="jobs",
            live=True,
            tune=True,
            cost="latency",
            grid=(64, 256, 1024, 4096),
        ),
    ] = 4096
    max_queue_tokens: Annotated[
        int,
        knob(
            "Tokens waiting at most; bounds memory when texts are long.",
            ge=1,
            le=1_000_000_000,
            unit="tokens",
            live=True,
        ),
    ] = 2_000_000
    slo_ms: Annotated[
        float,
        knob(
            "Refuse a request whose predicted latency is longer than this (or than its own deadline); 0 switches off.",
            ge=0,
            le=3_600_000,
            unit="ms",
            live=True,
            tune=True,
            cost="latency",
            grid=(0.0, 100.0, 200.0, 300.0, 500.0, 1000.0),
        ),
    ] = 0.0


ON_THE_WAY_S = 0.1
"""After this an admitted request that was not put has been answered from elsewhere, or its caller left."""


class Gate:
    """Admits a request as a whole, or refuses it before it has cost anything.

    The predicted latency is the queue's forecast (engine time ahead, corrected by how its forecasts turned out)
    plus the request's own run. What was admitted and is still on its way to the queue (being tokenised) counts as
    if it waited there, so that a burst in one instant does not slip through.
    """

    def __init__(self, policy: GatePolicy, queue: BatchQueue, clock: Clock | None = None) -> None:
        """`clock` is the queue's (the running loop's by default); deadlines are on it."""
        self.policy = policy
        """May be replaced while serving."""
        self._queue = queue
        self._clock = clock or loop_clock()
        self._on_the_way: deque[tuple[float, int, int, float]] = deque()
        """Instant, jobs, tokens and engine seconds of each admission whose jobs are not all put."""
        self._coming_jobs = self._coming_tokens = 0
        self._coming_s = 0.0
        self._arrived = queue.jobs_total
        self.admitted_total = 0
        self.refused_total = 0
        self.expired_total = 0
        self.too_large_total = 0

    def admit(self, lengths: Sequence[int], deadline_at: float = inf, priority: int = NORMAL) -> None:
        """Admit a request of one job per length (tokens), or raise as `check` does."""
        self.check(lengths, deadline_at, priority)
        self.admitted_total += 1
        rows, tokens, work_s = len(lengths), sum(lengths), self._queue.work_s(lengths)
        self._on_the_way.append((self._clock(), rows, tokens, work_s))
        self._coming_jobs += rows
        self._coming_tokens += tokens
        self._coming_s += work_s

    def check(self, lengths: Sequence[int], deadline_at: float = inf, priority: int = NORMAL) -> None:
        """Raise when a request of one job per length (tokens) would be refused now; admits nothing.

        DeadlineExceeded: its time is over. PayloadTooLarge: larger than the whole queue. Overloaded: the queue is
        full, or the predicted latency too long; `retry_after_s` is when it would be admitted if nobody else came.
        """
        queue, policy = self._queue, self.policy
        now = self._clock()
        if deadline_at <= now:
            self.expired_total += 1
            raise DeadlineExceeded(
                f"the deadline passed {(now - deadline_at) * 1e3:.0f} ms ago; allow more time"
            )
        rows, tokens = len(lengths), sum(lengths)
        if rows > policy.max_queue or tokens > policy.max_queue_tokens:
            self.too_large_total += 1
            raise PayloadTooLarge(
                f"{rows} texts of {tokens} tokens are more than the queue of {policy.max_queue} texts and "
                f"{policy.max_queue_tokens} tokens; send fewer at a time or raise gate.max_queue(_tokens)",
                param="input",
            )
        self._forget_arrived(now)
        depth = queue.depth + self._coming_jobs
        waiting_tokens = queue.tokens + self._coming_tokens
        wait_s = queue.forecast_s(priority, now) + self._coming_s / queue.lanes
        run_s = queue.own_s(lengths) if rows else 0.0
        if depth or queue.running >= queue.lanes:
            self._refuse_if_full(rows, tokens, depth, waiting_tokens, wait_s)
            limit_s = min(deadline_at - now, policy.slo_ms / 1e3 if policy.slo_ms else inf)
            if wait_s + run_s > limit_s:
                self.refused_total += 1
                raise Overloaded(
                    f"the predicted latency of {(wait_s + run_s) * 1e3:.0f} ms is longer than the {limit_s * 1e3:.0f} "
                    "ms allowed; retry after the time given, or allow more (deadline, gate.slo_ms)",
                    retry_after_s=min(wait_s + run_s - limit_s, max(wait_s, queue.drain_s(now))),
                )

    def _refuse_if_full(self, rows: int, tokens: int, depth: int, waiting_tokens: int, wait_s: float) -> None:
        policy = self.policy
        excess = max(
            (depth + rows - policy.max_queue) / max(depth, 1),
            (waiting_tokens + tokens - policy.max_queue_tokens) / max(waiting_tokens, 1),
        )
        if excess > 0.0:
            self.refused_total += 1
            raise Overloaded(
                f"{depth} texts of {waiting_tokens} tokens wait, and {rows} of {tokens} more would pass the limit of "
                f"{policy.max_queue} texts or {policy.max_queue_tokens} tokens; retry after the time given",
                retry_after_s=wait_s * min(excess, 1.0),
            )

    def _forget_arrived(self, now: float) -> None:
        """Drop from the admissions on their way what was put meanwhile, or will never be."""
        coming, arrived = self._on_the_way, self._queue.jobs_total - self._arrived
        self._arrived += arrived
        while coming:
            at, jobs, tokens, work_s = coming[0]
            gone = jobs if now - at > ON_THE_WAY_S else min(jobs, arrived)
            if gone < jobs and not arrived:
                return
            arrived = max(0, arrived - jobs)
            gone_tokens, gone_s = (tokens * gone // jobs, work_s * gone / jobs) if jobs else (0, 0.0)
            self._coming_jobs -= gone
            self._coming_tokens -= gone_tokens
            self._coming_s -= gone_s
            if gone < jobs:
                coming[0] = (at, jobs - gone, tokens - gone_tokens, work_s - gone_s)
                return
            coming.popleft()
        self._coming_s = 0.0  # sums of floats drift

    def stats(self) -> dict[str, float]:
        """Requests by verdict."""
        return {
            "admitted_total": self.admitted_total,
            "refused_total": self.refused_total,
            "expired_total": self.expired_total,
            "too_large_total": self.too_large_total,
        }
