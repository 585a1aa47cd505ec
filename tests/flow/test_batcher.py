import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from paceline.base.errors import DeadlineExceeded, EngineError, Overloaded
from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.batcher import Batcher
from paceline.flow.job import HIGH, NORMAL, Job
from paceline.flow.run_time import RunTime

CPU = (0.5e-3, 0.1e-3, 60e-6, 0.0)
GPU = (8e-3, 0.02e-3, 0.5e-6, 0.0)


class Engine:
    """Takes the time of its formula and answers each job with its payload."""

    def __init__(self, coefficients=CPU):
        self.truth = RunTime(coefficients)
        self.batches = []
        self.at_once = self.most_at_once = 0
        self.fault = None

    async def run(self, jobs):
        self.batches.append([job.payload for job in jobs])
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.truth.predict(len(jobs), max(job.padded for job in jobs)))
        finally:
            self.at_once -= 1
        if self.fault is not None:
            raise self.fault
        return [job.payload for job in jobs]


def batcher_of(engine, *, lanes=1, on_batch=None, prior=CPU, **policy):
    queue = BatchQueue(BatchPolicy(**{"max_cost": 512, "bucket": 8, **policy}), RunTime(prior), lanes)
    return Batcher(queue, engine.run, on_batch=on_batch)


def now():
    return asyncio.get_running_loop().time()


def test_a_lone_job_takes_its_own_run_and_nothing_else(run_virtual):
    async def scenario():
        engine = Engine()
        job = Job("x", 16)
        result = await batcher_of(engine).submit(job)
        return result, now(), engine.truth.predict(1, 16), job

    result, took_s, run_s, job = run_virtual(scenario())

    assert result == "x"
    assert took_s == pytest.approx(run_s)
    assert (job.queue_s, job.batch_wait_s, job.batch_rows) == (0.0, 0.0, 1)
    assert job.run_s == pytest.approx(run_s)


def test_what_arrives_in_one_turn_is_one_batch(run_virtual):
    async def scenario():
        engine = Engine()
        batcher = batcher_of(engine)
        return await asyncio.gather(*(batcher.submit(Job(i, 16)) for i in range(8))), engine.batches

    results, batches = run_virtual(scenario())

    assert results == list(range(8))
    assert batches == [list(range(8))]


def test_what_arrives_in_one_turn_is_no_company_to_wait_for(run_virtual):
    async def scenario():
        batcher = batcher_of(Engine(GPU), prior=GPU)
        for _ in range(50):
            await asyncio.gather(*(batcher.submit(Job(i, 16)) for i in range(8)))
            await asyncio.sleep(0.0001)
        return batcher.queue

    queue = run_virtual(scenario())

    assert (queue.arrivals.total, queue.wait_seconds_total) == (0, 0.0)


def test_lanes_that_differ_from_the_queue_s_are_refused(run_virtual):
    async def scenario():
        Batcher(BatchQueue(BatchPolicy(max_cost=512, bucket=8), RunTime(), 2), Engine().run, 3)

    with pytest.raises(ValueError, match="made for 2 lanes, not 3"):
        run_virtual(scenario())


def test_the_texts_of_a_request_come_back_in_order_over_several_batches(run_virtual):
    async def scenario():
        engine = Engine()
        lengths = [random.Random(i).randint(4, 128) for i in range(40)]
        results = await batcher_of(engine, lanes=2).submit_all([Job(i, n) for i, n in enumerate(lengths)])
        return results, engine

    results, engine = run_virtual(scenario())

    assert results == list(range(40))
    assert len(engine.batches) > 2
    assert engine.most_at_once == 2


def test_high_priority_overtakes_what_waits(run_virtual):
    async def scenario():
        engine = Engine()
        batcher = batcher_of(engine, max_size=1)
        jobs = [Job(i, 64, NORMAL) for i in range(4)] + [Job("high", 64, HIGH)]
        await asyncio.gather(*(batcher.submit(job) for job in jobs))
        return engine.batches

    assert run_virtual(scenario())[0] == ["high"]


