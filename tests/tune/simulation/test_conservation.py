"""Nothing is lost and nothing is counted twice."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import GatePolicy
from paceline.flow.limiter import LimitPolicy
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.workload import Workload

MODEL = ServiceModel(a=2e-3, b=1e-4, c=4e-5, enter_s=1e-4, leave_s=1e-4, hit_s=1e-5, fixed_s=1e-3)


@given(
    gaps_s=st.lists(st.sampled_from([0.0, 1e-3, 0.02]), min_size=1, max_size=80),
    keys=st.integers(1, 30),
    slo_ms=st.sampled_from([0.0, 10.0]),
    rpm=st.sampled_from([0, 20]),
    max_bytes=st.sampled_from([4096, 8192, 1 << 20]),
    eviction=st.sampled_from(["cost", "lru"]),
)
@settings(max_examples=60, deadline=None)
def test_every_request_is_answered_or_refused_and_every_text_has_one_source(
    gaps_s, keys, slo_ms, rpm, max_bytes, eviction
):
    workload = Workload.from_requests(np.cumsum(gaps_s), [16] * len(gaps_s), np.arange(len(gaps_s)) % keys)
    station = Station(
        BatchPolicy(max_size=4, max_cost=64, bucket=8),
        GatePolicy(slo_ms=slo_ms),
        L1Policy(max_bytes=max_bytes, eviction=eviction),
        limits=LimitPolicy(rpm=rpm),
    )
    outcome = replay(workload, station, MODEL)

    answered = int((~np.isnan(outcome.latency_s)).sum())
    assert answered + outcome.refused == workload.requests
    assert outcome.rows + outcome.hits + outcome.flights == answered  # one text a request
    assert np.nanmin(outcome.latency_s, initial=np.inf) >= MODEL.fixed_s
    assert outcome.batches <= outcome.rows <= 4 * outcome.batches
