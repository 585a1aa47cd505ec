import asyncio
import math
import random

import pytest

from paceline.base.errors import DeadlineExceeded, Overloaded, PayloadTooLarge
from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.batcher import Batcher
from paceline.flow.gate import Gate, GatePolicy
from paceline.flow.job import HIGH, LOW, NORMAL, Job
from paceline.flow.run_time import RunTime

CPU = (0.5e-3, 0.1e-3, 60e-6, 0.0)


def gate_over(lengths=(), *, running=False, at=0.0, **policy):
    queue = BatchQueue(BatchPolicy(max_cost=512, bucket=8), RunTime(CPU), 1)
    if running:
        queue.put(Job(None, 128), at)
        queue.take(at)
    for length in lengths:
        queue.put(Job(None, length), at)
    return Gate(GatePolicy(**policy), queue, lambda: at), queue


def test_an_idle_engine_refuses_nobody():
    gate, _ = gate_over(slo_ms=1.0)

    gate.admit([128] * 1000)

    assert gate.stats() == {"admitted_total": 1, "refused_total": 0, "expired_total": 0, "too_large_total": 0}


def test_without_an_slo_and_a_deadline_only_the_bounds_count():
    gate, _ = gate_over([128] * 4000, running=True)

    gate.admit([128])

    assert gate.admitted_total == 1


def test_a_predicted_latency_over_the_slo_is_refused_with_the_time_to_come_back():
    gate, queue = gate_over([128] * 100, running=True, slo_ms=300)
    predicted_s = queue.forecast_s(NORMAL, 0.0) + queue.own_s([64])

    with pytest.raises(Overloaded, match="longer than the 300 ms allowed") as refusal:
        gate.admit([64])

    assert refusal.value.retry_after_s == pytest.approx(predicted_s - 0.3)
    assert gate.refused_total == 1


def test_the_caller_s_own_deadline_counts_when_it_is_shorter():
    gate, _ = gate_over([128] * 20, running=True, slo_ms=10_000)

    gate.admit([64], deadline_at=1.0)
    with pytest.raises(Overloaded, match="50 ms allowed"):
        gate.admit([64], deadline_at=0.05)


def test_after_the_time_given_the_request_is_admitted():
    gate, queue = gate_over([128] * 100, running=True, slo_ms=300)
    with pytest.raises(Overloaded) as refusal:
        gate.admit([64])
    now = running_until = 0.0
    gate = Gate(gate.policy, queue, lambda: now)
    batch = queue._batches[0]
    while (running_until := batch.started_at + batch.forecast_s) <= refusal.value.retry_after_s:
        now = running_until
        queue.finished(batch, now, batch.forecast_s)
        batch = queue.take(now)
    now = refusal.value.retry_after_s + 0.04  # one batch: the forecast is as fine as a run

    gate.admit([64])


def test_a_deadline_that_is_over_is_told_at_once():
    gate, _ = gate_over(at=5.0)

    with pytest.raises(DeadlineExceeded, match="2000 ms ago"):
        gate.admit([8], deadline_at=3.0)
    assert gate.expired_total == 1


@pytest.mark.parametrize(("lengths", "limit"), [([8] * 11, "10 texts"), ([500, 501], "1000 tokens")])
def test_a_request_larger_than_the_whole_queue_is_told_the_way_out(lengths, limit):
    gate, _ = gate_over(max_queue=10, max_queue_tokens=1000)

    with pytest.raises(PayloadTooLarge, match=f"{limit}.*send fewer"):
        gate.admit(lengths)


@pytest.mark.parametrize("policy", [{"max_queue": 10}, {"max_queue_tokens": 640}])
def test_a_full_queue_refuses_and_says_when(policy):
    gate, queue = gate_over([64] * 10, running=True, **policy)

    with pytest.raises(Overloaded, match="10 texts of 640 tokens wait") as refusal:
        gate.admit([64])

    assert 0 < refusal.value.retry_after_s <= queue.drain_s(0.0)


def test_a_request_of_many_texts_is_admitted_or_refused_as_a_whole():
    gate, queue = gate_over([64] * 8, running=True, max_queue=10)

    gate.admit([64, 64])
    with pytest.raises(Overloaded):
        gate.admit([64, 64, 64])
    assert queue.depth == 8


def test_many_texts_are_predicted_to_take_longer_than_one():
    gate, _ = gate_over([64] * 8, running=True, slo_ms=200)

    gate.admit([128])
    with pytest.raises(Overloaded):
        gate.admit([128] * 40)


def test_high_priority_is_not_refused_for_work_behind_it():
    gate, queue = gate_over(running=True, slo_ms=200)
    for _ in range(50):
        queue.put(Job(None, 128, LOW), 0.0)

    gate.admit([64], priority=HIGH)
    with pytest.raises(Overloaded):
        gate.admit([64], priority=LOW)