def test_a_cancelled_caller_costs_nothing(run_virtual):
    async def scenario():
        engine = Engine()
        batcher = batcher_of(engine)
        running = asyncio.create_task(batcher.submit(Job("running", 128)))
        await asyncio.sleep(0.001)
        leavers = [asyncio.create_task(batcher.submit(Job("gone", 128))) for _ in range(300)]
        await asyncio.sleep(0.001)
        for task in leavers:
            task.cancel()
        started_at = now()
        await batcher.submit(Job("honest", 16))
        await running
        await batcher.drain()
        return engine.batches, now() - started_at, batcher.queue.departed_total

    batches, took_s, departed = run_virtual(scenario())

    assert batches == [["running"], ["honest"]]
    assert took_s < 0.02
    assert departed == 300


def test_who_leaves_a_request_of_many_takes_all_its_texts_along(run_virtual):
    async def scenario():
        engine = Engine()
        batcher = batcher_of(engine)
        task = asyncio.create_task(batcher.submit_all([Job(i, 128) for i in range(20)]))
        await asyncio.sleep(0.001)
        task.cancel()
        await batcher.drain()
        return len(engine.batches), batcher.queue

    ran, queue = run_virtual(scenario())

    assert ran == 1
    assert (queue.departed_total, queue.depth, queue.running) == (20, 0, 0)


def test_a_deadline_that_passes_in_the_queue_is_told_on_time(run_virtual):
    async def scenario():
        engine = Engine((1.0, 0.0, 0.0, 0.0))
        batcher = batcher_of(engine)
        first = asyncio.create_task(batcher.submit(Job("first", 8)))
        await asyncio.sleep(0.01)
        with pytest.raises(DeadlineExceeded, match="190 ms in the queue"):
            await batcher.submit(Job("late", 8, deadline_at=0.2))
        at = now()
        await first
        return at, engine.batches, batcher.queue.expired_total

    at, batches, expired = run_virtual(scenario())

    assert at == pytest.approx(0.2)
    assert (batches, expired) == ([["first"]], 1)


def test_an_engine_fault_reaches_every_caller_of_the_batch_and_the_next_batch_runs(run_virtual):
    async def scenario():
        engine = Engine()
        batcher = batcher_of(engine)
        engine.fault = RuntimeError("out of memory")
        faults = await asyncio.gather(*(batcher.submit(Job(i, 8)) for i in range(3)), return_exceptions=True)
        engine.fault = None
        return faults, await batcher.submit(Job("fine", 8))

    faults, fine = run_virtual(scenario())

    assert [type(fault) for fault in faults] == [EngineError] * 3
    assert len({id(fault) for fault in faults}) == 3
    assert "out of memory" in faults[0].message
    assert isinstance(faults[0].__cause__, RuntimeError)
    assert fine == "fine"


def test_an_engine_that_miscounts_is_at_fault(run_virtual):
    async def scenario():
        async def run(jobs):
            return []

        batcher = Batcher(BatchQueue(BatchPolicy(max_cost=512, bucket=8), RunTime()), run)
        await batcher.submit(Job(0, 8))

    with pytest.raises(EngineError, match="0 results for 1 jobs"):
        run_virtual(scenario())


def test_each_batch_is_recorded(run_virtual):
    async def scenario():
        records = []
        batcher = batcher_of(Engine(), on_batch=records.append)
        await batcher.submit_all([Job(0, 13), Job(1, 15)])
        return records

    (record,) = run_virtual(scenario())

    assert (record.rows, record.cost, record.tokens, record.wait_s) == (2, 32, 28, 0.0)
    assert record.run_s == pytest.approx(RunTime(CPU).predict(2, 16))
    assert (record.started_at, record.length, record.busy) == (0.0, 16, 1)


def test_a_record_says_how_many_batches_ran_beside_it(run_virtual):
    async def scenario():
        records = []
        batcher = batcher_of(Engine(), lanes=2, on_batch=records.append, max_size=1)
        await batcher.submit_all([Job(0, 16), Job(1, 16)])
        await batcher.submit(Job(2, 16))
        return records

    assert [record.busy for record in run_virtual(scenario())] == [1, 2, 1]


def test_another_policy_goes_for_those_who_wait_too(run_virtual):
    async def scenario():
        batcher = batcher_of(Engine(), adaptive=False, max_wait_ms=1000.0)
        job = Job(0, 16)
        waiting = asyncio.create_task(batcher.submit(job))
        await asyncio.sleep(0.01)
        batcher.apply(BatchPolicy(max_cost=512, bucket=8, adaptive=False, max_wait_ms=0.0))
        await waiting
        return job

    assert run_virtual(scenario()).queue_s == pytest.approx(0.01)


