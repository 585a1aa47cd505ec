"""Dynamic batching on an asyncio loop: callers await their own answer, engines get batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from typing import Any, NamedTuple

from paceline.base.clock import Clock, loop_clock
from paceline.base.errors import DeadlineExceeded, EngineError, Overloaded, PacelineError
from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.job import Batch, Job

__all__ = ["BatchPolicy", "BatchRecord", "Batcher", "Job"]

Run = Callable[[list[Job]], Awaitable[Sequence[Any]]]
"""Runs one batch and returns one result per job, in order. At most `queue.lanes` run at once."""


class BatchRecord(NamedTuple):
    """One batch that ended, for metrics."""

    rows: int
    cost: int
    """Padded tokens."""
    tokens: int
    wait_s: float
    """Time an idle engine waited for it to fill."""
    run_s: float
    started_at: float
    """On the queue's clock."""
    length: int
    """Padded tokens of a row."""
    busy: int
    """Batches that ran when this one started, itself included."""


class Batcher:
    """Drives a `BatchQueue`: starts a batch whenever the queue gives one, and hands the results out.

    All methods belong to the event loop's thread. Everything that arrives in one turn of the loop is seen
    together, so a request of many texts is batched as a whole.
    """

    def __init__(
        self,
        queue: BatchQueue,
        run: Run,
        lanes: int | None = None,
        *,
        clock: Clock | None = None,
        on_batch: Callable[[BatchRecord], None] | None = None,
    ) -> None:
        """`lanes` is the queue's, named to be checked. `clock` is the loop's; deadlines of jobs are on it."""
        if lanes is not None and lanes != queue.lanes:
            raise ValueError(f"the queue was made for {queue.lanes} lanes, not {lanes}")
        self.queue = queue
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._clock = clock or loop_clock()
        self._on_batch = on_batch
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._turn_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = inf
        self._closed = False

    async def submit(self, job: Job) -> Any:
        """Wait for the result of `job`; cancelling drops it.

        Raises DeadlineExceeded (over before it ran), EngineError (the run failed), Overloaded (closed).
        """
        return (await self.submit_all((job,)))[0]

    async def submit_all(self, jobs: Iterable[Job]) -> list[Any]:
        """Wait for the results of the jobs of one request; the first failure drops the rest. Raises as `submit`."""
        if self._closed:
            raise Overloaded("the server is shutting down; send this to another replica", retry_after_s=1.0)
        futures: list[tuple[Job, asyncio.Future[Any]]] = []
        if self._turn_at is None:
            # One instant for all that comes in this turn: to the queue it is one arrival.
            self._turn_at = self._clock()
            self._loop.call_soon(self._pump)
        for job in jobs:
            job.future = self._loop.create_future()
            futures.append((job, job.future))
            self.queue.put(job, self._turn_at)
        self._idle.clear()
        try:
            return [await future for _, future in futures]
        except BaseException:  # cancellation too: whoever leaves takes all of its jobs along
            for job, future in futures:
                if not future.done() or future.cancelled():
                    future.cancel()
                    self.queue.depart(job)
                else:
                    future.exception()  # seen: one error per request is enough
            self._rest()
            raise

    def apply(self, policy: BatchPolicy) -> None:
        """Take over another policy (its `bucket` must be the same), for what waits as well."""
        self.queue.policy = policy
        if not self._closed:
            self._pump()

    async def drain(self) -> None:
        """Return when nothing waits or runs and every answer is given. New jobs are still taken; see `close`."""
        await self._idle.wait()

    async def close(self) -> None:
        """Take no more jobs and answer those that wait or run with Overloaded. `drain` first to let them end."""
        self._closed = True
        for job in self.queue.clear():
            self._fail(
                job,
                Overloaded("the server is shutting down; send this to another replica", retry_after_s=1.0),
            )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._rest()

    def _pump(self) -> None:
        """Start what can start, and answer what expired."""
        self._turn_at = None
        queue = self.queue
        now = self._clock()
        while (batch := queue.take(now)) is not None:
            task = self._loop.create_task(self._carry(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        for job in queue.expired:
            waited_ms = (now - job.enqueued_at) * 1e3
            self._fail(
                job,
                DeadlineExceeded(
                    f"the deadline passed after {waited_ms:.0f} ms in the queue; allow more time"
                ),
            )
        queue.expired.clear()
        self._rest()

    def _rest(self) -> None:
        """Say when nothing is left, and set the timer for the queue's next change of mind."""
        if not self.queue.depth and not self._tasks:
            self._idle.set()
        wake_at = self.queue.wake_at()
        if wake_at is None or wake_at < self._rings_at:  # one that rings too early only asks again
            if self._timer is not None:
                self._timer.cancel()
                self._timer, self._rings_at = None, inf
            if wake_at is not None:
                self._timer = self._loop.call_later(max(0.0, wake_at - self._clock()), self._ring)
                self._rings_at = wake_at

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A batch is run and answered."""
        self._tasks.discard(task)
        if not self.queue.depth and not self._tasks:
            self._idle.set()

    def _ring(self) -> None:
        self._timer, self._rings_at = None, inf
        self._pump()

    async def _carry(self, batch: Batch) -> None:
        """Run one batch and settle its jobs."""
        run_s: float | None = None
        error: BaseException | None = None
        results: Sequence[Any] = ()
        try:
            results = await self._run(batch.jobs)
            run_s = self._clock() - batch.started_at
            if len(results) != batch.rows:
                raise ValueError(f"{len(results)} results for {batch.rows} jobs")  # noqa: TRY301 - an engine's fault like any other
        except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001 - whatever the engine raises, its callers must hear
            error = caught
        now = self._clock()
        self.queue.finished(batch, now, run_s if error is None else None)
        # The next batch starts before the answers of this one are written: the engine comes first.
        self._pump()
        if error is not None:
            for job in batch.jobs:
                self._fail(job, self._engine_error(error, batch))
            return
        for job, result in zip(batch.jobs, results, strict=True):
            if job.future is not None and not job.future.done():
                job.future.set_result(result)
        if self._on_batch is not None:
            self._on_batch(
                BatchRecord(
                    rows=batch.rows,
                    cost=batch.cost,
                    tokens=batch.tokens,
                    wait_s=batch.wait_s,
                    run_s=run_s or 0.0,
                    started_at=batch.started_at,
                    length=batch.length,
                    busy=batch.busy,
                )
            )

    def _engine_error(self, cause: BaseException, batch: Batch) -> Exception:
        if isinstance(cause, asyncio.CancelledError):
            return Overloaded("the server is shutting down; send this to another replica", retry_after_s=1.0)
        if isinstance(cause, PacelineError):
            return cause
        error = EngineError(f"the engine failed on a batch of {batch.rows} x {batch.length} tokens: {cause}")
        error.__cause__ = cause
        return error

    def _fail(self, job: Job, error: Exception) -> None:
        if job.future is not None and not job.future.done():
            job.future.set_exception(error)
