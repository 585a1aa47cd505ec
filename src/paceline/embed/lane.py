"""The part of the path behind the cache: gate -> breaker -> batcher -> engine, here or in another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec
import numpy as np

from paceline.embed.engine import EmbedEngine
from paceline.embed.layout import resolved
from paceline.embed.policy import EmbedPolicy
from paceline.flow.batch_queue import BatchQueue
from paceline.flow.batcher import Batcher, BatchRecord
from paceline.flow.breaker import Breaker
from paceline.flow.gate import Gate
from paceline.flow.job import Job


class Row(msgspec.Struct, gc=False):
    """One embedded text and what its batch cost."""

    vector: bytes
    """Little-endian float32."""
    queue_s: float
    batch_wait_s: float
    run_s: float
    batch_rows: int


class Lane(Protocol):
    """Runs token ids through an engine, wherever that is."""

    async def admit(self, lengths: Sequence[int], *, priority: int, deadline_at: float) -> None:
        """Ask for all texts of one request at once; raises Overloaded, CircuitOpen or DeadlineExceeded."""

    def check(self, lengths: Sequence[int], *, priority: int, deadline_at: float) -> None:
        """Raise what `admit` would raise now, where that is known without waiting; admits nothing."""

    async def run(self, ids: np.ndarray, *, priority: int, deadline_at: float) -> Row:
        """Embed one text (int32 ids). Cancelling the call takes the text out of the queue."""

    def stats(self) -> dict[str, dict[str, float]]:
        """Counters by area (`gate`, `breaker`, `batcher`)."""

    def health(self) -> dict[str, object]:
        """State for `/health`; key `status` is `ok`, `failing` or `starting`."""

    async def drain(self) -> None:
        """Return when nothing is queued or running."""

    async def close(self) -> None:
        """Stop; what is still queued fails."""


class LocalLane:
    """A lane in this process: engine runs happen in as many threads as the engine has lanes."""

    def __init__(self, engine: EmbedEngine, gate: Gate, breaker: Breaker, queue: BatchQueue) -> None:
        """`queue` must have been made for `engine.lanes` lanes. Belongs to the running event loop."""
        self._engine = engine
        self._gate = gate
        self._breaker = breaker
        self._batcher = Batcher(queue, self._run_batch, engine.lanes, on_batch=self._ran)
        self._queue = queue
        self._threads = ThreadPoolExecutor(engine.lanes, thread_name_prefix="engine")
        self.on_batch: Callable[[BatchRecord], None] | None = None
        """Told of every batch that ran."""

    def apply(self, policy: EmbedPolicy) -> None:
        """Take over `batch` (but for `bucket`), `gate` and `breaker` of a policy while running."""
        self._gate.policy = policy.gate
        self._breaker.policy = policy.breaker
        self._batcher.apply(resolved(policy.batch, self._engine.layout))

    async def admit(self, lengths: Sequence[int], *, priority: int, deadline_at: float) -> None:
        """See `Lane.admit`; decides at once."""
        self._gate.admit(lengths, deadline_at=deadline_at, priority=priority)
        self._breaker.check()

    def check(self, lengths: Sequence[int], *, priority: int, deadline_at: float) -> None:
        """See `Lane.check`."""
        self._gate.check(lengths, deadline_at=deadline_at, priority=priority)
        self._breaker.check()

    async def run(self, ids: np.ndarray, *, priority: int, deadline_at: float) -> Row:
        """See `Lane.run`."""
        job = Job(ids, len(ids), priority, deadline_at)
        vector: np.ndarray = await self._batcher.submit(job)
        return Row(vector.tobytes(), job.queue_s, job.batch_wait_s, job.run_s, job.batch_rows)

    async def _run_batch(self, jobs: list[Job]) -> Sequence[np.ndarray]:
        """One engine run; its faults, and only its, count against the breaker."""
        with self._breaker.guard(Exception):
            loop = asyncio.get_running_loop()
            batch = [job.payload for job in jobs]
            return list(await loop.run_in_executor(self._threads, self._engine.run, batch))

    def _ran(self, record: BatchRecord) -> None:
        if self.on_batch is not None:
            self.on_batch(record)

    def stats(self) -> dict[str, dict[str, float]]:
        """See `Lane.stats`."""
        return {
            "queue": self._queue.stats(),
            "gate": self._gate.stats(),
            "breaker": self._breaker.stats(),
        }

    def health(self) -> dict[str, object]:
        """See `Lane.health`."""
        state = self._breaker.state
        return {
            "status": "failing" if state == "open" else "ok",
            "breaker": state,
            "queue_depth": self._queue.depth,
            "engine": self._engine.describe(),
        }

    async def drain(self) -> None:
        """See `Lane.drain`."""
        await self._batcher.drain()

    async def close(self) -> None:
        """See `Lane.close`."""
        await self._batcher.close()
        self._threads.shutdown()
        self._engine.close()
