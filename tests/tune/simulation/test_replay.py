import numpy as np
import pytest

from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import GatePolicy
from paceline.flow.limiter import LimitPolicy
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

FLAT = ServiceModel(a=1.0, b=0.0, c=0.0)
"""Every batch runs a second."""
PRIOR = (1.0, 1e-9, 1e-9, 0.0)


def station(max_size=4, *, lanes=1, gate=None, cache=None, limits=None, **batch) -> Station:
    batch = {"max_cost": 64, "max_wait_ms": 0.0, "bucket": 8, **batch}
    return Station(
        BatchPolicy(max_size=max_size, **batch),
        gate or GatePolicy(),
        cache,
        limits=limits,
        lanes=lanes,
        prior=PRIOR,
    )


def trace(*arrive_s, lengths=None, keys=None) -> Workload:
    return Workload.from_requests(arrive_s, lengths or [8] * len(arrive_s), keys)


def latencies(outcome) -> list[float]:
    return pytest.approx(outcome.latency_s.tolist())


class TestTheQueue:
    def test_a_lone_request_takes_one_run(self):
        outcome = replay(trace(0.0), station(), FLAT)

        assert (outcome.latency_s.tolist(), outcome.batches, outcome.engine_s) == ([1.0], 1, 1.0)

    def test_who_comes_during_a_run_shares_the_next(self):
        outcome = replay(trace(0.0, 0.25, 0.5), station(), FLAT)

        assert [1.0, 1.75, 1.5] == latencies(outcome)
        assert (outcome.batches, outcome.mean_rows, outcome.makespan_s) == (2, 1.5, 2.0)

    def test_a_full_batch_leaves_the_rest_for_the_next(self):
        outcome = replay(trace(0.0, 0.1, 0.2, 0.3), station(max_size=2), FLAT)

        assert [1.0, 1.9, 1.8, 2.7] == latencies(outcome)

    def test_arrivals_of_one_instant_run_together(self):
        outcome = replay(trace(0.0, 0.0, 0.0), station(), FLAT)

        assert [1.0, 1.0, 1.0] == latencies(outcome)

    def test_a_request_is_answered_with_its_last_text(self):
        pair = Workload(np.zeros(3), np.full(3, 8), np.arange(3), np.array([0, 0, 0]), 1.0)
        outcome = replay(pair, station(max_size=2), FLAT)

        assert [2.0] == latencies(outcome)

    def test_a_queue_that_always_waits_does_so_until_its_timer_rings(self):
        outcome = replay(trace(0.0), station(adaptive=False, max_wait_ms=250.0), FLAT)

        assert [1.25] == latencies(outcome)


class TestTheEngines:
    def test_run_as_the_model_says(self):
        model = ServiceModel(a=1.0, b=0.1, c=0.01, d=0.001)
        outcome = replay(trace(0.0, 0.0, lengths=[9, 16]), station(), model)

        assert [1.0 + 0.2 + 0.32 + 0.512] * 2 == latencies(outcome)

    def test_slow_each_other_down(self):
        model = ServiceModel(a=1.0, b=0.0, c=0.0, contention=0.5)
        outcome = replay(trace(0.0, 0.1), station(lanes=2), model)

        assert [1.0, 1.5] == latencies(outcome)
        assert outcome.engine_s == pytest.approx(2.5)

    def test_have_the_same_luck_in_every_setting(self):
        model = ServiceModel(a=1.0, b=0.0, c=0.0, spread=0.2)
        noise = model.noise(5, 3)
        outcome = replay(trace(0.0, 3.0, 6.0), station(), model, seed=5)

        assert noise.tolist() == latencies(outcome)
        assert model.noise(5, 2).tolist() == noise[:2].tolist()
        assert model.noise(5, 100_000).mean() == pytest.approx(1.0, abs=0.01)


