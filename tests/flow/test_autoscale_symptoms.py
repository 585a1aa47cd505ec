"""Queue and latency ask for replicas, and keep those that are needed."""

from itertools import pairwise
from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscale_signals import ALL, constant, run, settled, signals
from paceline.flow.autoscale import AutoscalePolicy, Signals, State, decide


def test_a_queue_asks_for_as_many_replicas_as_divide_it_to_its_target():
    decision = decide(ALL, State(4), signals(4, 50.0, queue_depth=13.0), 0.0)

    assert decision.replicas == 7
    assert decision.why == "queue_depth 13 is over 8, which asks for 7"


@pytest.mark.parametrize("p95_ms", [400.0, 40_000.0, inf])
def test_p95_over_its_target_asks_for_one_more_however_far_over_it_is(p95_ms):
    decision = decide(ALL, State(4), signals(4, 50.0, p95_ms=p95_ms), 0.0)

    assert decision.replicas == 5
    assert decision.why == f"p95_ms {p95_ms:.4g} is over 300, which asks for 5"


def test_a_symptom_asks_for_no_more_until_the_last_replicas_have_arrived():
    first = decide(ALL, State(4), signals(4, 50.0, p95_ms=400.0), 0.0)
    starting = decide(ALL, first.state, signals(4, 50.0, p95_ms=400.0), 30.0)
    arrived = decide(ALL, starting.state, signals(5, 50.0, p95_ms=400.0), 60.0)

    assert [first.replicas, starting.replicas, arrived.replicas] == [5, 5, 6]


def test_a_replica_stays_while_p95_is_forecast_too_near_its_target_without_it():
    """3 replicas would run at 66.7 %: 250 ms x (1 - 0.5) / (1 - 0.667) = 375 ms."""
    decision = decide(ALL, settled(4), signals(4, 50.0, p95_ms=250.0), 0.0)

    assert decision.replicas == 4
    assert decision.why == "p95_ms 250 would be about 375 with 3, too near its target of 300"


def test_of_several_replicas_only_those_go_without_which_there_is_room():
    policy = AutoscalePolicy(memory_percent=0, p95_ms=300, min_replicas=1)
    decision = decide(policy, settled(10), signals(10, 20.0, p95_ms=100.0), 0.0)

    assert decision.replicas == 3
    assert decision.why.startswith("cpu_percent 20 is under 70, which asks for 3")
    held = decide(policy, settled(10), signals(10, 20.0, p95_ms=150.0), 0.0)
    assert held.replicas == 4
    assert held.why == "p95_ms 150 would be about 360 with 3, too near its target of 300"


def test_a_replica_stays_while_the_queue_is_forecast_too_long_without_it():
    """By Little's law the queue of each of 3 is 5 x 4/3 x 1.5."""
    decision = decide(ALL, settled(4), signals(4, 50.0, queue_depth=5.0), 0.0)

    assert decision.replicas == 4
    assert decision.why == "queue_depth 5 would be about 10 with 3, too near its target of 8"


def test_a_number_that_missed_its_target_is_not_tried_again_at_that_load():
    """Latency here falls off a cliff that the forecast cannot see."""
    cliff = constant(load=200, latency_ms=lambda replicas: 20.0 if replicas >= 5 else 900.0)

    seen = run(ALL, 8, cliff, syncs=400)

    assert seen[-300:] == [5] * 300
    assert sum(a != b for a, b in pairwise(seen)) <= 3


def test_a_number_that_missed_is_tried_again_when_its_replicas_would_carry_less():
    missed = decide(ALL, State(4), signals(4, 50.0, p95_ms=900.0), 0.0).state
    window = {"asked": ((99.0, 1),), "changes": ()}

    held = decide(ALL, msgspec.structs.replace(missed, **window), signals(5, 36.0), 100.0)
    freed = decide(ALL, msgspec.structs.replace(missed, **window), signals(5, 32.0), 100.0)

    assert held.replicas == 5
    assert held.why == "4 replicas missed queue_depth or p95_ms at 200 % CPU in all, and it is 180 % now"
    assert freed.replicas == 3
    assert freed.state.missed is None


@given(
    st.floats(0, 1000),
    st.integers(3, 10),
    st.lists(st.floats(0, 2000), min_size=10, max_size=10),
    st.lists(st.floats(0, 50), min_size=10, max_size=10),
)
def test_under_a_constant_load_the_number_comes_to_rest(load, replicas, latencies, queues):
    """Whatever latency and queue have to do with the number of replicas, as long as more are not worse."""
    latencies.sort(reverse=True)
    queues.sort(reverse=True)
    measure = constant(load, lambda number: latencies[number - 1], lambda number: queues[number - 1])

    seen = run(ALL, replicas, measure, syncs=600)

    assert len(set(seen[-60:])) == 1
    turns = [b - a for a, b in pairwise(seen) if a != b]
    assert sum((a > 0) != (b > 0) for a, b in pairwise(turns)) <= 14  # at most one return from each number


@given(
    st.builds(signals, st.just(6), *[st.floats(0, 100)] * 1),
    st.floats(0, 50),
    st.floats(0, 1000),
    st.tuples(*[st.floats(1, 3)] * 4),
    st.sampled_from([State(6), settled(6), State(6, changes=((-5.0, 2),), asked=((-9.0, 4),))]),
)
def test_more_of_anything_never_means_fewer_replicas(less, queue_depth, p95_ms, factors, state):
    less = msgspec.structs.replace(less, queue_depth=queue_depth, p95_ms=p95_ms)
    more = Signals(
        6,
        less.cpu_percent * factors[0],
        less.memory_percent * factors[1],
        less.queue_depth * factors[2],
        less.p95_ms * factors[3],
    )

    assert decide(ALL, state, more, 0.0).replicas >= decide(ALL, state, less, 0.0).replicas
