from math import inf

import numpy as np
import pytest

from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import GatePolicy
from paceline.flow.limiter import LimitPolicy
from paceline.tune.simulation.capacity import capacity, drained, utilisation
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

FLAT = ServiceModel(a=1e-2, b=0.0, c=0.0)
BATCH = BatchPolicy(max_size=4, max_cost=64, bucket=8)
PRIOR = (1e-2, 0.0, 0.0, 0.0)


def evenly(requests=400, rate=100.0, keys=None) -> Workload:
    return Workload.from_requests(np.arange(requests) / rate, [8] * requests, keys, requests / rate)


def test_full_batches_run_back_to_back():
    assert capacity(evenly(), Station(BATCH, prior=PRIOR), FLAT) == pytest.approx(400.0)


def test_lanes_add_up():
    assert capacity(evenly(), Station(BATCH, prior=PRIOR, lanes=2), FLAT) == pytest.approx(800.0)


def test_and_slow_each_other_down():
    model = ServiceModel(a=1e-2, b=0.0, c=0.0, contention=0.25)

    assert capacity(evenly(), Station(BATCH, prior=PRIOR, lanes=2), model) == pytest.approx(640.0, rel=0.01)


def test_the_event_loop_is_the_limit_where_it_is_slower():
    model = ServiceModel(a=1e-5, b=0.0, c=0.0, enter_s=2e-3, leave_s=3e-3)

    assert capacity(evenly(), Station(BATCH), model) == pytest.approx(200.0, rel=0.01)


def test_the_engine_runs_while_the_event_loop_works():
    """100 batches of 10 ms beside 0.4 s of event loop take little more than the second the batches take."""
    model = ServiceModel(a=1e-2, b=0.0, c=0.0, enter_s=5e-4, leave_s=5e-4)

    assert capacity(evenly(), Station(BATCH, prior=PRIOR), model) == pytest.approx(400.0, rel=0.06)


def test_cached_texts_cost_the_engine_nothing():
    keys = np.arange(400) // 4  # three of four are hits
    station = Station(BATCH, cache=L1Policy(), prior=PRIOR)

    assert capacity(evenly(keys=keys), station, FLAT) == pytest.approx(1600.0)


def test_nothing_is_refused_for_it():
    station = Station(BATCH, GatePolicy(max_queue=1, slo_ms=1.0), limits=LimitPolicy(rpm=1), prior=PRIOR)

    assert capacity(evenly(), station, FLAT) == pytest.approx(400.0)


def test_what_takes_no_time_has_no_bound():
    answered = Station(BATCH, cache=L1Policy(), prior=PRIOR)
    hits = Workload.from_requests([0.0, 1.0], [8, 8], [1, 1])

    assert capacity(hits, answered, FLAT) == pytest.approx(2 / 1e-2)
    assert drained(hits, np.array([True, True]), FLAT).arrive_s.tolist() == [0.0, 0.0]
    assert capacity(evenly(1), Station(BATCH), FLAT) < inf


def test_utilisation_is_what_is_offered_of_it():
    assert utilisation(evenly(rate=100.0), Station(BATCH, prior=PRIOR), FLAT) == pytest.approx(0.25)
