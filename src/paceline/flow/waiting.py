"""The jobs that wait: by length, by urgency, by deadline."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from heapq import heapify, heappop, heappush
from math import inf

from paceline.flow.job import GONE, LOW, Job

_Entry = tuple[int, float, int, Job]
"""Level, deadline, number of arrival: smaller is more urgent. Stale once the job's level differs."""


class Waiting:
    """One heap of jobs per rounded length, most urgent first; O(log n) to add, lift and take.

    Urgent is: lowest class (lifted by one for each `ageing_s` waited, without end, so that no stream of newcomers
    keeps a job from the top for ever), then earliest deadline, then oldest. Jobs that leave are only marked.
    Invariants: the head of every heap waits; no structure holds more than twice the waiting jobs and 64.
    """

    __slots__ = (
        "_buckets",
        "_counts",
        "_deadlines",
        "_entries",
        "_lifts",
        "_number",
        "depth",
        "lengths",
        "lift_since",
        "tokens",
        "work_s",
    )

    def __init__(self) -> None:
        self.depth = 0
        self.tokens = 0
        self.work_s = [0.0] * (LOW + 1)
        """Engine seconds that wait, by the class the job came with."""
        self.lengths: list[int] = []
        """Rounded lengths that have a waiting job, ascending; read-only."""
        self.lift_since = inf
        """Since when the next to be lifted has waited for it: `lift` has something to do `ageing_s` later."""
        self._buckets: dict[int, list[_Entry]] = {}
        self._counts: dict[int, int] = {}
        """Waiting jobs of each rounded length; its heap may hold stale entries beside."""
        self._entries = 0
        self._deadlines: list[tuple[float, int, Job]] = []
        self._lifts: deque[tuple[float, int, Job]] = deque()
        self._number = 0

    def add(self, job: Job, now: float) -> None:
        """Let `job` (with `padded` and `cost_s` set) wait."""
        number = self._number = self._number + 1
        heap = self._buckets.get(job.padded)
        if heap is None:
            heap = self._buckets[job.padded] = []
            self._counts[job.padded] = 0
            insort(self.lengths, job.padded)
        job.level = job.priority
        heappush(heap, (job.level, job.deadline_at, number, job))
        self._entries += 1
        self._counts[job.padded] += 1
        if job.deadline_at < inf:
            heappush(self._deadlines, (job.deadline_at, number, job))
        if not self._lifts:
            self.lift_since = now
        self._lifts.append((now, number, job))
        self.depth += 1
        self.tokens += job.length
        self.work_s[job.priority] += job.cost_s
        bound = 2 * self.depth + 64
        if self._entries > bound or len(self._lifts) > bound or len(self._deadlines) > bound:
            self._compact()

    def leader(self) -> Job:
        """The most urgent job; there must be one."""
        buckets = self._buckets
        return min([buckets[length][0] for length in self.lengths])[3]

    def count(self, length: int) -> int:
        """How many jobs of this rounded length wait; there must be one."""
        return self._counts[length]

    def draw(self, length: int, jobs: list[Job], rows: int) -> None:
        """Move the most urgent of `length` to `jobs` until these are `rows`; then call `tidy(length)`."""
        heap = self._buckets[length]
        while heap and len(jobs) < rows:
            level, _, _, job = heappop(heap)
            self._entries -= 1
            if level == job.level:
                self._mark_gone(job)
                jobs.append(job)

    def tidy(self, length: int) -> None:
        """Restore the invariant of one heap: its head waits, or it is gone."""
        heap = self._buckets.get(length)
        if heap is None:
            return
        while heap and heap[0][0] != heap[0][3].level:
            heappop(heap)
            self._entries -= 1
        if not heap:
            del self._buckets[length], self._counts[length]
            del self.lengths[bisect_left(self.lengths, length)]

    def remove(self, job: Job) -> None:
        """Take out a job wherever it stands."""
        self._mark_gone(job)
        self.tidy(job.padded)

    def lift(self, now: float, ageing_s: float) -> None:
        """Raise by one class whoever has waited for another `ageing_s`."""
        # Instants since when, not until when: those who wait with a long `ageing_s`, should it change, are in nobody's
        # way. Everyone is appended at the present, so the deque is in order of time.
        lifts = self._lifts
        while lifts and lifts[0][0] + ageing_s <= now:
            since, number, job = lifts.popleft()
            if job.level != GONE:
                job.level -= 1
                heappush(self._buckets[job.padded], (job.level, job.deadline_at, number, job))
                self._entries += 1
                lifts.append((since + ageing_s, number, job))
        self.lift_since = lifts[0][0] if lifts else inf

    def earliest_deadline(self) -> float:
        """Of all that wait; infinite without any."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].level == GONE:
            heappop(deadlines)
        return deadlines[0][0] if deadlines else inf

    def expire(self, now: float) -> list[Job]:
        """Take out whoever's deadline has passed."""
        expired = []
        while self._deadlines and self._deadlines[0][0] <= now:
            job = heappop(self._deadlines)[2]
            if job.level != GONE:
                self.remove(job)
                expired.append(job)
        return expired

    def clear(self) -> list[Job]:
        """Take out everyone."""
        jobs = [entry[3] for heap in self._buckets.values() for entry in heap if entry[0] == entry[3].level]
        for job in jobs:
            self._mark_gone(job)
        self.lengths.clear()
        self._buckets.clear()
        self._counts.clear()
        self._lifts.clear()
        self._deadlines.clear()
        self._entries = 0
        return jobs

    def _mark_gone(self, job: Job) -> None:
        job.level = GONE
        self.depth -= 1
        self._counts[job.padded] -= 1
        self.tokens -= job.length
        self.work_s[job.priority] -= job.cost_s
        if not self.depth:  # sums of floats drift: an empty queue holds no work
            self.work_s = [0.0] * (LOW + 1)

    def _compact(self) -> None:
        self._deadlines = [entry for entry in self._deadlines if entry[2].level != GONE]
        heapify(self._deadlines)
        self._lifts = deque(entry for entry in self._lifts if entry[2].level != GONE)
        for length in self.lengths:
            self._buckets[length] = [entry for entry in self._buckets[length] if entry[0] == entry[3].level]
            heapify(self._buckets[length])
        self._entries = sum(map(len, self._buckets.values()))