class TestOnTheWay:
    """Admitted, but not yet put: texts are tokenised in between."""

    def gate(self, **policy):
        self.now = 0.0
        _, queue = gate_over()
        return Gate(GatePolicy(**policy), queue, lambda: self.now), queue

    def admitted(self, gate, tries):
        before = gate.admitted_total
        for _ in range(tries):
            try:
                gate.admit([128, 128])
            except Overloaded:
                continue
        return gate.admitted_total - before

    def test_a_burst_in_one_instant_does_not_pass_the_bounds(self):
        gate, _ = self.gate(max_queue=100)

        assert self.admitted(gate, 1000) == 50

    def test_nor_the_slo(self):
        gate, queue = self.gate(slo_ms=300)

        assert 5 < self.admitted(gate, 1000) <= 0.3 / queue.work_s([128, 128])

    def test_what_was_put_is_counted_once(self):
        gate, queue = self.gate(max_queue=10)
        gate.admit([128] * 10)
        for _ in range(7):
            queue.put(Job(None, 128), 0.0)
        queue.take(0.0)

        assert self.admitted(gate, 5) == 2  # 3 wait, 3 are on their way

    def test_what_never_comes_is_forgotten(self):
        gate, _ = self.gate(max_queue=100)
        self.admitted(gate, 1000)
        self.now = 1.0

        assert self.admitted(gate, 1000) == 50


async def offered(load, slo_ms, seconds, *, lanes=2, slower=1.0):
    """Poisson arrivals of mixed lengths through gate and batcher; (good tokens/s, p99 ms of the answered, refused)."""
    loop, rng = asyncio.get_running_loop(), random.Random(11)
    truth = RunTime(CPU)

    async def run(jobs):
        spread = rng.gauss(1.0, 0.03)
        await asyncio.sleep(slower * spread * truth.predict(len(jobs), max(job.padded for job in jobs)))
        return jobs

    queue = BatchQueue(BatchPolicy(max_cost=512, bucket=8), RunTime(), lanes)
    batcher, gate = Batcher(queue, run), Gate(GatePolicy(slo_ms=slo_ms), queue, loop.time)
    latencies, tokens = [], 0

    async def request(length):
        nonlocal tokens
        started_at = loop.time()
        try:
            gate.admit([length])
            await batcher.submit(Job(None, length))
        except Overloaded:
            return
        if loop.time() > seconds / 4:  # the first quarter teaches the forecast
            latencies.append(loop.time() - started_at)
            tokens += length * (latencies[-1] <= slo_ms / 1e3)

    tasks = []
    capacity = CAPACITY_TOKENS_S * lanes / slower
    while loop.time() < seconds:
        length = round(2 ** rng.uniform(3, 7))
        tasks.append(asyncio.create_task(request(length)))
        await asyncio.sleep(rng.expovariate(load * capacity / MEAN_TOKENS))
    end = loop.time()
    await asyncio.gather(*tasks)
    return (
        tokens / (end * 0.75) / capacity,
        sorted(latencies)[math.ceil(0.99 * len(latencies)) - 1] * 1e3,
        gate,
    )


MEAN_TOKENS = 120 / math.log(16)
CAPACITY_TOKENS_S = 14_600
"""Of one lane of this engine with a full queue: 256 clients in a closed loop reach 14,593."""


@pytest.mark.parametrize("load", [1.3, 10.0])
def test_under_overload_the_engine_stays_busy_with_requests_that_make_the_slo(run_virtual, load):
    goodput, p99_ms, gate = run_virtual(offered(load, 300, 6.0))

    assert goodput >= 0.95
    assert p99_ms <= 300
    assert gate.refused_total > 0


def test_below_the_capacity_almost_nobody_is_refused(run_virtual):
    _, p99_ms, gate = run_virtual(offered(0.8, 300, 6.0))

    assert gate.refused_total <= 0.001 * gate.admitted_total
    assert p99_ms <= 300


def test_an_engine_slower_than_the_prior_changes_nothing(run_virtual):
    goodput, p99_ms, _ = run_virtual(offered(3.0, 600, 12.0, slower=2.0))

    assert goodput >= 0.95
    assert p99_ms <= 600


def test_to_check_is_not_to_admit():
    gate, _ = gate_over([128] * 100, running=True, slo_ms=300)

    with pytest.raises(Overloaded):
        gate.check([64])
    gate.policy = GatePolicy()
    for _ in range(3):
        gate.check([64])

    assert gate.stats() == {"admitted_total": 0, "refused_total": 1, "expired_total": 0, "too_large_total": 0}
