"""The queue that forms batches. No waiting, no threads, no clock of its own: `now` is a parameter."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from typing import Annotated

import msgspec

from paceline.base.knob import knob
from paceline.flow.arrivals import EDGES_S, TICK_S, Arrivals
from paceline.flow.job import GONE, LOW, Batch, Job
from paceline.flow.run_time import RunTime
from paceline.flow.waiting import Waiting


class BatchPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How jobs become batches. Cost is padded tokens: rows x longest length, rounded up to `bucket`."""

    max_size: Annotated[
        int,
        knob(
            "Rows in one batch at most.",
            ge=1,
            le=4096,
            unit="rows",
            live=True,
            tune=True,
            cost="latency",
            grid=(1, 2, 4, 8, 16, 32, 64),
        ),
    ] = 32
    max_cost: Annotated[
        int,
        knob(
            "Padded tokens in one batch at most; 0 takes the value of the measured layout. "
            "A first job larger than this still runs, alone.",
            ge=0,
            le=1_048_576,
            unit="tokens",
            live=True,
            tune=True,
            cost="latency",
            grid=(64, 128, 256, 512, 1024, 2048, 4096),
        ),
    ] = 0
    max_wait_ms: Annotated[
        float,
        knob(
            "Flush timeout: the longest a job waits for company while an engine is idle.",
            ge=0,
            le=1000,
            unit="ms",
            live=True,
            tune=True,
            cost="latency",
            grid=(0.0, 1.0, 2.0, 5.0, 10.0, 20.0),
        ),
    ] = 10.0
    adaptive: Annotated[
        bool,
        knob(
            "Wait only when the arrival rate and the measured run time say that company comes in time; "
            "`false` always waits `max_wait_ms` for a full batch.",
            live=True,
            tune=True,
            cost="latency",
            grid=(True, False),
        ),
    ] = True
    bucket: Annotated[
        int,
        knob(
            "Lengths are rounded up to a multiple of this; 0 takes the measured layout's.",
            ge=0,
            le=512,
            unit="tokens",
            tune=True,
            cost="cpu",
            grid=(8, 16, 32),
        ),
    ] = 0
    ageing_s: Annotated[
        float,
        knob("Waiting this long lifts a job by one priority class.", gt=0, le=3600, unit="s", live=True),
    ] = 2.0


LATE_SHARE = 0.02
"""Share of leaders that may end later than the corrected forecast said."""
CORRECTION_STEP = 0.05


