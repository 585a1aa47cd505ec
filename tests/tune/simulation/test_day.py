import csv
from pathlib import Path

import numpy as np
import pytest

from hpa import Hpa
from paceline.base.errors import ConfigError
from paceline.flow.autoscale import AutoscalePolicy, Decision, State
from paceline.tune.simulation.day import Replica, replay_day

CPU = AutoscalePolicy(memory_percent=0)
REPLICA = Replica(capacity_per_s=100.0, base_ms=10.0, start_s=30.0)


def day(*rates, minutes=20):
    return np.repeat(np.array(rates, np.float64), minutes)


def fixed(_policy, state, _signals, _now):
    return Decision(state.replicas, "as before", state)


def test_a_constant_demand_is_served_by_the_replicas_the_formula_gives():
    outcome = replay_day(day(400), CPU, REPLICA, slo_ms=100)

    assert outcome.replicas.tolist() == [6] * 80
    assert outcome.utilisation == pytest.approx(np.full(80, 400 / 600))
    assert outcome.p95_ms == pytest.approx(np.full(80, 30.0))
    assert outcome.queue_depth == pytest.approx(np.full(80, 4 / 3))
    assert outcome.replica_hours == pytest.approx(6 / 3)
    assert (outcome.changes, outcome.violated_minutes) == (0, 0)
    assert outcome.why[-1] == "cpu_percent 66.67 is within 10% of 70"


def test_added_replicas_take_their_share_once_they_have_started():
    outcome = replay_day(day(400, 600), CPU, REPLICA, slo_ms=100)

    assert outcome.replicas[80:84].tolist() == [6, 9, 9, 9]
    assert outcome.ready[80:84].tolist() == [6, 6, 6, 9]


def test_what_is_over_the_capacity_waits_and_is_worked_off_later():
    """3 replicas of 100/s: 360/s for a minute leave 3,600, which the 100/s that a minute of 200/s leaves free do not clear."""
    policy = AutoscalePolicy(max_replicas=3, memory_percent=0)
    outcome = replay_day(np.array([360.0, 240.0, 240.0]), policy, REPLICA, slo_ms=1e4, sync_s=60.0)

    assert outcome.utilisation.tolist() == pytest.approx([1.0, 1.0, 0.8])
    assert outcome.p95_ms.tolist() == pytest.approx([10 / 0.05 + 12_000, 10 / 0.2 + 12_000, 10 / 0.2])
    assert outcome.queue_depth.tolist() == pytest.approx([0.95**2 / 0.05 + 1200, 3.2, 3.2])
    assert outcome.violated_minutes == 2


def test_removal_waits_for_the_window():
    outcome = replay_day(day(600, 200), CPU, REPLICA, slo_ms=100)

    assert outcome.replicas[80:100].tolist() == [9] * 20
    assert outcome.replicas[100:].tolist() == [3] * 60


def test_p95_and_queue_keep_the_slo_where_cpu_alone_does_not():
    """At 70 % a replica that takes 10 ms when idle has a p95 of 33 ms."""
    symptoms = AutoscalePolicy(memory_percent=0, queue_depth=4, p95_ms=25)
    alone = replay_day(day(200, 400, 200), CPU, REPLICA, slo_ms=28)
    both = replay_day(day(200, 400, 200), symptoms, REPLICA, slo_ms=28)

    assert alone.violated_minutes > 30
    assert both.violated_minutes < 4
    assert both.replica_hours > alone.replica_hours


def test_the_base_and_the_memory_may_differ_from_step_to_step():
    replica = Replica(100.0, base_ms=np.array([10.0, 20.0]), memory_percent=np.array([40.0, 96.0]))
    outcome = replay_day(day(300, 300, minutes=1), AutoscalePolicy(), replica, slo_ms=100)

    assert outcome.p95_ms[[0, 4]] == pytest.approx([25.0, 50.0])
    assert outcome.replicas[[4, 5]].tolist() == [5, 6]


