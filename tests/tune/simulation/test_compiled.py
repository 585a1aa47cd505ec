"""The twins agree to the last bit: compiled code against the classes that serve, over whatever hypothesis thinks of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import GatePolicy
from paceline.tune.simulation.fleet import run_compiled
from paceline.tune.simulation.rehearsal import rehearse_all
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

pytest.importorskip("numba")


@st.composite
def workloads(draw) -> Workload:
    """Bursts and lulls, requests of one text or several, few or many equal texts."""
    gaps_s = st.sampled_from([0.0, 0.0, 1e-4, 1e-3, 3e-3, 0.02, 0.3]) | st.floats(0.0, 0.01)
    requests = draw(st.lists(st.tuples(gaps_s, st.integers(1, 4)), min_size=1, max_size=60))
    sizes = [size for _, size in requests]
    texts = sum(sizes)
    arrive_s = np.repeat(np.cumsum([gap_s for gap_s, _ in requests]), sizes)
    longest, kinds = draw(st.sampled_from([20, 300])), draw(st.sampled_from([3, 40, 10_000]))
    lengths = draw(st.lists(st.integers(1, longest), min_size=texts, max_size=texts))
    keys = draw(st.lists(st.integers(0, kinds), min_size=texts, max_size=texts))
    return Workload(
        arrive_s, lengths, keys, np.repeat(np.arange(len(sizes)), sizes), float(arrive_s[-1]) + 0.1
    )


batches = st.builds(
    BatchPolicy,
    max_size=st.sampled_from([1, 2, 8, 64]),
    max_cost=st.sampled_from([16, 128, 512, 4096]),
    max_wait_ms=st.sampled_from([0.0, 1.0, 10.0, 100.0]),
    adaptive=st.booleans(),
    bucket=st.sampled_from([1, 8, 32]),
    ageing_s=st.sampled_from([1e-3, 0.05, 2.0]),
)
gates = st.builds(
    GatePolicy,
    max_queue=st.sampled_from([3, 20, 4096]),
    max_queue_tokens=st.sampled_from([500, 2_000_000]),
    slo_ms=st.sampled_from([0.0, 20.0, 200.0]),
)
caches = st.sampled_from([None, L1Policy(), L1Policy(eviction="lru"), L1Policy(enabled=False)])
"""None evicts anything of so short a trace."""
stations = st.builds(
    Station,
    batch=batches,
    gate=gates,
    cache=caches,
    lanes=st.integers(1, 3),
    prior=st.sampled_from([(1e-3, 1e-4, 3e-5, 1e-8), (8e-3, 2e-5, 5e-7, 0.0), (0.0, 0.0, 1e-4, 0.0)]),
)
models = st.builds(
    ServiceModel,
    a=st.sampled_from([0.0, 5e-4, 8e-3]),
    b=st.just(1e-4),
    c=st.sampled_from([6e-5, 5e-7]),
    d=st.sampled_from([0.0, 1e-7]),
    contention=st.sampled_from([0.0, 0.3]),
    enter_s=st.sampled_from([0.0, 2e-4]),
    steal=st.sampled_from([0.0, 0.7]),
    leave_s=st.sampled_from([0.0, 1e-4]),
    hit_s=st.sampled_from([0.0, 1e-4]),
    fixed_s=st.just(1e-3),
    spread=st.sampled_from([0.0, 0.2]),
)


@given(workloads(), stations, models, st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_every_latency_is_that_of_the_serving_classes(workload, station, model, seed):
    plain = replay(workload, station, model, seed=seed)
    masks, places = rehearse_all(workload, [station], model)
    fleet = run_compiled(workload, [station], masks, places, model, seed=seed)

    assert np.array_equal(fleet.latency_s[0], plain.latency_s, equal_nan=True)
    assert (fleet.engine_s[0], fleet.makespan_s[0]) == (plain.engine_s, plain.makespan_s)
    assert (fleet.batches[0], fleet.rows[0]) == (plain.batches, plain.rows)


@given(workloads(), stations, models)
@settings(max_examples=60, deadline=None)
def test_every_drain_is_that_of_the_serving_classes(workload, station, model):
    answered = np.arange(workload.texts) % 3 == 1
    plain = replay(workload, station, model, gate=False, answered=answered)
    fleet = run_compiled(workload, [station], answered[None, :], np.array([0]), model, drains=True)

    assert np.array_equal(fleet.latency_s[0], plain.latency_s)
    assert fleet.makespan_s[0] == plain.makespan_s


@given(st.lists(stations, min_size=2, max_size=5), workloads(), models)
@settings(max_examples=30, deadline=None)
def test_a_server_does_not_notice_those_that_ran_before_it(several, workload, model):
    masks, places = rehearse_all(workload, several, model)
    together = run_compiled(workload, several, masks, places, model)
    last = run_compiled(workload, several[-1:], masks, places[-1:], model)

    assert np.array_equal(together.latency_s[-1], last.latency_s[0], equal_nan=True)


def test_the_compiler_runs_once():
    """Another signature (a read-only array, another type) would cost seconds more, unnoticed."""
    from paceline.tune.simulation.compiled.loop import run_all
    from paceline.tune.simulation.sweep import sweep

    model = ServiceModel(a=1e-3, b=0.0, c=0.0)
    for cache in (None, L1Policy()):
        station = Station(BatchPolicy(max_cost=64, bucket=8), cache=cache)
        sweep(Workload.from_requests([0.0, 0.1], [8, 8], [1, 1]), [station], [model], compiled=True)

    assert len(run_all.signatures) == 1


def test_where_nothing_can_be_kept_it_compiles_all_the_same():
    from paceline.tune.simulation.compiled.compiler import kept

    scope: dict = {}
    exec("def double(number): return 2 * number", scope)  # no file, so no place for a cache beside it

    assert kept(scope["double"])(21) == 42