class BatchQueue:
    """Forms batches for a number of lanes (engines), and forecasts how long a newcomer would wait.

    The most urgent job leads a batch (see `Waiting`); the nearest lengths fill it, most urgent first within a
    length, as long as the padded tokens stay within `max_cost` and the padding costs less than a run of their
    own. The bound does not grow with the queue, so neither does the time a batch takes.
    """

    def __init__(self, policy: BatchPolicy, run_time: RunTime, lanes: int = 1) -> None:
        """Make an empty queue before `lanes` engines; `max_cost` and `bucket` must be resolved (> 0)."""
        if policy.max_cost < 1 or policy.bucket < 1 or lanes < 1:
            raise ValueError(
                f"max_cost {policy.max_cost}, bucket {policy.bucket}, lanes {lanes} must be at least 1"
            )
        self.policy = policy
        """May be replaced while serving, except for `bucket`."""
        self.run_time = run_time
        self.lanes = lanes
        self.arrivals = Arrivals()
        self.expired: list[Job] = []
        """Jobs whose deadline passed in the queue; the driver answers them and clears the list."""
        self.forecast_correction = 1.0
        self.usual_run_s = run_time.predict(self.full_rows(self.padded(64)), self.padded(64))
        """Mean run time of the batches that left others waiting; a guess before the first."""
        self.jobs_total = self.batches_total = self.rows_total = 0
        self.real_tokens_total = self.padded_tokens_total = 0
        self.departed_total = self.expired_total = 0
        self.run_seconds_total = self.wait_seconds_total = 0.0
        self._waiting = Waiting()
        self._batches: list[Batch] = []
        self._last_rows = 1
        self._lone: Job | None = None
        """Who found the system empty and is alone."""
        self._last_put_at = -inf
        self._idle_since = inf
        self._wake_at = inf

    @property
    def depth(self) -> int:
        """Jobs that wait."""
        return self._waiting.depth

    @property
    def tokens(self) -> int:
        """Tokens that wait."""
        return self._waiting.tokens

    @property
    def running(self) -> int:
        """Batches that run."""
        return len(self._batches)

    def put(self, job: Job, now: float) -> None:
        """Let `job` wait. Jobs put with the very same `now` count as one arrival: the texts of one request."""
        waiting, policy = self._waiting, self.policy
        if waiting.lift_since + policy.ageing_s <= now:
            waiting.lift(now, policy.ageing_s)
        if not waiting.depth:
            self._idle_since = inf
        if not waiting.depth and not self._batches:
            # After a pause, or where the last batch had no company either, nobody is to be waited for.
            self._lone = job if self._last_rows == 1 or self.arrivals.pause_s(now) > EDGES_S[-1] else None
            self.arrivals.first(now)
        elif now != self._last_put_at:
            self.arrivals.joined(now)
        self._last_put_at = now
        job.padded = -(-job.length // policy.bucket) * policy.bucket or policy.bucket
        job.enqueued_at = now
        job.forecast_s = self._ahead_s(job.priority, now)
        job.cost_s = self._cost_s(job.padded)
        waiting.add(job, now)
        self.jobs_total += 1

    def take(self, now: float) -> Batch | None:
        """Form and start a batch if a lane is idle; None when there is nothing to run, or not yet (`wake_at`)."""
        waiting = self._waiting
        self._wake_at = inf
        if waiting.earliest_deadline() <= now:
            expired = waiting.expire(now)
            self.expired += expired
            self.expired_total += len(expired)
        idle = self.lanes - len(self._batches)
        if not waiting.depth or idle <= 0:
            return None
        if waiting.lift_since + self.policy.ageing_s <= now:
            waiting.lift(now, self.policy.ageing_s)
        leader = waiting.leader()
        rows = self.full_rows(leader.padded)
        if waiting.depth < rows and self._pays_to_wait(leader, idle, now):
            return None
        if idle > 1:
            # Idle engines share a short queue when it ends sooner by more than the extra runs cost.
            whole = min(rows, waiting.depth)
            share = -(-whole // idle)
            predict = self.run_time.predict
            if predict(whole, leader.padded) - predict(share, leader.padded) > self.run_time.a:
                rows = share
        return self._start(self._fill(leader, rows), leader, now)

    def finished(self, batch: Batch, now: float, run_s: float | None = None) -> None:
        """Free the lane of `batch`. `run_s` is its engine time; None, after a failure, teaches nothing."""
        self._batches.remove(batch)
        self._last_rows = batch.rows
        self.arrivals.batch_ended(now, empty=not self._waiting.depth and not self._batches)
        if run_s is not None:
            self.run_time.observe(batch.rows, batch.length, run_s)
            self.run_seconds_total += run_s
            for job in batch.jobs:
                job.run_s = run_s

    def depart(self, job: Job) -> None:
        """The caller of `job` left: if it waits it goes at once and costs nothing; a run runs out."""
        if job.departed:
            return
        job.departed = True
        self.departed_total += 1
        if job.level != GONE:
            self._waiting.remove(job)

    def wake_at(self) -> float | None:
        """When `take` should be asked again though nothing arrives or ends; None for never. Valid after `take`."""
        wake = min(self._wake_at, self._waiting.earliest_deadline())
        return wake if wake < inf else None

    def forecast_s(self, priority: int, now: float) -> float:
        """Seconds that a job which arrived now would wait, corrected by how earlier forecasts turned out."""
        return self._ahead_s(priority, now) * self.forecast_correction

    def drain_s(self, now: float) -> float:
        """Seconds until all that waits and runs would have run, if nothing else came."""
        return self.forecast_s(LOW, now)

    def own_s(self, lengths: Sequence[int]) -> float:
        """Seconds from the start of its first batch to the end of its last that a request of these lengths takes."""
        # A text rides in a batch of company, so all short ones are given the same time: under overload, any
        # difference would let only the favoured lengths in.
        run_s = max(self.usual_run_s, self.run_time.predict(1, self.padded(max(lengths))))
        if len(lengths) == 1:
            return run_s
        return run_s + self.work_s(lengths) / self.lanes

    def work_s(self, lengths: Sequence[int]) -> float:
        """Engine seconds that texts of these lengths cost in full batches."""
        return sum([self._cost_s(self.padded(length)) for length in lengths])

    def clear(self) -> list[Job]:
        """Take out all jobs, for a driver that closes."""
        return self._waiting.clear()

    def padded(self, length: int) -> int:
        """Tokens rounded up to the bucket."""
        bucket = self.policy.bucket
        return -(-length // bucket) * bucket or bucket

    def full_rows(self, padded: int) -> int:
        """Rows of a full batch of this rounded length."""
        return max(1, min(self.policy.max_size, self.policy.max_cost // padded))

    def stats(self) -> dict[str, float]:
        """Counters (`_total`) and gauges, flat."""
        return {
            "depth": self.depth,
            "tokens": self.tokens,
            "running": len(self._batches),
            "lanes": self.lanes,
            "work_seconds": sum(self._waiting.work_s),
            "forecast_correction": self.forecast_correction,
            "jobs_total": self.jobs_total,
            "batches_total": self.batches_total,
            "rows_total": self.rows_total,
            "real_tokens_total": self.real_tokens_total,
            "padded_tokens_total": self.padded_tokens_total,
            "departed_total": self.departed_total,
            "expired_total": self.expired_total,
            "run_seconds_total": self.run_seconds_total,
            "wait_seconds_total": self.wait_seconds_total,
        }

    def _cost_s(self, padded: int) -> float:
        """Engine time of one job of this rounded length in a full batch."""
        rows = self.policy.max_cost // padded or 1
        return self.run_time.row_s(min(self.policy.max_size, rows), padded)

    def _ahead_s(self, priority: int, now: float) -> float:
        """Engine time ahead of a newcomer of this class, over all lanes."""
        batches, work = self._batches, self._waiting.work_s
        if not self._waiting.depth and len(batches) < self.lanes:
            return 0.0
        ahead = work[0]
        if priority > 0:
            ahead += work[1] if priority == 1 else work[1] + work[2]
        for batch in batches:
            rest = batch.started_at + batch.forecast_s - now
            if rest > 0.0:
                ahead += rest
        return ahead / self.lanes

    def _pays_to_wait(self, leader: Job, idle: int, now: float) -> bool:
        """Whether to hold back a batch that is not full, and if so until when (`_wake_at`)."""
        policy, run_time, rows, length = self.policy, self.run_time, self.depth, leader.padded
        run_s = run_time.predict(rows, length)
        since = min(self._idle_since, now) if policy.adaptive else leader.enqueued_at
        latest = min(since + policy.max_wait_ms / 1e3, self._waiting.earliest_deadline() - run_s)
        if policy.adaptive:
            # With another engine idle a newcomer would start there at once; and who is alone never waits.
            if idle > 1 or (rows == 1 and leader is self._lone):
                return False
            gap_s, changes_at = self.arrivals.gap_s(now)
            extra_s = run_time.predict(rows + 1, length) - run_s
            free_s = min((b.started_at + b.forecast_s - now for b in self._batches), default=run_s)
            # A newcomer who misses this batch waits for the next free lane, and runs; in it, he ends with the
            # others. Each of the others pays the gap and the longer run.
            saved_s = min(run_s, max(free_s, 0.0)) + run_time.predict(1, length) - run_s - extra_s
            if saved_s <= gap_s * (rows + 1) + extra_s * rows:
                return False
            latest = min(latest, changes_at)
        if latest <= now + TICK_S:
            return False
        self._idle_since = min(self._idle_since, now)
        self._wake_at = latest
        return True

    def _fill(self, leader: Job, rows: int) -> list[Job]:
        """Take the leader's and the nearest lengths out of the queue, at most `rows` jobs."""
        waiting, predict, max_cost = self._waiting, self.run_time.predict, self.policy.max_cost
        lengths, longest = waiting.lengths, leader.padded
        jobs: list[Job] = []
        waiting.draw(longest, jobs, rows)
        drawn = [longest]
        below = bisect_left(lengths, longest) - 1
        above = below + 2
        while len(jobs) < rows and (below >= 0 or above < len(lengths)):
            up = below < 0 or (
                above < len(lengths) and lengths[above] - leader.padded < leader.padded - lengths[below]
            )
            length = lengths[above if up else below]
            padded = max(longest, length)
            room = min(rows, max_cost // padded) - len(jobs)
            joined = min(room, waiting.count(length))
            apart_s = predict(len(jobs), longest) + predict(joined, length)
            if joined > 0 and predict(len(jobs) + joined, padded) <= apart_s:
                waiting.draw(length, jobs, len(jobs) + room)
                drawn.append(length)
                longest = padded
                below, above = (below, above + 1) if up else (below - 1, above)
            elif up:  # farther ones on this side pay even less
                above = len(lengths)
            else:
                below = -1
        for length in drawn:
            waiting.tidy(length)
        return jobs

    def _start(self, jobs: list[Job], leader: Job, now: float) -> Batch:
        length = max([job.padded for job in jobs])
        since = self._idle_since
        batch = Batch(jobs, length, now, self.run_time.predict(len(jobs), length), max(0.0, now - since))
        for job in jobs:
            job.started_at = now
            job.batch_rows = len(jobs)
            job.batch_wait_s = max(0.0, now - max(since, job.enqueued_at))
        if leader.forecast_s > batch.forecast_s:  # shorter forecasts are mostly rounding
            latency_s = now - leader.enqueued_at + batch.forecast_s
            late = latency_s > leader.forecast_s * self.forecast_correction + self.usual_run_s
            correction = self.forecast_correction * (1.0 + CORRECTION_STEP * (late - LATE_SHARE))
            self.forecast_correction = min(4.0, max(0.25, correction))
        if self.depth:
            self.usual_run_s += 0.1 * (batch.forecast_s - self.usual_run_s)
        self._idle_since = inf
        self._lone = None
        self._batches.append(batch)
        batch.busy = len(self._batches)
        self.batches_total += 1
        self.rows_total += len(jobs)
        self.real_tokens_total += batch.tokens
        self.padded_tokens_total += batch.cost
        self.wait_seconds_total += batch.wait_s
        return batch