class TestTheEventLoop:
    def test_texts_enter_and_answers_leave_one_after_another(self):
        model = ServiceModel(a=1.0, b=0.0, c=0.0, enter_s=0.01, leave_s=0.1, fixed_s=5.0)
        outcome = replay(trace(0.0, 0.0), station(), model)

        assert [0.02 + 1.0 + 0.1 + 5.0, 0.02 + 1.0 + 0.2 + 5.0] == latencies(outcome)

    def test_an_arrival_waits_while_answers_are_written(self):
        model = ServiceModel(a=1.0, b=0.0, c=0.0, leave_s=0.1)
        outcome = replay(trace(0.0, 1.05), station(), model)

        assert [1.1, 0.05 + 1.0 + 0.1] == latencies(outcome)

    def test_an_end_waits_while_texts_enter(self):
        model = ServiceModel(a=1.0, b=0.0, c=0.0, enter_s=0.1)
        outcome = replay(trace(0.0, 1.05), station(), model)

        assert [1.15, 1.1] == latencies(outcome)


class TestTheCache:
    def test_answers_what_was_computed(self):
        model = ServiceModel(a=1.0, b=0.0, c=0.0, hit_s=0.01)
        outcome = replay(trace(0.0, 2.0, keys=[7, 7]), station(cache=L1Policy()), model)

        assert [1.0, 0.01] == latencies(outcome)
        assert (outcome.hits, outcome.flights, outcome.rows) == (1, 0, 1)

    def test_an_equal_text_waits_for_the_run_that_is_under_way(self):
        outcome = replay(trace(0.0, 0.4, keys=[7, 7]), station(cache=L1Policy()), FLAT)

        assert [1.0, 0.6] == latencies(outcome)
        assert (outcome.hits, outcome.flights, outcome.rows) == (0, 1, 1)

    def test_a_tier_that_is_off_keeps_nothing_but_runs_are_shared(self):
        cache = L1Policy(enabled=False)
        outcome = replay(trace(0.0, 0.4, 2.0, keys=[7, 7, 7]), station(cache=cache), FLAT)

        assert [1.0, 0.6, 1.0] == latencies(outcome)

    def test_without_a_cache_every_text_runs(self):
        outcome = replay(trace(0.0, 0.4, keys=[7, 7]), station(), FLAT)

        assert (outcome.rows, outcome.flights) == (2, 0)

    def test_forgets_what_does_not_fit(self):
        cache = L1Policy(max_bytes=4096, eviction="lru")  # two values of 1544 bytes
        outcome = replay(trace(0.0, 2.0, 4.0, 6.0, keys=[1, 2, 3, 1]), station(cache=cache), FLAT)

        assert (outcome.hits, outcome.rows) == (0, 4)


class TestIsRefused:
    def test_by_the_gate_when_the_queue_is_full(self):
        gate = GatePolicy(max_queue=1)
        outcome = replay(trace(0.0, 0.1, 0.2), station(gate=gate), FLAT)

        assert np.isnan(outcome.latency_s).tolist() == [False, False, True]
        assert (outcome.refused, outcome.refused_share) == (1, pytest.approx(1 / 3))

    def test_by_the_gate_when_the_forecast_is_too_long(self):
        gate = GatePolicy(slo_ms=1500.0)
        outcome = replay(trace(0.0, 0.1, 0.6), station(gate=gate), FLAT)

        assert np.isnan(outcome.latency_s).tolist() == [False, True, False]

    def test_a_request_larger_than_the_queue(self):
        pair = Workload(np.zeros(2), np.full(2, 8), np.arange(2), np.zeros(2), 1.0)

        assert replay(pair, station(gate=GatePolicy(max_queue=1)), FLAT).refused == 1

    def test_never_without_the_gate(self):
        gate = GatePolicy(max_queue=1, slo_ms=1.0)
        outcome = replay(trace(0.0, 0.1, 0.2), station(gate=gate), FLAT, gate=False)

        assert outcome.refused == 0

    def test_by_the_limiter_until_the_minute_is_over(self):
        limits = LimitPolicy(rpm=1)
        outcome = replay(trace(0.0, 30.0, 59.0, 60.0), station(limits=limits), FLAT)

        assert np.isnan(outcome.latency_s).tolist() == [False, True, True, False]

    def test_and_the_event_loop_pays_for_saying_so(self):
        model = ServiceModel(a=1.0, b=0.0, c=0.0, hit_s=0.1)
        outcome = replay(trace(0.0, 0.95), station(limits=LimitPolicy(rpm=1)), model)

        assert outcome.latency_s[0] == pytest.approx(1.05)