def test_the_cpu_that_is_reported_may_be_another_than_the_utilisation():
    """The one decides about replicas, the other about latency."""
    frugal = Replica(100.0, base_ms=10.0, cpu_percent=(0.0, 80.0, 100.0), start_s=0.0)
    outcome = replay_day(day(300, minutes=2), CPU, frugal, slo_ms=100)

    assert outcome.replicas.tolist() == [5, 6, 7, 7, 7, 7, 7, 7]  # CPU 84, 80, 69 %
    assert outcome.why[0] == "cpu_percent 84 is over 70, which asks for 6"
    assert outcome.p95_ms[:2] == pytest.approx([25.0, 20.0])


def test_another_way_to_decide_may_be_compared():
    outcome = replay_day(day(300, 900), CPU, REPLICA, slo_ms=100, decide=fixed)

    assert set(outcome.replicas.tolist()) == {5}
    assert set(outcome.why) == {"as before"}


def test_it_decides_nothing_by_itself():
    """The signals of each look and its state are all that `decide` needs to give the same answers again."""
    asked = []

    def spy(policy, state, signals, now):
        asked.append((state.replicas, signals.reporting, now))
        return fixed(policy, State(state.replicas), signals, now)

    replay_day(day(300, minutes=1), CPU, REPLICA, slo_ms=100, decide=spy)

    assert asked == [(5, 5, 15.0), (5, 5, 30.0), (5, 5, 45.0), (5, 5, 60.0)]


@pytest.mark.parametrize(
    ("demand", "capacity", "sync_s", "message"),
    [
        ([], 100.0, 15.0, "one finite rate >= 0 for each step"),
        ([1.0, np.nan], 100.0, 15.0, "fill gaps before the replay"),
        ([-1.0], 100.0, 15.0, "one finite rate >= 0"),
        ([1.0], 0.0, 15.0, "a replica of 0.0 requests/s serves nobody"),
        ([1.0], 100.0, 25.0, "a step of 60.0 s is no whole number of looks of 25.0 s"),
        ([1.0], 100.0, 0.0, "no whole number of looks of 0.0 s"),
    ],
)
def test_a_day_that_cannot_be_replayed_is_refused(demand, capacity, sync_s, message):
    with pytest.raises(ConfigError, match=message):
        replay_day(np.array(demand), CPU, Replica(capacity), slo_ms=100, sync_s=sync_s)


@pytest.fixture(scope="module")
def recorded_day():
    """CPU percent and memory (MB) of one replica, minute by minute."""
    lines = (Path(__file__).parents[3] / "benchmarks/data/recorded_day.csv").read_text("utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return np.array([[float(row["cpu_percent"]), float(row["memory_mb"])] for row in rows]).T


@pytest.mark.parametrize("scale", [4.0, 7.0])
def test_over_the_recorded_day_it_stays_within_one_replica_of_the_kubernetes_autoscaler(recorded_day, scale):
    cpu_percent, memory_mb = recorded_day
    twin = Hpa(3)

    def as_hpa(_policy, state, signals, now):
        twin.replicas = state.replicas
        usages = {
            "cpu": [signals.cpu_percent] * state.replicas,
            "memory": [signals.memory_percent] * state.replicas,
        }
        return Decision(twin.sync(now, usages), "", State(twin.replicas))

    replica = Replica(100.0, memory_percent=memory_mb / 512 * 100, start_s=0.0)
    ours = replay_day(cpu_percent * scale, AutoscalePolicy(), replica, slo_ms=1)
    theirs = replay_day(cpu_percent * scale, AutoscalePolicy(), replica, slo_ms=1, decide=as_hpa)

    assert ours.replicas.min() == 3
    assert ours.replicas.max() == (10 if scale == 7.0 else 6)
    assert np.abs(ours.replicas - theirs.replicas).max() <= 1
