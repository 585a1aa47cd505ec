import numpy as np
import pytest

from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import GatePolicy
from paceline.flow.limiter import LimitPolicy
from paceline.tune.simulation.capacity import capacity
from paceline.tune.simulation.fleet import COMPILES
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.simulation.sweep import sweep
from paceline.tune.workload import Workload

SLOW = ServiceModel(a=2e-3, b=1e-4, c=4e-5, enter_s=1e-4, leave_s=1e-4, hit_s=2e-5, spread=0.1)
FAST = ServiceModel(a=1e-3, b=1e-4, c=2e-5)
KINDS = [pytest.param(False, id="plain")] + [pytest.param(True, id="compiled")] * COMPILES


def trace(requests=120, rate=200.0) -> Workload:
    random = np.random.default_rng(2)
    arrive_s = np.cumsum(random.exponential(1 / rate, requests))
    return Workload.from_requests(
        arrive_s, random.integers(8, 120, requests), random.integers(0, 60, requests)
    )


def station(max_size=8, max_cost=512, **change) -> Station:
    return Station(BatchPolicy(max_size=max_size, max_cost=max_cost, bucket=8), **change)


VARIED = [
    station(),
    station(1),
    station(gate=GatePolicy(slo_ms=8.0)),
    station(cache=L1Policy()),
    station(limits=LimitPolicy(rpm=50)),
    station(lanes=2),
]


@pytest.mark.parametrize("compiled", KINDS)
def test_every_figure_is_that_of_a_replay(compiled):
    workload = trace()
    swept = sweep(workload, VARIED, [SLOW, FAST], seed=3, compiled=compiled)

    for row, one in enumerate(VARIED):
        for column, model in enumerate((SLOW, FAST)):
            outcome = replay(workload, one, model, seed=3)
            shown = [
                figures[row, column]
                for figures in (swept.p50_s, swept.p95_s, swept.p99_s, swept.mean_s, swept.refused_share)
            ]
            told = [outcome.p(0.5), outcome.p(0.95), outcome.p(0.99), outcome.mean_s, outcome.refused_share]
            assert shown == pytest.approx(told)
            assert swept.engine_s[row, column] == outcome.engine_s
            assert swept.mean_rows[row, column] == outcome.mean_rows
            assert swept.capacity[row, column] == pytest.approx(capacity(workload, one, model, seed=3))
    assert swept.refused_share[4, 0] > 0.5


@pytest.mark.parametrize("compiled", KINDS)
def test_says_which_stations_are_saturated(compiled):
    swept = sweep(trace(rate=1000.0), [station(1), station(8, lanes=4)], [SLOW], compiled=compiled)

    assert swept.saturated[:, 0].tolist() == [True, False]
    assert swept.utilisation[0, 0] > 1.0


@pytest.mark.parametrize("compiled", KINDS)
def test_shows_nan_where_nobody_was_answered(compiled):
    swept = sweep(trace(), [station(gate=GatePolicy(max_queue_tokens=1))], [SLOW], compiled=compiled)

    assert swept.refused_share[0, 0] == 1.0
    assert np.isnan([swept.p50_s[0, 0], swept.p99_s[0, 0], swept.mean_s[0, 0]]).all()
    assert swept.mean_rows[0, 0] == 0.0


class TestSettingsThatMakeNoDifference:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (station(64, 64), station(8, 64)),  # eight of the shortest texts are all that fits
            (station(4, 4 * 120), station(4, 4096)),
            (station(gate=GatePolicy(max_queue=120)), station(gate=GatePolicy(max_queue=4096))),
            (station(limits=LimitPolicy(rpm=120)), station()),
            (station(cache=L1Policy(max_bytes=1 << 20)), station(cache=L1Policy(eviction="lru"))),
            (
                Station(BatchPolicy(max_cost=64, bucket=8, ageing_s=0.001)),
                Station(BatchPolicy(max_cost=64, bucket=8)),
            ),
        ],
    )
    def test_are_simulated_once(self, one, other):
        workload = trace()
        swept = sweep(workload, [one, other], [SLOW])

        assert swept.distinct == 1
        plain = [replay(workload, each, SLOW) for each in (one, other)]
        assert np.array_equal(plain[0].latency_s, plain[1].latency_s, equal_nan=True)
        assert swept.p95_s[0, 0] == swept.p95_s[1, 0] == pytest.approx(plain[0].p(0.95))

    def test_and_only_those(self):
        differing = [*VARIED, station(7), station(max_cost=496), station(cache=L1Policy(enabled=False))]

        assert sweep(trace(), differing, [FAST]).distinct == len(differing)
