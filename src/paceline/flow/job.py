"""What travels through the batcher: one job, and the batch that carries it."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

HIGH, NORMAL, LOW = 0, 1, 2
GONE = 1 << 30
"""Level of a job that no longer waits."""


class Job:
    """One row of a future batch, used once. Made by the caller, who reads the times after the answer came.

    `length` in tokens; `priority` 0 high, 1 normal, 2 low; `deadline_at` and all `*_at` on the queue's clock.
    """

    __slots__ = (
        "batch_rows",
        "batch_wait_s",
        "cost_s",
        "deadline_at",
        "departed",
        "enqueued_at",
        "forecast_s",
        "future",
        "length",
        "level",
        "padded",
        "payload",
        "priority",
        "run_s",
        "started_at",
    )

    # Owned by the queue, set when the job is put: class after ageing, rounded length, engine seconds it takes in a
    # full batch, seconds ahead of it.
    level: int
    padded: int
    cost_s: float
    forecast_s: float

    def __init__(self, payload: Any, length: int, priority: int = NORMAL, deadline_at: float = inf) -> None:
        self.payload = payload
        self.length = length
        self.priority = priority
        self.deadline_at = deadline_at
        self.enqueued_at = 0.0
        self.started_at = 0.0
        self.batch_wait_s = 0.0
        """Part of the queueing in which an engine was idle and waited for company."""
        self.run_s = 0.0
        self.batch_rows = 0
        self.departed = False
        self.future: asyncio.Future[Any] | None = None
        self.level = GONE

    @property
    def queue_s(self) -> float:
        """Seconds from entering the queue to the start of the run."""
        return self.started_at - self.enqueued_at


class Batch:
    """Jobs that run together: `rows` x `length` padded tokens. The first job is the leader."""

    __slots__ = ("busy", "forecast_s", "jobs", "length", "started_at", "tokens", "wait_s")

    def __init__(
        self, jobs: list[Job], length: int, started_at: float, forecast_s: float, wait_s: float
    ) -> None:
        self.jobs = jobs
        self.length = length
        """Longest job, rounded up to the bucket; tokens."""
        self.started_at = started_at
        self.forecast_s = forecast_s
        """Predicted run time."""
        self.wait_s = wait_s
        """Time an engine stood idle for this batch."""
        self.tokens = sum(job.length for job in jobs)
        self.busy = 1
        """Batches that ran when this one started, itself included."""

    @property
    def rows(self) -> int:
        """Number of jobs."""
        return len(self.jobs)

    @property
    def cost(self) -> int:
        """Padded tokens."""
        return len(self.jobs) * self.length
