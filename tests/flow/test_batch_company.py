"""When a batch waits for company, and when it does not."""

from math import inf

import pytest

from batch_queues import CPU, GPU, Expecting, queue_of
from paceline.flow.job import Job
from paceline.flow.run_time import RunTime


class TestWaitingForCompany:
    """A closed loop of clients on one lane, by hand: `returns_s` after each answer they ask again."""

    def closed_loop(self, prior, clients, returns_s=0.0002, cycles=60, **policy):
        queue = queue_of(prior=prior, max_size=64, **{"max_cost": 4096, **policy})
        truth = RunTime(prior)
        coming, now, batch, ends_at = [(0.0001 * i) for i in range(clients)], 0.0, None, inf
        while queue.batches_total < cycles:
            wake_at = queue.wake_at()
            now = min([ends_at, *coming[:1], wake_at if wake_at is not None else inf])
            if batch is not None and now == ends_at:
                queue.finished(batch, now, now - batch.started_at)
                coming = sorted(coming + [now + returns_s * (i + 1) / batch.rows for i in range(batch.rows)])
                batch, ends_at = None, inf
            while coming and coming[0] <= now:
                coming.pop(0)
                queue.put(Job(None, 64), now)
            started = queue.take(now)
            if started is not None:
                batch, ends_at = started, now + truth.predict(started.rows, started.length)
        return queue, now

    def test_one_client_never_waits_whatever_the_engine(self):
        for prior in (CPU, GPU):
            assert self.closed_loop(prior, 1)[0].wait_seconds_total == 0.0

    def test_on_a_linear_engine_nobody_waits(self):
        for clients in (2, 4, 8):
            queue, now = self.closed_loop(CPU, clients, max_cost=512)

            assert queue.wait_seconds_total < 0.01 * now

    def test_on_an_engine_with_a_fixed_cost_waiting_gains_throughput(self):
        for clients in (2, 8, 32):
            rates = {}
            for max_wait_ms in (0.0, 10.0):
                queue, now = self.closed_loop(GPU, clients, cycles=200, max_wait_ms=max_wait_ms)
                rates[max_wait_ms] = queue.rows_total / now

            assert rates[10.0] > 1.3 * rates[0.0]

    def test_a_lone_job_after_the_rush_does_not_wait(self):
        queue, now = self.closed_loop(GPU, 8)
        for job in queue.clear():
            job.departed = True
        for batch in list(queue._batches):
            queue.finished(batch, now + 0.01, 0.01)
        queue.put(Job(None, 64), now + 1.0)

        assert queue.take(now + 1.0).wait_s == 0.0

    def test_no_wait_while_another_engine_is_idle(self):
        queue = queue_of([64], prior=GPU, lanes=2)
        queue.arrivals = Expecting()
        queue._lone = None

        assert queue.take(0.0) is not None

    def test_the_wait_ends_at_max_wait_and_is_recorded(self):
        queue = self.expecting_company(max_wait_ms=5.0)

        assert queue.take(1.0) is None
        assert queue.wake_at() == pytest.approx(1.005)
        queue.put(Job(None, 64), 1.002)
        assert queue.take(1.002) is None
        batch = queue.take(1.005)
        assert [round(job.batch_wait_s, 6) for job in batch.jobs] == [0.005, 0.003]
        assert batch.wait_s == pytest.approx(0.005)

    def test_the_wait_ends_in_time_for_the_earliest_deadline(self):
        queue = self.expecting_company(max_wait_ms=50.0)
        queue.put(Job(None, 64, deadline_at=1.020), 1.0)
        run_s = queue.run_time.predict(2, 64)

        assert queue.take(1.0) is None
        assert queue.wake_at() == pytest.approx(1.020 - run_s)

    def test_a_full_batch_does_not_wait(self):
        queue = self.expecting_company(max_size=4)
        for _ in range(3):
            queue.put(Job(None, 64), 1.0)

        assert queue.take(1.0).rows == 4

    def expecting_company(self, **policy):
        """One job that is not alone, and arrivals expected every 0.1 ms."""
        queue = queue_of(prior=GPU, **{"max_cost": 4096, **policy})
        queue.put(Job(None, 64), 1.0)
        queue._lone = None
        queue.arrivals = Expecting()
        return queue

    def test_without_adaptation_it_waits_as_it_is_told(self):
        queue = queue_of([64], adaptive=False, max_wait_ms=10.0, max_size=2)

        assert queue.take(0.0) is None
        assert queue.wake_at() == pytest.approx(0.010)
        assert queue.take(0.010).rows == 1
        assert queue_of([64, 64], adaptive=False, max_size=2).take(0.0).rows == 2

    def test_the_texts_of_one_request_are_no_sign_of_company(self):
        queue = queue_of(prior=GPU)
        for i in range(50):
            for _ in range(8):
                queue.put(Job(None, 64), i * 0.1)
            batch = queue.take(i * 0.1)
            while batch is not None:
                queue.finished(batch, i * 0.1 + 0.01, 0.01)
                batch = queue.take(i * 0.1 + 0.01)

        assert queue.arrivals.total == 0
        assert queue.wait_seconds_total == 0.0
