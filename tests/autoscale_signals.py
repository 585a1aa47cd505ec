"""What an autoscaler is told, and what it makes of it decision by decision."""

from paceline.flow.autoscale import AutoscalePolicy, Signals, State, decide

SYNC_S = 15.0
HPA = AutoscalePolicy()
ALL = AutoscalePolicy(queue_depth=8, p95_ms=300)
CALM = {"memory_percent": 40.0, "queue_depth": 0.0, "p95_ms": 20.0}


def signals(reporting, cpu_percent, **others):
    return Signals(reporting, cpu_percent, **{**CALM, **others})


def settled(replicas, now=0.0):
    """A state that has asked for no more than the least for a whole window."""
    return State(replicas, asked=((now - 1.0, 1),))


def run(policy, replicas, measure, syncs=100):
    """Replicas after each decision; `measure(replicas, now)` are the signals."""
    state, seen = State(replicas), []
    for sync in range(syncs):
        now = sync * SYNC_S
        state = decide(policy, state, measure(state.replicas, now), now).state
        seen.append(state.replicas)
    return seen


def constant(load, latency_ms=lambda _: 20.0, queue=lambda _: 0.0):
    """All replicas together use `load` percent of one; latency and queue depend on how many there are."""
    return lambda replicas, _: signals(
        replicas, min(100.0, load / replicas), p95_ms=latency_ms(replicas), queue_depth=queue(replicas)
    )
