"""Admission: the gate refuses and never waits."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Annotated

import msgspec

from paceline.base.clock import Clock
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
        ),
    ] = 0.0


class Gate:
    """Admits a request as a whole, or refuses it before it has cost anything.

    The predicted latency is the queue's forecast (engine time ahead, corrected by how its forecasts turned out)
    plus the request's own run. Jobs of an admitted request must be put before the next one is asked about,
    that is in the same turn of the event loop.
    """

    def __init__(self, policy: GatePolicy, queue: BatchQueue, clock: Clock) -> None:
        """`clock` is the queue's; deadlines are on it."""
        self.policy = policy
        """May be replaced while serving."""
        self._queue = queue
        self._clock = clock
        self.admitted_total = 0
        self.refused_total = 0
        self.expired_total = 0
        self.too_large_total = 0

    def admit(self, lengths: Sequence[int], deadline_at: float = inf, priority: int = NORMAL) -> None:
        """Admit a request of one job per length (tokens), or raise.

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
        depth = queue.depth
        if not rows or (not depth and queue.running < queue.lanes):
            self.admitted_total += 1
            return
        excess = max(
            (depth + rows - policy.max_queue) / max(depth, 1),
            (queue.tokens + tokens - policy.max_queue_tokens) / max(queue.tokens, 1),
        )
        if excess > 0.0:
            self.refused_total += 1
            raise Overloaded(
                f"{depth} texts of {queue.tokens} tokens wait, and {rows} of {tokens} more would pass the limit of "
                f"{policy.max_queue} texts or {policy.max_queue_tokens} tokens; retry after the time given",
                retry_after_s=queue.drain_s(now) * min(excess, 1.0),
            )
        limit_s = deadline_at - now
        if policy.slo_ms:
            limit_s = min(limit_s, policy.slo_ms / 1e3)
        if limit_s == inf:
            self.admitted_total += 1
            return
        wait_s, run_s = queue.forecast_s(priority, now), queue.own_s(lengths)
        if wait_s + run_s > limit_s:
            self.refused_total += 1
            raise Overloaded(
                f"the predicted latency of {(wait_s + run_s) * 1e3:.0f} ms is longer than the "
                f"{limit_s * 1e3:.0f} ms allowed; retry after the time given, or allow more (deadline, gate.slo_ms)",
                retry_after_s=min(wait_s + run_s - limit_s, queue.drain_s(now)),
            )
        self.admitted_total += 1

    def stats(self) -> dict[str, float]:
        """Requests by verdict."""
        return {
            "admitted_total": self.admitted_total,
            "refused_total": self.refused_total,
            "expired_total": self.expired_total,
            "too_large_total": self.too_large_total,
        }