def test_a_classic_wait_ends_by_its_timer(run_virtual):
    async def scenario():
        engine = Engine()
        batcher = batcher_of(engine, adaptive=False, max_wait_ms=10.0)
        first = asyncio.create_task(batcher.submit(Job(0, 16)))
        await asyncio.sleep(0.004)
        job = Job(1, 16)
        await batcher.submit(job)
        await first
        return engine.batches, job

    batches, job = run_virtual(scenario())

    assert batches == [[0, 1]]
    assert job.batch_wait_s == pytest.approx(0.006)


def test_drain_ends_when_nothing_is_left(run_virtual):
    async def scenario():
        batcher = batcher_of(Engine())
        await batcher.drain()
        tasks = [asyncio.create_task(batcher.submit(Job(i, 128))) for i in range(20)]
        await asyncio.sleep(0)
        await batcher.drain()
        return [task.done() for task in tasks], batcher.queue.depth, now()

    done, depth, at = run_virtual(scenario())

    assert depth == 0
    assert at > 0.1
    assert all(done)


def test_close_answers_everybody_and_takes_no_more(run_virtual):
    async def scenario():
        batcher = batcher_of(Engine())
        tasks = [asyncio.create_task(batcher.submit(Job(i, 128))) for i in range(20)]
        await asyncio.sleep(0.001)
        await batcher.close()
        faults = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(Overloaded, match="shutting down"):
            await batcher.submit(Job(0, 8))
        return faults

    assert {type(fault) for fault in run_virtual(scenario())} == {Overloaded}


def test_an_engine_in_threads_works_on_this_loop_too(run_virtual):
    async def scenario():
        with ThreadPoolExecutor(1) as threads:

            async def run(jobs):
                return await asyncio.get_running_loop().run_in_executor(
                    threads, list, [j.payload for j in jobs]
                )

            batcher = Batcher(BatchQueue(BatchPolicy(max_cost=512, bucket=8), RunTime()), run)
            return await batcher.submit_all([Job(i, 8) for i in range(5)])

    assert run_virtual(scenario()) == [0, 1, 2, 3, 4]


async def closed_loop(engine, clients, seconds, **options):
    """Clients that ask again about 0.2 ms after their answer, mixed lengths; tokens answered per second."""
    batcher = batcher_of(engine, **options)
    started_at = now()
    answered = 0

    async def client(number):
        nonlocal answered
        rng = random.Random(number)
        while now() < started_at + seconds:
            length = round(2 ** rng.uniform(3, 7))
            await batcher.submit(Job(None, length))
            answered += length
            await asyncio.sleep(rng.expovariate(1 / 0.2e-3))

    await asyncio.gather(*(client(i) for i in range(clients)))
    return answered / (now() - started_at), batcher.queue


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_rate_at_128_and_256_clients_is_not_below_the_rate_at_64(run_virtual, lanes):
    async def scenario():
        return [(await closed_loop(Engine(), clients, 10.0, lanes=lanes))[0] for clients in (64, 128, 256)]

    at_64, at_128, at_256 = run_virtual(scenario())

    assert min(at_128, at_256) >= at_64


def test_waiting_pays_on_a_fixed_cost_engine_and_never_happens_on_a_linear_one(run_virtual):
    async def scenario(coefficients, max_cost):
        figures = []
        for max_wait_ms in (0.0, 10.0):
            options = {
                "prior": coefficients,
                "max_cost": max_cost,
                "max_size": 64,
                "max_wait_ms": max_wait_ms,
            }
            figures.append(await closed_loop(Engine(coefficients), 8, 4.0, **options))
        (without, _), (rate, queue) = figures
        return rate / without, queue.wait_seconds_total / 4.0

    gpu_gain, _ = run_virtual(scenario(GPU, 4096))
    cpu_gain, cpu_waited = run_virtual(scenario(CPU, 512))

    assert gpu_gain > 1.5
    assert cpu_gain == pytest.approx(1.0, abs=0.01)
    assert cpu_waited < 0.005
