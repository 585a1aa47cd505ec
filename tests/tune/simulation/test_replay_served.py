"""The replay beside the asyncio driver that serves, on virtual time."""

import asyncio

import numpy as np
import pytest

from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.batcher import Batcher
from paceline.flow.job import Job
from paceline.flow.run_time import RunTime
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload


async def served(workload, station, model, seed) -> list[float]:
    """Latency of each request, by the real batcher before engines that sleep."""
    noise = model.noise(seed, workload.texts)
    queue = BatchQueue(station.batch, RunTime(station.prior), station.lanes)
    loop = asyncio.get_running_loop()
    numbers = iter(range(workload.texts))

    async def run(jobs: list[Job]) -> list[None]:
        length = max(job.padded for job in jobs)
        await asyncio.sleep(model.run_s(len(jobs), length) * noise[next(numbers)])
        return [None] * len(jobs)

    batcher = Batcher(queue, run)

    async def ask(request: int) -> float:
        texts = range(workload.starts[request], workload.starts[request + 1])
        await batcher.submit_all([Job(None, int(workload.length[text])) for text in texts])
        return loop.time() - float(workload.arrive_s[texts[0]])

    asked = []
    for request in range(workload.requests):
        ahead_s = float(workload.arrive_s[workload.starts[request]]) - loop.time()
        if ahead_s > 1e-9:  # else it comes in the same turn
            await asyncio.sleep(ahead_s)
        asked.append(asyncio.create_task(ask(request)))
    return await asyncio.gather(*asked)


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("rate", [40, 150, 600])
def test_every_latency_is_that_of_the_batcher(run_virtual, rate, lanes, adaptive):
    random = np.random.default_rng(rate + lanes)
    request = np.sort(random.integers(0, 150, 200))
    request = np.unique(request, return_inverse=True)[1]
    gaps_s = random.exponential(1 / rate, request[-1] + 1) * (random.random(request[-1] + 1) < 0.8)
    arrive_s = np.cumsum(gaps_s)[request]
    lengths = np.exp(random.uniform(np.log(4), np.log(200), 200))
    workload = Workload(arrive_s, lengths, np.arange(200), request, arrive_s[-1] + 0.1)
    batch = BatchPolicy(max_size=8, max_cost=512, bucket=8, max_wait_ms=5.0, adaptive=adaptive)
    station = Station(batch, lanes=lanes)
    model = ServiceModel(a=2e-3, b=1e-4, c=4e-5, spread=0.1)

    expected = run_virtual(served(workload, station, model, 3))
    outcome = replay(workload, station, model, seed=3, gate=False)

    assert outcome.latency_s == pytest.approx(np.array(expected), abs=1e-9)
